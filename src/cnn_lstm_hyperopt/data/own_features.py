"""The inputs of a window: the eleven features, columns of the user's files, and what the user's own function makes."""

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.machinery import PathFinder
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.data.bars import COLUMNS, Bars, date_text
from cnn_lstm_hyperopt.data.tables.columns import LARGEST
from cnn_lstm_hyperopt.data.features import FEATURE_NAMES, WARM_UP, segments, write_features
from cnn_lstm_hyperopt.data.labels import labeller
from cnn_lstm_hyperopt.data.lookahead.causality import check_recomputed
from cnn_lstm_hyperopt.data.lookahead.foresight import check_foresight
from cnn_lstm_hyperopt.data.splits import evenly_spread
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.text import printable, shown_name, shown_names, typed_line

_SAMPLED_BARS = 20_000  # of all symbols together, on which the statistics rest
_SAMPLED_SYMBOLS = 8
_RECOMPUTED_BARS = 2_000  # of each of the symbols whose features are computed again and again
_RECOMPUTED_SYMBOLS = 2
_FEWEST_VALUES = 1_000
_MOST_COLUMNS = 1_000
_LONGEST_NAME = 100
RETURNED_TWICE = 77
"""Exit code of a copy of this process that came back from a user's function."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class OwnFunction:
    """A user's function ``frame -> frame`` of more features.

    It gets the bars of one segment of one symbol: index the dates, columns open, high, low, close, volume and those of
    ``data.feature_columns``. It returns a frame with the same index and numeric columns of new names; NaN where a feature is
    not there yet.

    Attributes:
        reference: ``module:function``.
        call: the function.
    """

    reference: str
    call: Callable[[pd.DataFrame], Any] = field(repr=False, compare=False)

    def __call__(self, frame: pd.DataFrame, symbol: str) -> pd.DataFrame:
        """What it makes of ``frame``, as float64, checked.

        Raises:
            DataError: the function raises, changes the frame it got, or returns something else.
        """
        given, process = frame.copy(deep=False), os.getpid()  # pandas copies the frame once it is written to
        try:
            try:
                made = self.call(given)
            finally:
                _end_copies(process)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise self._fault(symbol, f"raises {typed_line(error)}") from error
        if not given.equals(frame):
            raise self._fault(symbol, "changes the frame that it gets; begin with frame = frame.copy()")
        if not isinstance(made, pd.DataFrame):
            cure = "; use .to_frame('name')" if isinstance(made, pd.Series) else ""
            if inspect.iscoroutine(made):
                made.close()  # or Python complains that nobody awaited it
                cure = "; write def in place of async def"
            raise self._fault(symbol, f"must return a pandas DataFrame, but returns {type(made).__name__}{cure}")
        if len(made) != len(frame) or not made.index.equals(frame.index):
            raise self._fault(
                symbol,
                f"must return a frame with the index that it gets ({len(frame)} bars), but returns"
                f" {len(made)} rows with another index; keep rows that have no value yet as NaN",
            )
        return self._numbers(made, tuple(map(str, frame.columns)), symbol)

    def _numbers(self, made: pd.DataFrame, taken: tuple[str, ...], symbol: str) -> pd.DataFrame:
        names = [name.strip() if isinstance(name, str) else "" for name in made.columns]
        if not names:
            raise self._fault(symbol, "returns no column; return at least one")
        if len(names) > _MOST_COLUMNS:
            raise self._fault(symbol, f"returns {len(names):,} columns; return at most {_MOST_COLUMNS:,}")
        odd = next((name for name in names if not name.isprintable() or len(name) > _LONGEST_NAME), None)
        if odd is not None:
            raise self._fault(
                symbol,
                f"returns a column '{shown_name(odd)}'; a name must be printable, of at most {_LONGEST_NAME} characters",
            )
        if "" in names:
            raise self._fault(symbol, "returns a column without a name; name every column with a text")
        twice = sorted({name for name in names if names.count(name) > 1 or name in (*FEATURE_NAMES, *taken)})
        if twice:
            raise self._fault(symbol, f"returns {shown_names(twice)}, a name that is taken; return new columns only")
        numbers: dict[str, Array] = {}
        for place, name in enumerate(names):
            column = made.iloc[:, place]
            if not (pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column)):
                raise self._fault(symbol, f"returns {name} as {column.dtype}; return numbers only")
            numbers[name] = column.to_numpy(np.float64, na_value=np.nan)
        return pd.DataFrame(numbers, index=made.index)

    def _fault(self, symbol: str, what: str) -> DataError:
        return DataError(f"data.features {shown_name(self.reference)} ({symbol}): {what}")


@dataclass(frozen=True)
class FeatureSet:
    """What a window's inputs are.

    Attributes:
        columns: columns of the bars' frame that are inputs.
        function: makes more of them; None: there is none.
        added: their names.
    """

    columns: tuple[str, ...] = ()
    function: OwnFunction | None = None
    added: tuple[str, ...] = ()

    @property
    def own(self) -> tuple[str, ...]:
        """Names of all but the eleven."""
        return (*self.columns, *self.added)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return (*FEATURE_NAMES, *self.own)

    def describe(self, inputs: Array) -> dict[str, Any]:
        """For data.json: names, and of the user's inputs where they come from and a hash of their values.

        The hash tells a function that was edited, or a column that was filled otherwise, under the same name.

        Args:
            inputs: (rows, features) of all symbols.
        """
        if not self.own:
            return {"features": list(self.names)}
        values = np.ascontiguousarray(inputs[:, len(FEATURE_NAMES) :], dtype="<f8")
        own = {
            "columns": list(self.columns),
            "function": None if self.function is None else self.function.reference,
            "sha256": hashlib.sha256(values.data).hexdigest(),
        }
        return {"features": list(self.names), "own_features": own}

    def compute(self, frame: pd.DataFrame, symbol: str = "bars") -> Array:
        """Inputs of consecutive bars (one segment); NaN where they are not known yet.

        Args:
            frame: (bars,) float64 columns open, high, low, close, volume and ``columns``.
            symbol: names the bars in errors.

        Returns:
            (bars, features) in the order of ``names``.

        Raises:
            DataError: a column is missing, a value is infinite, or the function breaks a rule.
        """
        inputs = np.empty((len(frame), len(self.names)))
        write_features(frame, inputs)
        if self.own:
            inputs[:, len(FEATURE_NAMES) :] = self.compute_own(frame, symbol)
        return inputs

    def compute_own(self, frame: pd.DataFrame, symbol: str = "bars") -> Array:
        """The user's inputs alone, (bars, own features); otherwise as :meth:`compute`."""
        missing = [name for name in self.columns if name not in frame.columns]
        if missing:
            raise DataError(
                f"{symbol}: the bars have no column {', '.join(missing)}, which is an input (data.feature_columns);"
                f" they have: {', '.join(map(str, frame.columns))}"
            )
        own = np.empty((len(frame), len(self.own)))
        own[:, : len(self.columns)] = frame[list(self.columns)].to_numpy(np.float64)
        if self.function is not None:
            made = self.function(frame[[*COLUMNS, *self.columns]], symbol)
            if set(made.columns) != set(self.added):
                raise DataError(
                    f"data.features {self.function.reference} ({symbol}): returns {shown_names(list(made.columns))}, but"
                    f" {shown_names(self.added)} for other bars; return the same columns for all bars"
                )
            own[:, len(self.columns) :] = made[list(self.added)].to_numpy()
        for place, name in enumerate(self.own):
            large = np.flatnonzero(np.isfinite(own[:, place]) & (np.abs(own[:, place]) > LARGEST))
            if len(large):
                raise DataError(
                    f"{symbol}: the feature {name} must not be beyond {LARGEST:g}, but is {own[large[0], place]:g} on"
                    f" {date_text(frame.index[large[0]])} ({len(large)} bars); scale it, or take its logarithm"
                )
            infinite = np.flatnonzero(np.isinf(own[:, place]))
            if len(infinite):
                raise DataError(
                    f"{symbol}: the feature {name} must be finite, but is {own[infinite[0], place]} on"
                    f" {date_text(frame.index[infinite[0]])} ({len(infinite)} bars); guard the division or the"
                    " logarithm, and leave NaN where there is no value"
                )
        return own


