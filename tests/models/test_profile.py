"""What a network costs, from its configuration, against the network itself."""

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cnn_lstm_hyperopt.config import PARAMETERS, Choices
from cnn_lstm_hyperopt.models import NetworkConfig
from cnn_lstm_hyperopt.models.build import build_network, new_network
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS

CPU = torch.device("cpu")


def counted_parameters(config: NetworkConfig) -> int:
    """Of the built network, without its memory."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in new_network(config).state_dict().values())


def counted_multiply_adds(config: NetworkConfig, lookback: int) -> int:
    """PyTorch's own counter, which sees all but the fused LSTM (counted by a hook) and the pooling's weighted sum."""
    network = build_network(config, seed=1, device=CPU).eval()
    beside = 0

    def count_lstm(module: nn.LSTM, inputs: tuple[torch.Tensor], output: object) -> None:
        nonlocal beside
        steps = inputs[0].shape[0] * inputs[0].shape[1]
        beside += sum(weight.numel() for weight in module.parameters() if weight.ndim == 2) * steps

    for module in network.modules():
        if isinstance(module, nn.LSTM):
            module.register_forward_hook(count_lstm)
    # The fused attention kernel of CPUs is not counted either; the one written out is.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network(torch.zeros(1, lookback, config.input_dim))
    pooling = config.lstm.width * lookback if config.lstm.attention_heads else 0
    return counter.get_total_flops() // 2 + beside + pooling


@pytest.mark.parametrize("shape", [{}, {"n_classes": 5, "has_regression": False, "input_dim": 3}])
def test_parameters_equal_those_of_the_built_network(random_config, shape):
    for number in range(300):
        config = random_config(number, **shape)
        assert config.cost(lookback=60).parameters == counted_parameters(config), config


def test_parameters_of_a_network_counted_by_hand(make_config):
    """32 filters of 3, 5, 7 over 11 features; one LSTM of 64; concatenation to 128; two classes and a value."""
    cnn = 32 * (3 + 5 + 7) * 11 + 96 + 2 * 96
    lstm = 4 * 64 * (11 + 64 + 2)
    fusion = (2 * 96 + 64) * 128 + 128
    heads = 3 * 128 + 3
    assert make_config().cost(lookback=60).parameters == cnn + lstm + fusion + heads


def test_parameters_do_not_depend_on_the_lookback(random_config):
    config = random_config(0)
    assert config.cost(lookback=5).parameters == config.cost(lookback=500).parameters


@pytest.mark.parametrize("lookback", [5, 17])
def test_multiply_adds_equal_an_independent_count(random_config, lookback):
    configs = [random_config(number) for number in range(60)]
    light = [config for config in configs if config.cost(lookback=lookback).size_mb < 25]
    assert {config.fusion.method for config in light} == set(FUSIONS)
    assert {(bool(c.cnn.attention_heads), bool(c.lstm.attention_heads), c.cnn.residual) for c in light} >= {
        (True, True, True),
        (False, False, False),
    }
    for config in light:
        assert config.cost(lookback=lookback).multiply_adds == counted_multiply_adds(config, lookback), config


def test_size_is_four_bytes_a_parameter_in_millions(random_config):
    cost = random_config(3).cost(lookback=60)
    assert cost.size_mb == cost.parameters * 4 / 1_000_000


def test_more_of_anything_costs_no_less(make_config):
    smallest = make_config().cost(lookback=60)
    for name, spec in PARAMETERS.items():
        if name in ("cnn.num_filters", "lstm.hidden_dim", "fusion.dim") and isinstance(spec.default, Choices):
            costs = [make_config({name: value}).cost(lookback=60) for value in spec.default.values]
            assert costs[0] == smallest
            assert [c.parameters for c in costs] == sorted({c.parameters for c in costs})
            assert [c.multiply_adds for c in costs] == sorted({c.multiply_adds for c in costs})
