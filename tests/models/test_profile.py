"""The cost of a network from its configuration: closed forms by hand, and PyTorch's own counts of the built network."""

from dataclasses import astuple, fields

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cnn_lstm_hyperopt.models import Profile
from cnn_lstm_hyperopt.models.build import build_network, new_network
from cnn_lstm_hyperopt.models.cnn_lstm.config import CnnLstmConfig
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS
from cnn_lstm_hyperopt.models.cnn_lstm.params import CnnConfig, LstmConfig

CPU, FEATURES = torch.device("cpu"), 11
EVERYTHING = {"residual": True, "cnn_heads": 3, "layers": 3, "both_ways": True, "lstm_heads": 4, "fusion_heads": 2}


def network(residual=False, cnn_heads=None, layers=1, both_ways=False, lstm_heads=None, fusion_heads=None):
    """Two filter sizes of 6, an LSTM of 8, a fusion of 12: cross-attention with heads, else concatenation."""
    method = "attention" if fusion_heads else "concatenation"
    cnn = CnnConfig(6, (3, 5), 0.1, "relu", residual, cnn_heads)
    lstm = LstmConfig(8, layers, 0.1, both_ways, lstm_heads, skip_connections=True)
    fusion = FUSIONS[method](method, 12, 0.1, *([fusion_heads] if fusion_heads else []))
    return CnnLstmConfig(FEATURES, 2, True, cnn, lstm, fusion)


def matrices(config):
    """Name and size of each matrix of the LSTM layers, of a network without its memory."""
    with torch.device("meta"):
        lstms = [module for module in new_network(config).modules() if isinstance(module, nn.LSTM)]
    return [(name, each.numel()) for lstm in lstms for name, each in lstm.named_parameters() if each.ndim == 2]


