"""All engines. Each engine is a subclass of :class:`Engine` in a file of this folder."""

from cnn_lstm_hyperopt.execution.engines.base import Engine, SearchJob
from cnn_lstm_hyperopt.utils.registry import members

ENGINES: dict[str, type[Engine]] = members(__name__, Engine)
"""Engine classes by the name of the engine in the settings."""

__all__ = ["ENGINES", "Engine", "SearchJob"]
