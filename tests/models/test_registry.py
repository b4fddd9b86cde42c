"""The contract of every family of networks, and the effect of a second family."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from builders.trainings import CPU
from cnn_lstm_hyperopt import config, register_family
from cnn_lstm_hyperopt.config import PARAMETERS, search_space
from cnn_lstm_hyperopt.models import FAMILIES, family_of, network_config, size_parameters
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.models.registry import DEFAULT_FAMILY, FAMILY, parameters_of
from cnn_lstm_hyperopt.search import MemoryLevel, levels_of, random_configuration
from cnn_lstm_hyperopt.space.domains import Choices
from cnn_lstm_hyperopt.space.parameters import ParameterSpec
from cnn_lstm_hyperopt.space.parsing import parse_space
from cnn_lstm_hyperopt.space.search_space import SearchSpace


class Other:
    """A second family, as far as a search space needs it."""

    name = "other"
    parameters = {  # noqa: RUF012
        "other.deep": ParameterSpec("flag", Choices((False, True))),
        "other.width": ParameterSpec("choice", Choices((8, 16)), low=1, high=64, when={"other.deep": (True,)}),
    }


class Perceptron(nn.Module):
    """A user's module."""

    def __init__(self, shape, width, dropout):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(shape.lookback * shape.input_dim, width), nn.Dropout(dropout))
        self.classify = nn.Linear(width, shape.n_classes)
        self.regress = nn.Linear(width, 1) if shape.has_regression else None

    def forward(self, x):
        found = self.body(x).relu()
        return self.classify(found), None if self.regress is None else self.regress(found)


OWN = register_family("perceptron", {"width": [4, 8], "dropout": (0.0, 0.5)}, Perceptron)
EVERY_FAMILY = {**FAMILIES, "own": OWN}


def configurations_of(family, count, **section):
    space, errors = config.parse_space({"family": family.name, **section})
    assert errors == []
    return [random_configuration(space, 0, number) for number in range(count)]


@pytest.mark.parametrize("family", EVERY_FAMILY.values(), ids=EVERY_FAMILY)
def test_a_family_describes_the_built_network(family):
    for number, params in enumerate(configurations_of(family, 3)):
        shape = {"input_dim": 3, "n_classes": 4, "has_regression": bool(number), "lookback": 6}
        made = network_config({**params, "inputs.window_norm": False, "inputs.standardise": False}, **shape)
        network = build_network(made, seed=1, device=CPU).eval()
        again = build_network(made, seed=1, device=CPU).eval()
        windows = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(0))
        output, alone = network(windows), network(windows[:1])
        assert family_of(params) is family
        assert made == family.config(params, **shape) == network.config
        assert (output.logits.shape, output.value is not None) == ((5, 4), bool(number))
        assert output.value is None or output.value.shape == (5,)
        torch.testing.assert_close(alone.logits, output.logits[:1], rtol=1e-4, atol=1e-5)
        assert torch.equal(again(windows).logits, output.logits)
        cost = made.cost(lookback=6)
        assert cost.parameters + cost.buffers == sum(weight.numel() for weight in network.state_dict().values())
        assert min(cost.multiply_adds, cost.sequence_elements, cost.layers) > 0
        assert made.describe()
        assert all(family.columns(params).values())


@pytest.mark.parametrize("family", EVERY_FAMILY.values(), ids=EVERY_FAMILY)
def test_every_weight_of_a_family_learns(family):
    for params in configurations_of(family, 2):
        made = network_config(params, input_dim=3, n_classes=2, has_regression=True, lookback=12)
        network = build_network(made, seed=1, device=CPU).train()
        output = network(torch.randn(4, 12, 3, generator=torch.Generator().manual_seed(1)))
        loss = functional.cross_entropy(output.logits, torch.tensor([0, 1, 0, 1])) + output.value.square().mean()
        loss.backward()
        assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())


@pytest.mark.parametrize("family", EVERY_FAMILY.values(), ids=EVERY_FAMILY)
def test_a_space_of_a_family_is_read_again_from_its_yaml_form(family):
    space, _ = config.parse_space({"family": family.name})
    again, errors = config.parse_space(space.as_dict())
    assert (again, errors) == (space, [])
    for params in configurations_of(family, 3):
        assert search_space.params_errors(config.readable(params)) == []
        assert levels_of(params)[0] == MemoryLevel(1)
        assert any(level.gradient_checkpointing for level in levels_of(params)) is family.recomputes


def test_the_parameters_that_can_change_the_size_are_found():
    space = SearchSpace.of(PARAMETERS)
    configurations = [random_configuration(space, 0, number) for number in range(20)]
    found = size_parameters(configurations)
    assert {"cnn.num_filters", "cnn.filter_sizes", "lstm.hidden_dim", "lstm.num_layers", "fusion.method"} <= found
    assert all(name.split(".")[0] in ("cnn", "lstm", "fusion") for name in found)
    assert not any("dropout" in name or "activation" in name for name in found)
    assert size_parameters(configurations[:1]) == size_parameters([]) == set()


def test_a_second_family_adds_its_parameters_and_the_choice_between_the_two():
    first = FAMILIES[DEFAULT_FAMILY]
    of_families = parameters_of([first])
    assert list(PARAMETERS)[: len(of_families)] == list(of_families)
    assert family_of({}) is first
    specs = parameters_of([first, Other()])
    assert list(specs) == [FAMILY, *first.parameters, *Other.parameters]
    alone, _ = parse_space({"model": {"family": first.name}}, specs)
    assert list(alone.searched()) == list(SearchSpace.of(first.parameters).searched())
    both, errors = parse_space(None, specs)
    drawn = [random_configuration(both, 0, number) for number in range(20)]
    for params in drawn:
        assert set(params) <= {FAMILY, *(Other if params[FAMILY] == "other" else first).parameters}
    assert ({params[FAMILY] for params in drawn}, errors) == ({first.name, "other"}, [])
