"""The CNN+LSTM network, its parts, and what it costs."""

from cnn_lstm_hyperopt.models.config import NetworkConfig
from cnn_lstm_hyperopt.models.network import CnnLstm, Output, build_network
from cnn_lstm_hyperopt.models.profile import Profile, profile

__all__ = ["CnnLstm", "NetworkConfig", "Output", "Profile", "build_network", "profile"]
