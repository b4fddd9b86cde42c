"""Families of networks. A family has parameters, costs and descriptions, and builds networks.

Importing this package does not load torch; a family loads torch when it builds a network.
"""

from cnn_lstm_hyperopt.models.base import Family, NetworkConfig, NetworkShape
from cnn_lstm_hyperopt.models.cost import Profile
from cnn_lstm_hyperopt.models.registry import FAMILIES, family_of, import_family, network_config, size_parameters

__all__ = [
    "FAMILIES",
    "Family",
    "NetworkConfig",
    "NetworkShape",
    "Profile",
    "family_of",
    "import_family",
    "network_config",
    "size_parameters",
]
