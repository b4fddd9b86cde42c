"""The pruners by the name that settings use."""

from cnn_lstm_hyperopt.search.pruners.base import Pruner
from cnn_lstm_hyperopt.search.pruners.median import MedianPruner
from cnn_lstm_hyperopt.search.pruners.none import NoPruner

PRUNERS: dict[str, type[Pruner]] = {"median": MedianPruner, "none": NoPruner}

__all__ = ["PRUNERS", "MedianPruner", "NoPruner", "Pruner"]
