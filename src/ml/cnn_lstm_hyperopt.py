"""The names of the specification: ``from src.ml.cnn_lstm_hyperopt import ...`` works from the repository's root."""

from cnn_lstm_hyperopt.api import (
    CNNLSTMHyperparameterOptimizer,
    run_cnn_lstm_hyperparameter_optimization,
)

__all__ = ["CNNLSTMHyperparameterOptimizer", "run_cnn_lstm_hyperparameter_optimization"]
