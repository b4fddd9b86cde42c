"""Bars from a folder of SYMBOL.csv and SYMBOL.parquet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa

from cnn_lstm_hyperopt.data.bars import Bars, normalise_bars
from cnn_lstm_hyperopt.data.sources.base import Span, choose_dates, listing, unique_symbols
from cnn_lstm_hyperopt.exceptions import DataError

_SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True)
class FileSource:
    """A user's folder of bars; a file's name without its ending is the symbol."""

    data_dir: Path
    name: str = "files"

    def best_accuracy(self, target: str, horizon: int) -> float | None:
        """Not known of real markets."""
        return None

    def available(self) -> dict[str, Span]:
        """First and last date of each symbol; reads every file."""
        spans: dict[str, Span] = {}
        for symbol, path in self._paths().items():
            index = _read(symbol, path).index
            spans[symbol] = (index[0].date(), index[-1].date())
        return spans

    def load(self, symbols: Sequence[str], start: date | None, end: date | None) -> tuple[list[Bars], list[str]]:
        """See :class:`~cnn_lstm_hyperopt.data.sources.base.Source`."""
        paths = self._paths()
        by_key = {symbol.upper(): symbol for symbol in paths}
        names = unique_symbols(symbols) or list(paths)
        unknown = [name for name in names if name.upper() not in by_key]
        if unknown:
            raise DataError(
                f"data_dir {self.data_dir} has no file for {', '.join(unknown)}; there are: {self._listing()}"
            )
        chosen = [by_key[name.upper()] for name in names]
        every = [_read(symbol, paths[symbol]) for symbol in chosen]
        spans = {bars.symbol: (bars.index[0].date(), bars.index[-1].date()) for bars in every}
        return choose_dates(every, start, end, asked=bool(symbols), there_is=listing(spans))

    def _paths(self) -> dict[str, Path]:
        """Symbol → file, sorted."""
        folder = self.data_dir
        if not folder.is_dir():
            fault = "is no folder" if folder.exists() else "does not exist"
            raise DataError(f"data_dir {folder} {fault}; give --data-dir a folder with SYMBOL.csv or SYMBOL.parquet")
        files = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in _SUFFIXES and path.is_file() and path.name[0] != "."
        )
        if not files:
            raise DataError(
                f"data_dir {folder} holds no bars; put SYMBOL.csv or SYMBOL.parquet into it, such as AAPL.csv"
            )
        by_key: dict[str, Path] = {}
        for path in files:
            other = by_key.setdefault(path.stem.upper(), path)
            if other is not path:
                raise DataError(
                    f"data_dir {folder} has two files for {path.stem}: {other.name} and {path.name}; remove one of them"
                )
        return {path.stem: path for path in files}

    def _listing(self) -> str:
        """All symbols with their dates; names unreadable files, as this is part of another error."""
        spans: dict[str, Span] = {}
        broken: list[str] = []
        for symbol, path in self._paths().items():
            try:
                index = _read(symbol, path).index
            except DataError:
                broken.append(f"{path.name} (unreadable)")
            else:
                spans[symbol] = (index[0].date(), index[-1].date())
        return ", ".join(part for part in (listing(spans), *broken) if part)


def _read(symbol: str, path: Path) -> Bars:
    kind = "CSV (UTF-8)" if path.suffix.lower() == ".csv" else "Parquet"
    try:
        raw = _read_csv(path) if kind.startswith("CSV") else pd.read_parquet(path)
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{symbol} ({path}): is empty; give a file with a header and at least one bar") from error
    except (pd.errors.ParserError, UnicodeDecodeError, pa.ArrowException, OSError) as error:
        raise DataError(
            f"{symbol} ({path}): can't be read as {kind}: {str(error).splitlines()[0]}; export it again"
        ) from error
    return normalise_bars(symbol, raw, str(path))


def _read_csv(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, skipinitialspace=True, low_memory=False)
    if not isinstance(table.index, pd.RangeIndex):  # pandas would shift all columns by one
        raise DataError(f"{path.stem} ({path}): rows have more fields than the header; give every column a name")
    if table.shape[1] == 1:
        raise DataError(f"{path.stem} ({path}): has one column only; separate the columns with commas")
    return table
