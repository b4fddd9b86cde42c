"""What holds for every family of networks, and what a second one changes."""

import subprocess
import sys

import pytest
import torch

from cnn_lstm_hyperopt.config import PARAMETERS
from cnn_lstm_hyperopt.models import FAMILIES, Family, family_of, network_config
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.models.registry import FAMILY, parameters_of
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.space.domains import Choices
from cnn_lstm_hyperopt.space.parameters import ParameterSpec
from cnn_lstm_hyperopt.space.parsing import parse_space
from cnn_lstm_hyperopt.space.search_space import SearchSpace

CPU = torch.device("cpu")


class Other:
    """A second family, as far as a search space needs it."""

    name = "other"
    parameters = {  # noqa: RUF012
        "other.skill threshold": ParameterSpec("flag", Choices((False, True))),
        "other.width": ParameterSpec(
            "choice", Choices((8, 16)), low=1, high=64, when={"other.skill threshold": (True,)}
        ),
    }


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_what_a_family_says_of_a_network_is_true_of_the_built_one(family: Family) -> None:
    space = SearchSpace.of(family.parameters)
    for number in range(3):
        params = random_configuration(space, 0, number)
        config = family.config(params, input_dim=3, n_classes=4, has_regression=bool(number))
        assert config == network_config(params, input_dim=3, n_classes=4, has_regression=bool(number))
        network = build_network(config, seed=1, device=CPU).eval()
        output = network(torch.zeros(2, 6, 3))
        assert network.config == config
        assert output.logits.shape == (2, 4)
        assert (output.value is not None) == bool(number)
        assert config.cost(lookback=6).parameters == sum(weight.numel() for weight in network.state_dict().values())
        assert config.describe()
        assert all(family.columns(params).values())


def test_parameters_of_the_families_stand_before_those_of_training() -> None:
    of_families = parameters_of(FAMILIES.values())
    assert list(PARAMETERS)[: len(of_families)] == list(of_families)


def test_a_second_family_adds_its_parameters_and_the_choice_between_the_two() -> None:
    first = next(iter(FAMILIES.values()))
    specs = parameters_of([first, Other()])
    assert list(specs) == [FAMILY, *first.parameters, *Other.parameters]
    usual, _ = parse_space(None, specs)
    assert list(usual.searched()) == list(SearchSpace.of(first.parameters).searched())
    both, faults = parse_space({"model": {"family": [first.name, "other"]}}, specs)
    assert faults == []
    seen = set()
    for number in range(20):
        params = random_configuration(both, 0, number)
        seen.add(params[FAMILY])
        own = Other.parameters if params[FAMILY] == "other" else first.parameters
        assert set(params) <= {FAMILY, *own}
    assert seen == {first.name, "other"}


def test_a_configuration_that_names_no_family_is_of_the_first() -> None:
    assert family_of({}) is next(iter(FAMILIES.values()))


def test_the_families_are_known_without_torch() -> None:
    code = "import sys, cnn_lstm_hyperopt.models; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
