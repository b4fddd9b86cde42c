"""Where bars come from: one module for each source, one dict from the setting's name to it."""

from collections.abc import Callable
from dataclasses import replace

from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.data.bars import Bars
from cnn_lstm_hyperopt.data.sources.base import Source
from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource
from cnn_lstm_hyperopt.data.sources.files import FileSource
from cnn_lstm_hyperopt.data.sources.synthetic import SyntheticSource
from cnn_lstm_hyperopt.data.sources.yahoo import YahooSource
from cnn_lstm_hyperopt.data.problems import warning_texts
from cnn_lstm_hyperopt.data.validation.plausibility import hole_problem
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.text import shown_names

__all__ = [
    "SOURCES",
    "EmbeddedSource",
    "FileSource",
    "Source",
    "SyntheticSource",
    "YahooSource",
    "load_bars",
    "open_source",
]


def _embedded(settings: DataSettings) -> Source:
    return EmbeddedSource()


def _yahoo(settings: DataSettings) -> Source:
    return YahooSource(settings.on_bad_bars)


def _files(settings: DataSettings) -> Source:
    if settings.data_dir is None:
        raise DataError("source: files needs data_dir, the folder with SYMBOL.csv or SYMBOL.parquet")
    return FileSource(settings.data_dir, settings.on_bad_bars, settings.feature_columns)


def _synthetic(settings: DataSettings) -> Source:
    return SyntheticSource(settings.synthetic_seed)


SOURCES: dict[str, Callable[[DataSettings], Source]] = {
    "synthetic": _synthetic,
    "embedded": _embedded,
    "files": _files,
    "yahoo": _yahoo,
}


def open_source(settings: DataSettings) -> Source:
    """The source that the settings name.

    Raises:
        DataError: the data are DataLoaders, which only Python can hand over, or the source has no columns of the user's own.
    """
    if settings.source == "loaders":
        raise DataError(
            "source: loaders are a user's DataLoaders; hand them over in Python:"
            " CNNLSTMHyperparameterOptimizer(data_loaders, ..., resume=True to go on with a study)"
        )
    if settings.feature_columns and settings.source != "files":
        raise DataError(
            f"data.feature_columns ({shown_names(settings.feature_columns)}) are columns of your own files, but the source is"
            f" {settings.source}; give --data-dir DIR, or leave them out"
        )
    return SOURCES[settings.source](settings)


def load_bars(settings: DataSettings) -> tuple[list[Bars], list[str]]:
    """The bars that the settings ask for, checked, and warnings of the source and of the bars.

    Raises:
        DataError: a symbol is not there or has no bars in the range.
        BadBarsError: bars hold what can't be true.
    """
    every, warnings = open_source(settings).load(settings.symbols, settings.start, settings.end)
    checked: list[Bars] = []
    for bars in every:
        holes = hole_problem(bars.symbol, bars.index, settings.max_gap_days)
        checked.append(bars if holes is None else replace(bars, problems=(*bars.problems, holes)))
    return checked, [*warnings, *(text for bars in checked for text in warning_texts(bars.problems))]
