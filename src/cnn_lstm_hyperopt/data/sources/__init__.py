"""Where bars come from: one module for each source, one dict from the setting's name to it."""

from collections.abc import Callable

from cnn_lstm_hyperopt.config.settings import DataSettings
from cnn_lstm_hyperopt.data.sources.base import Source
from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource
from cnn_lstm_hyperopt.data.sources.files import FileSource
from cnn_lstm_hyperopt.exceptions import DataError

__all__ = ["SOURCES", "EmbeddedSource", "FileSource", "Source", "open_source"]


def _embedded(settings: DataSettings) -> Source:
    return EmbeddedSource()


def _files(settings: DataSettings) -> Source:
    if settings.data_dir is None:
        raise DataError("source: files needs data_dir, the folder with SYMBOL.csv or SYMBOL.parquet")
    return FileSource(settings.data_dir)


SOURCES: dict[str, Callable[[DataSettings], Source]] = {"embedded": _embedded, "files": _files}


def open_source(settings: DataSettings) -> Source:
    """The source that the settings name; a ``data_dir`` alone means files.

    Raises:
        DataError: the settings name none.
    """
    name = settings.source or ("files" if settings.data_dir else None)
    if name is None:
        raise DataError(
            "no source of bars was chosen; give --use-real-data (source: embedded, real bars that come"
            " with the package) or --data-dir DIR (your own SYMBOL.csv or SYMBOL.parquet)"
        )
    return SOURCES[name](settings)
