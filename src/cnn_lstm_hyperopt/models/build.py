"""Networks from their configurations."""

import torch

from cnn_lstm_hyperopt.models.base import NetworkConfig
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.models.registry import FAMILIES


def new_network(config: NetworkConfig) -> Network:
    """A new network, its weights drawn from torch's global generator."""
    network: Network = FAMILIES[config.family].build(config)
    return network


def build_network(config: NetworkConfig, *, seed: int, device: torch.device) -> Network:
    """A network whose initial weights depend on ``seed`` alone; torch's global generators are left as they were."""
    with torch.random.fork_rng(devices=[]):
        # Weights are drawn on the CPU; manual_seed() would reseed the generators of CUDA, too.
        torch.default_generator.manual_seed(seed)
        network = new_network(config)
    return network.to(device)
