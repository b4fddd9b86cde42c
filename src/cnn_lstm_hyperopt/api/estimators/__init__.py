"""Estimators with the interface of scikit-learn, for arrays and tables of windows in memory."""

from cnn_lstm_hyperopt.api.estimators.classifier import CNNLSTMClassifier
from cnn_lstm_hyperopt.api.estimators.regressor import CNNLSTMRegressor

__all__ = ["CNNLSTMClassifier", "CNNLSTMRegressor"]
