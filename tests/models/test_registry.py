"""The contract of every family of networks, and the effect of a second family."""

import pytest
import torch

from builders.trainings import CPU
from cnn_lstm_hyperopt.config import PARAMETERS
from cnn_lstm_hyperopt.models import FAMILIES, family_of, network_config, size_parameters
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.models.registry import FAMILY, parameters_of
from cnn_lstm_hyperopt.search import random_configuration
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


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_family_describes_the_built_network(family):
    for number in range(3):
        params = random_configuration(SearchSpace.of(family.parameters), 0, number)
        shape = {"input_dim": 3, "n_classes": 4, "has_regression": bool(number)}
        config = family.config(params, **shape)
        network = build_network(config, seed=1, device=CPU).eval()
        output = network(torch.zeros(2, 6, 3))
        assert config == network_config(params, **shape) == network.config
        assert (output.logits.shape, output.value is not None) == ((2, 4), bool(number))
        assert config.cost(lookback=6).parameters == sum(weight.numel() for weight in network.state_dict().values())
        assert config.describe()
        assert all(family.columns(params).values())


def test_the_parameters_that_can_change_the_size_are_found():
    space = SearchSpace.of(PARAMETERS)
    configurations = [random_configuration(space, 0, number) for number in range(20)]
    found = size_parameters(configurations)
    assert {"cnn.num_filters", "cnn.filter_sizes", "lstm.hidden_dim", "lstm.num_layers", "fusion.method"} <= found
    assert all(name.split(".")[0] in ("cnn", "lstm", "fusion") for name in found)
    assert not any("dropout" in name or "activation" in name for name in found)
    assert size_parameters(configurations[:1]) == size_parameters([]) == set()


def test_a_second_family_adds_its_parameters_and_the_choice_between_the_two():
    first, of_families = next(iter(FAMILIES.values())), parameters_of(FAMILIES.values())
    assert list(PARAMETERS)[: len(of_families)] == list(of_families)
    assert family_of({}) is first
    specs = parameters_of([first, Other()])
    assert list(specs) == [FAMILY, *first.parameters, *Other.parameters]
    usual, _ = parse_space(None, specs)
    assert list(usual.searched()) == list(SearchSpace.of(first.parameters).searched())
    both, errors = parse_space({"model": {"family": [first.name, "other"]}}, specs)
    drawn = [random_configuration(both, 0, number) for number in range(20)]
    for params in drawn:
        assert set(params) <= {FAMILY, *(Other if params[FAMILY] == "other" else first).parameters}
    assert ({params[FAMILY] for params in drawn}, errors) == ({first.name, "other"}, [])
