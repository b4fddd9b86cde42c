"""Inputs of networks: only chosen channels matter, normalisation over the window keeps its statistics, costs follow."""

import pytest
import torch

from builders.finalists import params as tiny
from builders.trainings import CPU
from cnn_lstm_hyperopt.config import Fixed, parse_space, readable
from cnn_lstm_hyperopt.config.search_space import params_errors
from cnn_lstm_hyperopt.models import network_config
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.models.input_network import normalised
from cnn_lstm_hyperopt.models.inputs import GROUPS, chosen_columns, possible_groups, with_searched_groups
from cnn_lstm_hyperopt.models.network import LinearModel
from cnn_lstm_hyperopt.search import space_of_data

COLUMNS = {"relative_ranges": (2, 3), "market": (5,)}
SHAPE = {"input_dim": 7, "n_classes": 3, "has_regression": True, "columns": COLUMNS}


def with_flags(**flags):
    return tiny() | {f"inputs.{name}": flags.get(name, False) for name in (*GROUPS, "window_norm", "standardise")}


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ({}, [0, 1, 4, 6]),
        ({"relative_ranges": True}, [0, 1, 2, 3, 4, 6]),
        ({"market": True, "volume_ratios": True}, [0, 1, 4, 5, 6]),
        ({"relative_ranges": True, "market": True}, list(range(7))),
    ],
)
@pytest.mark.parametrize("window_norm", [False, True])
def test_a_network_gets_the_chosen_channels_and_costs_what_they_cost(flags, kept, window_norm):
    config = network_config(with_flags(**flags, window_norm=window_norm), **SHAPE)
    network = build_network(config, seed=1, device=CPU).eval()
    x = torch.randn(4, 9, 7, requires_grad=True)
    output = network(x)
    family = network_config(tiny(), input_dim=len(kept) * (3 if window_norm else 1), n_classes=3, has_regression=True)
    alone = build_network(family, seed=1, device=CPU).eval()
    chosen = x[..., kept]
    expected = alone(normalised(chosen) if window_norm else chosen)
    torch.testing.assert_close(output, expected, rtol=0, atol=0)
    output.logits.sum().backward()
    assert x.grad.abs().sum(dim=(0, 1)).nonzero().flatten().tolist() == kept
    cost = config.cost(lookback=9)
    assert (config.input_dim, cost.multiply_adds) == (7, family.cost(lookback=9).multiply_adds)
    assert cost.parameters == sum(weight.numel() for weight in network.state_dict().values())
    assert config.describe().endswith(family.describe())


def test_normalised_windows_and_their_statistics_give_the_windows_back():
    """The inverse of RevIN (Kim et al. 2022, equation 2)."""
    x = 5 * torch.randn(6, 30, 4) + torch.arange(4)
    x[0, :, 1] = 3.0  # a constant channel
    found = normalised(x)
    z, mean, log_std = found.split(4, dim=-1)
    torch.testing.assert_close(z * log_std.exp() + mean, x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(z[1:].std(dim=1, correction=0), torch.ones(5, 4), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(mean[:, 0], x.mean(dim=1))
    assert torch.isfinite(found).all()
    assert z[0, :, 1].abs().max() < 1e-3


def test_a_configuration_of_an_earlier_version_gives_the_network_of_this_version():
    earlier = {name: value for name, value in tiny().items() if not name.startswith("inputs.")}
    eleven = {"n_classes": 2, "has_regression": True}
    assert network_config(earlier, input_dim=11, **eleven) == network_config(tiny(), input_dim=11, **eleven)
    later = network_config(earlier, input_dim=14, columns={"relative_ranges": (11, 12, 13)}, **eleven)
    assert later.network == network_config(earlier, input_dim=11, **eleven)


def test_a_space_has_only_flags_of_groups_that_the_data_have():
    space, errors = parse_space({"inputs": {"market": [False, True], "volume_ratios": True, "relative_ranges": False}})
    assert (errors, possible_groups(space)) == ([], ("volume_ratios", "market"))
    loaders = space_of_data(space, (), one_task=True, raw=True)
    assert [loaders.domains[f"inputs.{group}"] for group in GROUPS] == [Fixed(False)] * 3
    assert space_of_data(space, GROUPS, one_task=False, raw=True) == space
    bars = space_of_data(space, GROUPS, one_task=False, raw=False)
    assert bars == space.fixing({"inputs.standardise": False})


def test_a_linear_highway_starts_with_the_linear_model_of_the_chosen_channels():
    params = with_flags(market=True, window_norm=True) | {"highway.enabled": True, "highway.init": "linear"}
    network = build_network(network_config(params, **SHAPE), seed=1, device=CPU).eval()
    x = torch.randn(5, 9, 7)
    summaries = network.summaries(x)
    model = LinearModel(torch.randn(4, summaries.shape[1]), torch.randn(4))
    network.start_linear(model)
    expected = summaries @ model.weights.T + model.biases
    assert network.starts_linear
    torch.testing.assert_close(torch.column_stack([*network(x)]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ({}, list(range(7))),
        ({"own.a": False}, [0, 1, 2, 3, 5, 6]),
        ({"own.a": False, "own.mine_more": False}, [0, 1, 2, 3]),
        ({"own.a": True, "own.mine_more": False, "relative_ranges": False}, [0, 1, 4]),
    ],
)
def test_a_configuration_may_leave_out_groups_of_the_users_inputs(flags, kept):
    columns = {"relative_ranges": (2, 3), "own.a": (4,), "own.mine_more": (5, 6)}
    params = tiny() | {"inputs.relative_ranges": True} | {f"inputs.{name}": value for name, value in flags.items()}
    assert chosen_columns(params, 7, columns) == tuple(kept)
    assert params_errors(readable(params)) == []


def test_a_network_without_any_chosen_input_gets_all():
    columns = {"own.a": (0,), "own.b": (1,)}
    assert chosen_columns(tiny() | {"inputs.own.a": False, "inputs.own.b": False}, 2, columns) == (0, 1)


def test_the_space_of_data_with_own_groups_has_their_flags():
    space, _ = parse_space({})
    with_own = space_of_data(with_searched_groups(space), ("relative_ranges", "own.a"), one_task=False, raw=False)
    searched = with_own.searched()
    assert {name for name in searched if name.startswith("inputs.")} == {"inputs.relative_ranges", "inputs.own.a"}
    chosen, _ = parse_space({"inputs": {"relative_ranges": False}})
    assert with_searched_groups(chosen).domains["inputs.relative_ranges"] == Fixed(False)
