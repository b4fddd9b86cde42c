"""Where bars come from: one module for each source, one dict from the setting's name to it."""

from collections.abc import Callable

from cnn_lstm_hyperopt.config.settings import DataSettings
from cnn_lstm_hyperopt.data.sources.base import Source
from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource
from cnn_lstm_hyperopt.data.sources.files import FileSource
from cnn_lstm_hyperopt.data.sources.synthetic import SyntheticSource
from cnn_lstm_hyperopt.exceptions import DataError

__all__ = ["SOURCES", "EmbeddedSource", "FileSource", "Source", "SyntheticSource", "open_source"]


def _embedded(settings: DataSettings) -> Source:
    return EmbeddedSource()


def _files(settings: DataSettings) -> Source:
    if settings.data_dir is None:
        raise DataError("source: files needs data_dir, the folder with SYMBOL.csv or SYMBOL.parquet")
    return FileSource(settings.data_dir)


def _synthetic(settings: DataSettings) -> Source:
    return SyntheticSource(settings.synthetic_seed)


SOURCES: dict[str, Callable[[DataSettings], Source]] = {
    "synthetic": _synthetic,
    "embedded": _embedded,
    "files": _files,
}


def open_source(settings: DataSettings) -> Source:
    """The source that the settings name.

    Raises:
        DataError: the data are DataLoaders, which only Python can hand over.
    """
    if settings.source == "loaders":
        raise DataError(
            "source: loaders are a user's DataLoaders; hand them over in Python:"
            " CNNLSTMHyperparameterOptimizer(data_loaders, ..., resume=True to go on with a study)"
        )
    return SOURCES[settings.source](settings)
