"""The pruners: each file that defines a :class:`Pruner` is one. A new one is a new file."""

from cnn_lstm_hyperopt.search.pruners.base import EXEMPT, Pruner, is_exempt
from cnn_lstm_hyperopt.utils.registry import members

PRUNERS: dict[str, type[Pruner]] = members(__name__, Pruner)
"""By the name that settings use."""

__all__ = ["EXEMPT", "PRUNERS", "Pruner", "is_exempt"]
