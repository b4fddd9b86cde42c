"""The kinds of arithmetic in a profile: closed forms by hand, and PyTorch's own counts of the built network."""

from dataclasses import astuple, fields

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cnn_lstm_hyperopt.models import NetworkConfig, Profile
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.models.cnn_lstm.config import CnnLstmConfig
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS
from cnn_lstm_hyperopt.models.cnn_lstm.params import CnnConfig, LstmConfig

CPU = torch.device("cpu")
FEATURES = 11


def network(
    *,
    residual: bool = False,
    cnn_heads: int | None = None,
    layers: int = 1,
    both_ways: bool = False,
    lstm_heads: int | None = None,
    method: str = "concatenation",
    fusion_heads: int | None = None,
) -> NetworkConfig:
    """Two filter sizes of 6, an LSTM of 8, a fusion of 12; the rest as told."""
    return CnnLstmConfig(
        input_dim=FEATURES,
        n_classes=2,
        has_regression=True,
        cnn=CnnConfig(6, (3, 5), 0.1, "relu", residual, cnn_heads),
        lstm=LstmConfig(8, layers, 0.1, both_ways, lstm_heads, skip_connections=True),
        fusion=FUSIONS[method](method, 12, 0.1, **({"attention_heads": fusion_heads} if fusion_heads else {})),
    )


EVERYTHING = {
    "residual": True,
    "cnn_heads": 3,
    "layers": 3,
    "both_ways": True,
    "lstm_heads": 4,
    "method": "attention",
    "fusion_heads": 2,
}


def lstms(config: NetworkConfig) -> list[nn.LSTM]:
    with torch.device("meta"):
        built = build_network(config, seed=0, device=torch.device("meta"))
    return [module for module in built.modules() if isinstance(module, nn.LSTM)]


def flops_by_module(config: NetworkConfig, lookback: int) -> dict[str, int]:
    """PyTorch's count of one window's forward pass, by the module's name."""
    built = build_network(config, seed=1, device=CPU).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        built(torch.zeros(1, lookback, config.input_dim))
    return {name: sum(by_kind.values()) for name, by_kind in counter.get_flop_counts().items()}


# ---------------------------------------------------------------------- multiply-adds


@pytest.mark.parametrize("lookback", [6, 31])
def test_recurrent_and_narrow_multiply_adds_and_a_positive_rest_are_all_there_are(random_config, lookback):
    for number in range(100):
        cost = random_config(number).cost(lookback=lookback)
        rest = cost.multiply_adds - cost.recurrent_multiply_adds - cost.narrow_multiply_adds
        assert min(cost.recurrent_multiply_adds, cost.narrow_multiply_adds, rest) > 0


@pytest.mark.parametrize("chosen", [{}, {"residual": True}, EVERYTHING])
def test_narrow_multiply_adds_are_what_pytorch_counts_over_the_input_features(chosen):
    config, lookback = network(**chosen), 17
    counted = flops_by_module(config, lookback)
    names = [name for name in counted if ".cnn.convs." in name or name.endswith("cnn.shortcut")]
    assert len(names) == 2 + bool(chosen.get("residual"))
    assert config.cost(lookback=lookback).narrow_multiply_adds == sum(counted[name] for name in names) // 2


@pytest.mark.parametrize("chosen", [{}, EVERYTHING])
def test_the_rest_is_what_pytorch_counts_outside_lstm_and_input_and_the_poolings_sum(chosen):
    """PyTorch's counter does not see the fused LSTM, nor the pooling's weighted sum, which is no matrix product."""
    config, lookback = network(**chosen), 17
    cost, counted = config.cost(lookback=lookback), flops_by_module(config, lookback)
    pooling = config.lstm.width * lookback if config.lstm.attention_heads else 0
    rest = cost.multiply_adds - cost.recurrent_multiply_adds - cost.narrow_multiply_adds
    assert rest == counted["Global"] // 2 - cost.narrow_multiply_adds + pooling


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_recurrent_terms_are_the_weights_of_the_lstm_at_every_step(layers, both_ways):
    config, lookback = network(layers=layers, both_ways=both_ways), 13
    cost, built = config.cost(lookback=lookback), lstms(config)
    assert len(built) == layers
    matrices = [
        (name, weight.numel()) for lstm in built for name, weight in lstm.named_parameters() if weight.ndim == 2
    ]
    assert cost.recurrent_multiply_adds == lookback * sum(count for _, count in matrices)
    assert cost.recurrent_reads == lookback * sum(count for name, count in matrices if name.startswith("weight_hh"))


