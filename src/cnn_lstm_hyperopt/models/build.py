"""Construction of networks from configurations."""

import torch

from cnn_lstm_hyperopt.models.base import NetworkConfig
from cnn_lstm_hyperopt.models.input_network import InputsNetwork
from cnn_lstm_hyperopt.models.inputs import InputsConfig
from cnn_lstm_hyperopt.models.linear import LinearConfig
from cnn_lstm_hyperopt.models.linear_network import LinearNetwork
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.models.own.family import OwnConfig
from cnn_lstm_hyperopt.models.registry import family_named


def new_network(config: NetworkConfig) -> Network:
    """Build a network whose initial weights come from torch's global random number generator."""
    if isinstance(config, InputsConfig):
        return InputsNetwork(config, new_network(config.network))
    if isinstance(config, LinearConfig):
        return LinearNetwork(config)
    name = config.reference if isinstance(config, OwnConfig) else config.family
    network: Network = family_named(name).build(config)
    return network


def build_network(config: NetworkConfig, *, seed: int, device: torch.device) -> Network:
    """Build a network whose initial weights depend only on ``seed``, without changing torch's global random state."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed() would also reseed the CUDA generators.
        torch.default_generator.manual_seed(seed)
        network = new_network(config)
    return network.to(device)
