"""Readers of the bars of an update, from files or from memory."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from cnn_lstm_hyperopt.config.schema.data import BadBars
from cnn_lstm_hyperopt.data.bars import Bars, normalise_bars
from cnn_lstm_hyperopt.data.problems import warning_texts
from cnn_lstm_hyperopt.data.sources.files import FileSource
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.text import shown_names

ReadBars = Callable[[Sequence[str], Sequence[str]], Sequence[Bars]]
"""Type of a function that reads checked bars. The arguments are the symbols and the names of the columns that are inputs."""


def files_reader(data_dir: Path, on_bad_bars: BadBars, on_warning: Callable[[str], None]) -> ReadBars:
    """Return a reader of the files ``SYMBOL.csv`` or ``SYMBOL.parquet`` in a folder. Files of other symbols are not read."""

    def read(symbols: Sequence[str], columns: Sequence[str]) -> Sequence[Bars]:
        every, warnings = FileSource(data_dir, on_bad_bars, tuple(columns)).load(symbols, None, None)
        for text in (*warnings, *warning_texts([problem for bars in every for problem in bars.problems])):
            on_warning(text)
        return every

    return read


def tables_reader(tables: Mapping[str, pd.DataFrame], on_bad_bars: BadBars) -> ReadBars:
    """Return a reader of tables in memory, by symbol."""

    def read(symbols: Sequence[str], columns: Sequence[str]) -> Sequence[Bars]:
        missing = [symbol for symbol in symbols if symbol not in tables]
        if missing:
            raise DataError(
                f"the model was trained on {shown_names(symbols)}, but bars of {shown_names(missing)} are missing; give the bars"
                " of all these symbols",
                field="bars",
                code="unknown-symbol",
            )
        return [
            normalise_bars(symbol, tables[symbol], "the frame of bars", on_bad_bars=on_bad_bars, columns=columns)
            for symbol in symbols
        ]

    return read