BUILT_IN = FeatureSet()
"""The eleven alone."""


def feature_set(settings: DataSettings, bars: Sequence[Bars]) -> FeatureSet:
    """The inputs that the settings ask for, checked for looking ahead.

    Args:
        settings: columns, function, target, horizon and longest hole.
        bars: of all symbols.

    Raises:
        DataError: the function can't be had or breaks a rule, or a feature contains what comes after its bar.
    """
    _require_new_names(settings.feature_columns)
    features = FeatureSet(settings.feature_columns)
    segments_of = longest_segments(bars, settings.max_gap_days)
    if not segments_of:  # no bar has features: there will be no window, whatever the inputs
        return features
    symbol, longest = segments_of[0]
    check_recomputed(BUILT_IN.compute, longest.tail(_RECOMPUTED_BARS), BUILT_IN.names, symbol)
    if settings.features is not None:
        features = with_function(features, load_function(settings.features), longest.tail(_RECOMPUTED_BARS), symbol)
        for symbol, longest in segments_of[:_RECOMPUTED_SYMBOLS]:
            frame, _ = _sample(features, longest, _RECOMPUTED_BARS, symbol)
            check_recomputed(features.compute_own, frame, features.own, symbol)
    if features.own:
        question = labeller(settings)
        bars_each = max(_SAMPLED_BARS // len(segments_of), min(_SAMPLED_BARS, 50 * settings.horizon))
        for symbol, longest in segments_of:
            frame, own = _sample(features, longest, bars_each, symbol)
            check_foresight(frame, own, features.own, question.label(frame), settings.horizon, symbol)
    return features


def with_function(features: FeatureSet, function: OwnFunction, frame: pd.DataFrame, symbol: str) -> FeatureSet:
    """``features`` and what ``function`` adds, whose names are learnt from a ``frame`` of bars."""
    made = function(frame[[*COLUMNS, *features.columns]], symbol)
    return replace(features, function=function, added=tuple(made.columns))


def load_function(reference: str) -> OwnFunction:
    """The function ``module:function``; the module may lie in the current directory, or be installed.

    The named module is looked for in the current directory first. All that it or a library imports is looked for there last: a
    file that is named like a library is not imported in its place.

    Raises:
        DataError: there is no such module or function, or importing it raises.
    """
    name, _, function = reference.partition(":")
    where = f"data.features {shown_name(reference)}"
    try:
        here = os.getcwd()
    except OSError as error:
        raise DataError(
            f"{where} can't be looked for, as the working directory is gone ({error.strerror}); go to another"
        ) from error
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    importlib.invalidate_caches()
    process = os.getpid()
    try:
        try:
            _import_from(here, name.partition(".")[0])
            module = importlib.import_module(name)
        finally:
            _end_copies(process)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise DataError(f"{where}: importing {shown_name(name)} raises {typed_line(error)}") from error
        raise DataError(
            f"{where}: there is no module {shown_name(error.name)}, neither in the current directory {printable(here)} nor"
            " installed; start from the directory of the file, or name it as package.module:function"
        ) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise DataError(f"{where}: importing {shown_name(name)} raises {typed_line(error)}") from error
    call = getattr(module, function, None)
    if call is None:
        own = [
            key for key, value in vars(module).items() if callable(value) and getattr(value, "__module__", "") == name
        ]
        there = f"; it has: {shown_names(own)}" if own else ""
        raise DataError(f"{where}: the module {shown_name(name)} has no function {shown_name(function)}{there}")
    if not callable(call):
        raise DataError(f"{where}: {function} is no function, but {type(call).__name__}")
    return OwnFunction(reference, call)


def _end_copies(process: int) -> None:
    """A function that calls os.fork() may come back in the new process, too: the run must not go on twice."""
    if os.getpid() != process:
        os._exit(RETURNED_TWICE)


def _import_from(folder: str, name: str) -> None:
    """Import a module or package that lies in a folder, unless a module of this name is loaded already."""
    spec = None if name in sys.modules else PathFinder.find_spec(name, [folder])
    if spec is None or spec.loader is None:  # a folder without __init__.py is a package only where there is no other
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise


def _require_new_names(columns: Sequence[str]) -> None:
    twice = sorted({name for name in columns if list(columns).count(name) > 1 or name in (*FEATURE_NAMES, *COLUMNS)})
    if twice:
        raise DataError(
            f"data.feature_columns names {shown_names(twice)}, which is an input already or twice there; name each column"
            " once, and none like the bars' own columns or a built-in feature"
        )


def longest_segments(bars: Sequence[Bars], max_gap_days: float) -> list[tuple[str, pd.DataFrame]]:
    """Name and longest segment of a few symbols, evenly spread over those where it is long enough for features."""
    chosen: list[tuple[str, pd.DataFrame]] = []
    for each in bars:
        counts = np.bincount(segments(each.index, max_gap_days))
        longest = int(np.argmax(counts))
        start = int(counts[:longest].sum())
        if counts[longest] > WARM_UP:
            chosen.append((each.symbol, each.frame.iloc[start : start + counts[longest]]))
    return [chosen[place] for place in evenly_spread(len(chosen), min(1.0, _SAMPLED_SYMBOLS / max(len(chosen), 1)))]


def _sample(features: FeatureSet, segment: pd.DataFrame, bars: int, symbol: str) -> tuple[pd.DataFrame, Array]:
    """The last bars of a segment and the user's features of them; more bars while a feature has too few values in them."""
    while True:
        frame = segment.tail(bars)
        own = features.compute_own(frame, symbol)
        if len(frame) == len(segment) or np.isfinite(own).sum(axis=0).min() >= min(bars, _FEWEST_VALUES):
            return frame, own
        bars *= 2
