"""The CNN+LSTM network, its parts, and what it costs."""

from cnn_lstm_hyperopt.models.cnn_lstm.config import NetworkConfig
from cnn_lstm_hyperopt.models.cnn_lstm.cost import Profile, profile
from cnn_lstm_hyperopt.models.cnn_lstm.network import CnnLstm, Output, build_network

__all__ = ["CnnLstm", "NetworkConfig", "Output", "Profile", "build_network", "profile"]
