"""Loading of a user's feature function by name, calls of the function, and checks of its result."""

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.features import FEATURE_NAMES
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.bounded_process import end_copies
from cnn_lstm_hyperopt.utils.own_modules import import_own_module
from cnn_lstm_hyperopt.utils.text import shown_name, shown_names, typed_line

_MAX_COLUMNS = 1_000
_MAX_NAME = 100
Array = NDArray[np.float64]


@dataclass(frozen=True)
class OwnFunction:
    """A user's function ``frame -> frame`` that computes additional features.

    The function gets the bars of one segment of one symbol. The columns are open, high, low, close, volume and
    ``data.feature_columns``; the index has the dates. The function returns numeric columns with new names and the same index,
    with NaN where a feature has no value yet.

    Attributes:
        reference: name of the function, as ``module:function``.
        call: the user's function itself.
    """

    reference: str
    call: Callable[[pd.DataFrame], Any] = field(repr=False, compare=False)

    def __call__(self, frame: pd.DataFrame, symbol: str) -> pd.DataFrame:
        """Call the user's function. Check its features and return them as float64.

        Raises:
            DataError: the function raises an error, changes its argument, or does not return a frame as described
                above.
        """
        passed, process = frame.copy(deep=False), os.getpid()  # pandas copies the frame on write
        try:
            try:
                made = self.call(passed)
            finally:
                end_copies(process)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise self._error(symbol, f"raises {typed_line(error)}", code="function-raises") from error
        if not passed.equals(frame):
            text = "changes the frame that it gets; begin with frame = frame.copy()"
            raise self._error(symbol, text, code="frame-changed")
        if not isinstance(made, pd.DataFrame):
            fix = "; use .to_frame('name')" if isinstance(made, pd.Series) else ""
            if inspect.iscoroutine(made):
                made.close()  # avoids Python's warning about a coroutine that was never awaited
                fix = "; write def in place of async def"
            text = f"must return a pandas DataFrame, but returns {type(made).__name__}{fix}"
            raise self._error(symbol, text, code="not-a-frame")
        if len(made) != len(frame) or not made.index.equals(frame.index):
            text = (
                f"must return a frame with the index that it gets ({len(frame)} bars), but returns {len(made)} rows with another"
                " index; keep rows that have no value yet as NaN"
            )
            raise self._error(symbol, text, code="another-index")
        return self._numbers(made, tuple(map(str, frame.columns)), symbol)

    def _numbers(self, made: pd.DataFrame, taken: tuple[str, ...], symbol: str) -> pd.DataFrame:
        names = [name.strip() if isinstance(name, str) else "" for name in made.columns]
        if not names:
            raise self._error(symbol, "returns no column; return at least one", code="no-columns")
        if len(names) > _MAX_COLUMNS:
            text = f"returns {len(names):,} columns; return at most {_MAX_COLUMNS:,}"
            raise self._error(symbol, text, code="too-many-columns")
        odd = next((name for name in names if not name.isprintable() or len(name) > _MAX_NAME), None)
        if odd is not None:
            text = f"returns a column '{shown_name(odd)}'; a name must be printable, of at most {_MAX_NAME} characters"
            raise self._error(symbol, text, code="name-not-printable")
        if "" in names:
            text = "returns a column without a name; name every column with a text"
            raise self._error(symbol, text, code="column-without-name")
        twice = sorted({name for name in names if names.count(name) > 1 or name in (*FEATURE_NAMES, *taken)})
        if twice:
            text = f"returns {shown_names(twice)}, a name that is taken; return new columns only"
            raise self._error(symbol, text, code="name-taken")
        numbers: dict[str, Array] = {}
        for place, name in enumerate(names):
            column = made.iloc[:, place]
            if not (pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column)):
                raise self._error(symbol, f"returns {name} as {column.dtype}; return numbers only", code="not-numbers")
            numbers[name] = column.to_numpy(np.float64, na_value=np.nan)
        return pd.DataFrame(numbers, index=made.index)

    def _error(self, symbol: str, text: str, *, code: str) -> DataError:
        return _error(self.reference, f" ({symbol}): {text}", code=code)


def _error(reference: str, text: str, *, code: str, setting: str = "data.features") -> DataError:
    return DataError(f"{setting} {shown_name(reference)}{text}", field=setting, code=code)


def load_function(reference: str) -> OwnFunction:
    """Return the feature function ``module:function``; see :func:`load_callable`."""
    return OwnFunction(reference, load_callable(reference, "data.features"))


def load_callable(reference: str, setting: str) -> Callable[..., Any]:
    """Return the function ``module:function``; see :func:`.import_own_module` for the search of the module.

    Args:
        reference: name of the function, as ``module:function``.
        setting: the setting that names the function, for the text of errors.

    Raises:
        DataError: the module or function does not exist, or the import of the module raises an error.
    """

    def error(text: str, code: str) -> DataError:
        return _error(reference, text, setting=setting, code=code)

    name, _, function = reference.partition(":")
    module = import_own_module(name, error)
    call = getattr(module, function, None)
    if call is None:
        own = [key for key, each in vars(module).items() if callable(each) and getattr(each, "__module__", "") == name]
        text = f": the module {shown_name(name)} has no function {shown_name(function)}"
        raise error(f"{text}; it has: {shown_names(own)}" if own else text, "no-function")
    if not callable(call):
        raise error(f": {function} is no function, but {type(call).__name__}", "not-callable")
    found: Callable[..., Any] = call
    return found
