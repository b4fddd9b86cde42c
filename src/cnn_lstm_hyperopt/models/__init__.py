"""Families of networks: their parameters, what they cost, how they are described, and the networks themselves.

Importing it loads no torch: settings need the parameters only. A family loads torch when it builds a network.
"""

from cnn_lstm_hyperopt.models.base import Family, NetworkConfig
from cnn_lstm_hyperopt.models.cost import Profile
from cnn_lstm_hyperopt.models.registry import FAMILIES, family_of, network_config

__all__ = ["FAMILIES", "Family", "NetworkConfig", "Profile", "family_of", "network_config"]
