"""Source of bars in a folder of files SYMBOL.csv and SYMBOL.parquet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa

from cnn_lstm_hyperopt.config.schema.data import BadBars
from cnn_lstm_hyperopt.data.bars import Bars, bars_of
from cnn_lstm_hyperopt.data.problems import Findings
from cnn_lstm_hyperopt.data.sources.base import Source, Span, choose_dates, listing, read_all, span_of
from cnn_lstm_hyperopt.data.tables.csv_files import read_csv
from cnn_lstm_hyperopt.data.tables.parquet_files import read_parquet
from cnn_lstm_hyperopt.data.validation.symbols import composed, symbol_error, unique_symbols
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.text import close_names, enumerated, one_line, printable, shown_name, shown_names

_SUFFIXES = (".csv", ".parquet")
_GIVE = "give --data-dir a folder with SYMBOL.csv or SYMBOL.parquet"


@dataclass(frozen=True)
class FileSource(Source):
    """Source of bars in the user's folder. The name of a file without its ending is the symbol.

    Attributes:
        data_dir: the user's folder of bars.
        on_bad_bars: whether invalid rows are an error, dropped or kept.
        feature_columns: names of additional columns to read from every file.
    """

    name, place = "files", 2
    description = "your files in data_dir"
    survivorship = (
        "unknown for your files: if the symbols were chosen today, those that failed before are missing, and results look"
        " better than they would have been"
    )
    data_dir: Path
    on_bad_bars: BadBars = "error"
    feature_columns: tuple[str, ...] = ()

    def available(self) -> dict[str, Span]:
        """Return the first and the last date of each symbol. Every file is read."""
        return {symbol: span_of(self._read(symbol, path)) for symbol, path in self._paths().items()}

    def load(self, symbols: Sequence[str], start: date | None, end: date | None) -> tuple[list[Bars], list[str]]:
        """Return bars and warnings; see :class:`.Source`. A single error reports the invalid rows of all files.

        For rows before ``start`` or after ``end``, only the dates are checked.
        """
        paths = self._paths()
        by_key = {symbol.upper(): symbol for symbol in paths}
        names = unique_symbols(symbols)
        if not names:
            self._require_names(paths)
            names = list(paths)
        unknown = [name for name in names if name.upper() not in by_key]
        if unknown:
            close = close_names(unknown, paths)
            there = f"did you mean {close}? Available" if close else "available"
            raise DataError(
                f"data_dir {self._folder} has no file for {shown_names(unknown)}; {there}: {self._listing()}",
                field="data.symbols",
                code="unknown-symbol",
            )
        every = read_all(
            [by_key[name.upper()] for name in names], lambda symbol: self._read(symbol, paths[symbol], start, end)
        )
        return choose_dates(every, start, end, asked=bool(symbols))

    def _paths(self) -> dict[str, Path]:
        """Return the path of each symbol's file, sorted by symbol."""
        folder = self._folder
        try:
            if not self.data_dir.is_dir():
                there = self.data_dir.exists()
                code = "data-dir-not-directory" if there else "data-dir-missing"
                raise _folder_error(f"{folder} {'is not a folder' if there else 'does not exist'}; {_GIVE}", code)
            files = sorted(p for p in self.data_dir.iterdir() if p.suffix.lower() in _SUFFIXES and p.name[0] != ".")
        except OSError as error:
            raise _folder_error(f"{folder} can't be read: {error.strerror}; {_GIVE}", "data-dir-unreadable") from error
        if not files:
            text = f"{folder} holds no bars; put SYMBOL.csv or SYMBOL.parquet into it, such as AAPL.csv"
            raise _folder_error(text, "data-dir-empty")
        by_key: dict[str, Path] = {}
        for path in files:
            other = by_key.setdefault(composed(path.stem).upper(), path)
            if other is not path:
                two = f"{shown_name(other.name)} and {shown_name(path.name)}"
                text = f"{folder} has two files for {shown_name(path.stem)}: {two}; remove one of them"
                raise _folder_error(text, "two-files-for-symbol")
        return {composed(path.stem): path for path in files}

    @property
    def _folder(self) -> str:
        return printable(str(self.data_dir))

    def _require_names(self, paths: Mapping[str, Path]) -> None:
        """Raise an error unless the name of every file is a valid symbol."""
        errors = [
            f"'{shown_name(path.name)}' {error}" for symbol, path in paths.items() if (error := symbol_error(symbol))
        ]
        if errors:
            raise _folder_error(
                f"{self._folder} holds files whose names can't be symbols: {enumerated(errors, separator='; ')};"
                " rename or remove them, or name the others with --symbols",
                "file-name-not-symbol",
            )

    def _listing(self) -> str:
        """Return a line of text for each symbol, with its dates or with a note that its file is unreadable."""
        spans: dict[str, Span] = {}
        broken: list[str] = []
        for symbol, path in self._paths().items():
            try:
                spans[symbol] = span_of(self._read(symbol, path))
            except DataError:
                broken.append(f"{shown_name(path.name)} (unreadable)")
        return ", ".join(part for part in (listing(spans), enumerated(broken)) if part)

    def _read(self, symbol: str, path: Path, start: date | None = None, end: date | None = None) -> Bars:
        found = Findings(shown_name(symbol), printable(str(path)), self.on_bad_bars)
        is_csv = path.suffix.lower() == ".csv"
        try:
            if not path.is_file():
                raise found.fail("no_file", "is not a file", "move it, or replace it with a file of bars")
            table = (read_csv if is_csv else read_parquet)(path, self.feature_columns, found)
        except (pa.ArrowException, OSError) as error:
            kind = "CSV" if is_csv else "Parquet"
            reason = one_line(error) if getattr(error, "strerror", None) is None else error.strerror
            raise found.fail("unreadable", f"can't be read as {kind}: {reason}", "export it again") from error
        bars = bars_of(symbol, table, found, columns=self.feature_columns, start=start, end=end)
        pa.default_memory_pool().release_unused()  # text of millions of rows
        return bars


def _folder_error(text: str, code: str) -> DataError:
    return DataError(f"data_dir {text}", field="data.data_dir", code=code)
