"""Multi-objective hyperparameter optimisation of CNN+LSTM models for time series.

``import cnn_lstm_hyperopt`` loads neither torch nor optuna nor pandas. These libraries are loaded when a public name of the
package is first used.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnn_lstm_hyperopt.api import (
        CNNLSTMHyperparameterOptimizer,
        run_cnn_lstm_hyperparameter_optimization,
    )
    from cnn_lstm_hyperopt.api.estimators import CNNLSTMClassifier, CNNLSTMRegressor
    from cnn_lstm_hyperopt.api.estimators.bars import search_bars
    from cnn_lstm_hyperopt.api.updates import evaluate_model, rollback_model, update_model
    from cnn_lstm_hyperopt.config import Settings, load_settings
    from cnn_lstm_hyperopt.evaluation.baselines.own_windows import BaselineWindows
    from cnn_lstm_hyperopt.inference.model import SavedModel, load_model
    from cnn_lstm_hyperopt.models.base import NetworkShape
    from cnn_lstm_hyperopt.models.cost import Profile
    from cnn_lstm_hyperopt.models.own.family import register_family

logging.getLogger(__name__).addHandler(logging.NullHandler())  # programs set their own handler; a run writes run.log

_HOME = {
    "CNNLSTMHyperparameterOptimizer": "api",
    "run_cnn_lstm_hyperparameter_optimization": "api",
    "CNNLSTMClassifier": "api.estimators",
    "CNNLSTMRegressor": "api.estimators",
    "BaselineWindows": "evaluation.baselines.own_windows",
    "SavedModel": "inference.model",
    "load_model": "inference.model",
    "Settings": "config",
    "load_settings": "config",
    "search_bars": "api.estimators.bars",
    "NetworkShape": "models.base",
    "Profile": "models.cost",
    "register_family": "models.own.family",
    "evaluate_model": "api.updates",
    "rollback_model": "api.updates",
    "update_model": "api.updates",
}

__all__ = [
    "BaselineWindows",
    "CNNLSTMClassifier",
    "CNNLSTMHyperparameterOptimizer",
    "CNNLSTMRegressor",
    "NetworkShape",
    "Profile",
    "SavedModel",
    "Settings",
    "evaluate_model",
    "load_model",
    "load_settings",
    "register_family",
    "rollback_model",
    "run_cnn_lstm_hyperparameter_optimization",
    "search_bars",
    "update_model",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """Return all public names for completion in notebooks, including names that are not loaded yet."""
    return sorted({*globals(), *__all__})
