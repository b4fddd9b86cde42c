"""The pruners by the name that settings use."""

from cnn_lstm_hyperopt.search.pruners.base import EXEMPT, Pruner, is_exempt
from cnn_lstm_hyperopt.search.pruners.front import FrontPruner
from cnn_lstm_hyperopt.search.pruners.halving import SuccessiveHalvingPruner
from cnn_lstm_hyperopt.search.pruners.median import MedianPruner
from cnn_lstm_hyperopt.search.pruners.none import NoPruner

PRUNERS: dict[str, type[Pruner]] = {
    "median": MedianPruner,
    "successive_halving": SuccessiveHalvingPruner,
    "front": FrontPruner,
    "none": NoPruner,
}

__all__ = ["EXEMPT", "PRUNERS", "Pruner", "is_exempt"]
