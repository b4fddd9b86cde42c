"""Pruners: one file for each subclass of :class:`Pruner`."""

from cnn_lstm_hyperopt.search.pruners.base import EXEMPT, Pruner, is_exempt
from cnn_lstm_hyperopt.utils.registry import members

PRUNERS: dict[str, type[Pruner]] = members(__name__, Pruner)
"""Pruner classes by their name in the settings."""

__all__ = ["EXEMPT", "PRUNERS", "Pruner", "is_exempt"]
