"""All pruners. Each pruner is a subclass of :class:`Pruner` in a file of this folder."""

from cnn_lstm_hyperopt.search.pruners.base import Pruner
from cnn_lstm_hyperopt.search.pruning_audit import EXEMPT, is_exempt
from cnn_lstm_hyperopt.utils.registry import members

PRUNERS: dict[str, type[Pruner]] = members(__name__, Pruner)
"""Pruner classes by the name of the pruner in the settings."""

__all__ = ["EXEMPT", "PRUNERS", "Pruner", "is_exempt"]