# ---------------------------------------------------------------------- states, sequences, scores


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, 8 * 20),
        ({"layers": 3}, 3 * 8 * 20),
        ({"layers": 3, "both_ways": True}, 3 * 2 * 8 * 20),
        ({"both_ways": True, "lstm_heads": 4, "cnn_heads": 2}, 2 * 8 * 20),
    ],
)
def test_recurrent_states_are_layers_times_width_times_steps(chosen, expected):
    assert network(**chosen).cost(lookback=20).recurrent_states == expected


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, 0),
        ({"lstm_heads": 4}, 0),  # pooling has weights of steps, no queries
        ({"cnn_heads": 3}, 3 * 20 * 20),
        ({"method": "attention", "fusion_heads": 2}, 2 * 2 * 20),  # one query from each branch
        ({"cnn_heads": 3, "method": "attention", "fusion_heads": 4}, 3 * 20 * 20 + 2 * 4 * 20),
    ],
)
def test_attention_scores_are_queries_times_keys_times_heads(chosen, expected):
    assert network(**chosen).cost(lookback=20).attention_scores == expected


def test_attention_scores_are_those_that_the_network_computes(monkeypatch, random_config):
    """Seen at the one function that all attention goes through."""
    seen, plain = [], nn.functional.scaled_dot_product_attention

    def listen(query, key, value):
        seen.append(query.shape[1] * query.shape[2] * key.shape[2])
        return plain(query, key, value)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", listen)
    configs = [network(**EVERYTHING), network(cnn_heads=6), network(method="attention", fusion_heads=12), network()]
    for config in configs:
        seen.clear()
        build_network(config, seed=0, device=CPU).eval()(torch.zeros(1, 9, FEATURES))
        assert config.cost(lookback=9).attention_scores == sum(seen)


def test_sequence_elements_of_a_network_counted_by_hand():
    """Width 12 from the CNN, 16 from the LSTM both ways, fusion 12, over 20 steps."""
    cnn = 4 * 20 * 12  # convolution, norm, activation, dropout
    shortcut = 20 * 12
    self_attention = 3 * 20 * 12 + 3 * 20 * 12  # norm, attended, projected; queries, keys, values
    pooling = 20 * 16
    fusion = 2 * (1 + 2 * 20) * 12  # a query, keys and values from each branch
    assert network().cost(lookback=20).sequence_elements == cnn
    assert (
        network(**EVERYTHING).cost(lookback=20).sequence_elements == cnn + shortcut + self_attention + pooling + fusion
    )


# ---------------------------------------------------------------------- in the lookback


@pytest.mark.parametrize(
    "name", ["recurrent_multiply_adds", "narrow_multiply_adds", "recurrent_reads", "recurrent_states"]
)
def test_what_every_bar_costs_is_proportional_to_the_lookback(random_config, name):
    for number in range(40):
        config = random_config(number)
        once = getattr(config.cost(lookback=7), name)
        assert once > 0
        assert [getattr(config.cost(lookback=7 * times), name) for times in (2, 3, 10)] == [
            2 * once,
            3 * once,
            10 * once,
        ]


def test_only_self_attention_grows_faster_than_the_lookback(random_config):
    """Second differences over 10, 20, 30 bars: 2 × 10² for each term in the square of the lookback, else none."""
    with_attention = 0
    for number in range(60):
        config = random_config(number)
        one, two, three = (astuple(config.cost(lookback=bars)) for bars in (10, 20, 30))
        curved = [c - 2 * b + a for a, b, c in zip(one, two, three, strict=True)]
        heads = config.cnn.attention_heads or 0
        with_attention += heads > 0
        expected = {field.name: 0 for field in fields(Profile)}
        expected["attention_scores"] = 200 * heads
        expected["multiply_adds"] = 200 * 2 * config.cnn.width * (heads > 0)  # scores, and the weighted sum
        assert dict(zip(expected, curved, strict=True)) == expected
    assert 10 < with_attention < 50


def test_profiles_add_up_term_by_term():
    first, second = Profile(*range(1, 9)), Profile(*range(10, 90, 10))
    assert astuple(first + second) == (11, 22, 33, 44, 55, 66, 77, 88)
    assert first + Profile() == first