def multiply_adds_by_module(config, lookback):
    """PyTorch's count of one window's forward pass, by the module's name; it does not see fused kernels.

    The weighted sum of attention pooling is no matrix product, so PyTorch does not count it, and it is added.
    """
    built = build_network(config, seed=1, device=CPU).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        built(torch.zeros(1, lookback, config.input_dim))
    counts = {name: sum(by_kind.values()) // 2 for name, by_kind in counter.get_flop_counts().items()}
    return counts | {"Global": counts["Global"] + (config.lstm.width * lookback if config.lstm.attention_heads else 0)}


@pytest.mark.parametrize("shape", [{}, {"n_classes": 5, "has_regression": False, "input_dim": 3}])
def test_parameters_equal_those_of_the_built_network_for_any_lookback(random_config, shape):
    for number in range(300):
        config = random_config(number, **shape)
        with torch.device("meta"):
            counted = sum(weight.numel() for weight in new_network(config).state_dict().values())
        cost = config.cost(lookback=60)
        assert cost.parameters == config.cost(lookback=500).parameters == counted, config
        assert cost.size_mb == counted * 4 / 1_000_000


@pytest.mark.parametrize("lookback", [5, 17])
def test_multiply_adds_equal_pytorchs_count_beside_the_fused_lstm_and_the_pooling(random_config, lookback):
    configs = [random_config(number) for number in range(60)]
    light = [config for config in configs if config.cost(lookback=lookback).size_mb < 25]
    assert {config.fusion.method for config in light} == set(FUSIONS)
    attentions = {(bool(c.cnn.attention_heads), bool(c.lstm.attention_heads), c.cnn.residual) for c in light}
    assert attentions >= {(True, True, True), (False, False, False)}
    for config in light:
        lstm = lookback * sum(size for _, size in matrices(config))
        counted = multiply_adds_by_module(config, lookback)["Global"] + lstm
        assert config.cost(lookback=lookback).multiply_adds == counted, config


@pytest.mark.parametrize("chosen", [{}, {"residual": True}, EVERYTHING])
def test_narrow_multiply_adds_are_what_pytorch_counts_over_the_input_features(chosen):
    config, lookback = network(**chosen), 17
    cost, counted = config.cost(lookback=lookback), multiply_adds_by_module(config, lookback)
    names = [name for name in counted if ".cnn.convs." in name or name.endswith("cnn.shortcut")]
    assert len(names) == 2 + bool(chosen.get("residual"))
    assert cost.narrow_multiply_adds == sum(counted[name] for name in names)
    rest = cost.multiply_adds - cost.recurrent_multiply_adds - cost.narrow_multiply_adds
    assert rest == counted["Global"] - cost.narrow_multiply_adds


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_recurrent_terms_are_the_weights_and_the_states_of_the_lstm_at_every_step(layers, both_ways):
    config = network(layers=layers, both_ways=both_ways, lstm_heads=4, cnn_heads=2)
    cost, weights = config.cost(lookback=13), matrices(config)
    assert len(weights) == layers * (1 + both_ways) * 2
    assert cost.recurrent_multiply_adds == 13 * sum(size for _, size in weights)
    assert cost.recurrent_reads == 13 * sum(size for name, size in weights if name.startswith("weight_hh"))
    assert cost.recurrent_states == layers * (1 + both_ways) * 8 * 13


def test_attention_scores_are_those_that_the_network_computes(monkeypatch):
    seen, plain = [], nn.functional.scaled_dot_product_attention

    def listen(query, key, value):
        seen.append(query.shape[1] * query.shape[2] * key.shape[2])
        return plain(query, key, value)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", listen)
    for config in (network(**EVERYTHING), network(cnn_heads=6), network(fusion_heads=12), network()):
        seen.clear()
        build_network(config, seed=0, device=CPU).eval()(torch.zeros(1, 9, FEATURES))
        assert config.cost(lookback=9).attention_scores == sum(seen)


def test_sequence_elements_of_a_network_counted_by_hand():
    """Width 12 from the CNN, 16 from the LSTM both ways, fusion 12, over 20 steps."""
    cnn = 4 * 20 * 12  # convolution, norm, activation, dropout
    shortcut, pooled = 20 * 12, 20 * 16
    self_attention = 3 * 20 * 12 + 3 * 20 * 12  # norm, attended, projected; queries, keys, values
    fusion = 2 * (1 + 2 * 20) * 12  # a query, keys and values from each branch
    assert network().cost(lookback=20).sequence_elements == cnn
    everything = network(**EVERYTHING).cost(lookback=20).sequence_elements
    assert everything == cnn + shortcut + self_attention + pooled + fusion


def test_costs_are_positive_proportional_or_linear_in_the_lookback_but_for_self_attention(random_config):
    """Second differences over 10, 20, 30 bars: 2 × 10² for each term in the square of the lookback, else none."""
    with_attention = 0
    for number in range(100):
        config = random_config(number)
        costs = [config.cost(lookback=bars) for bars in (10, 20, 30)]
        once = costs[0]
        rest = once.multiply_adds - once.recurrent_multiply_adds - once.narrow_multiply_adds
        assert min(once.recurrent_multiply_adds, once.narrow_multiply_adds, rest) > 0
        for name in ("recurrent_multiply_adds", "narrow_multiply_adds", "recurrent_reads", "recurrent_states"):
            assert [getattr(cost, name) for cost in costs] == [n * getattr(once, name) for n in (1, 2, 3)]
        curved = [c - 2 * b + a for a, b, c in zip(*map(astuple, costs), strict=True)]
        heads = config.cnn.attention_heads or 0
        with_attention += heads > 0
        expected = dict.fromkeys((field.name for field in fields(Profile)), 0)
        expected["attention_scores"] = 200 * heads
        expected["multiply_adds"] = 200 * 2 * config.cnn.width * (heads > 0)  # scores, and the weighted sum
        assert dict(zip(expected, curved, strict=True)) == expected
    assert 10 < with_attention < 90
