"""A user's own function of more features: found by its name, called, and what it returns checked."""

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.features import FEATURE_NAMES
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.text import printable, shown_name, shown_names, typed_line

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
                made.close()  # else Python warns that it was never awaited
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
        gone = f"as the working directory is gone ({error.strerror}); go to another"
        raise DataError(f"{where} can't be looked for, {gone}") from error
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
        own = [key for key, each in vars(module).items() if callable(each) and getattr(each, "__module__", "") == name]
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
