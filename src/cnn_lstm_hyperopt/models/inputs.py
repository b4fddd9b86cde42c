"""Inputs of a network: groups of channels that a configuration may leave out, standardisation, normalisation over the window.

The parameters belong to no family. A family's network gets only the chosen channels. :mod:`.input_network` has the layers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

from cnn_lstm_hyperopt.models.base import NetworkConfig
from cnn_lstm_hyperopt.models.cost import Profile
from cnn_lstm_hyperopt.space.domains import Fixed
from cnn_lstm_hyperopt.space.parameters import FLAG, ParameterSpec, Params, Specs, value_of
from cnn_lstm_hyperopt.space.search_space import SearchSpace

InputGroup = Literal["relative_ranges", "volume_ratios", "market"]
"""Name of a group of built-in features that a configuration may leave out."""
GROUPS: tuple[InputGroup, ...] = get_args(InputGroup)
"""All groups in the order of their channels."""
USED: tuple[InputGroup, ...] = ("relative_ranges",)
"""Groups that a network gets by default."""
STANDARDISE = "inputs.standardise"
WINDOW_NORM = "inputs.window_norm"
PER_CHANNEL = 3
"""Number of inputs per channel with normalisation: the normalised channel, its mean and its log standard deviation."""
CLIP = 10.0
"""Largest absolute value of a standardised input, so that a single outlier does not dominate a network."""

PARAMETERS: dict[str, ParameterSpec] = {
    **{f"inputs.{group}": ParameterSpec("flag", Fixed(group in USED), earlier=False) for group in GROUPS},
    WINDOW_NORM: ParameterSpec("flag", Fixed(False), earlier=False),
    STANDARDISE: ParameterSpec("flag", Fixed(True), earlier=False),
}

OWN = "own."
"""Prefix of the names of groups of the user's inputs, such as ``own.sentiment``."""
OWN_FLAG = ParameterSpec("flag", FLAG, earlier=True)
"""Flag of a group of the user's inputs. A configuration without the flag uses the group."""

Columns = Mapping[str, tuple[int, ...]]
"""Channels of each group of features in a dataset, by name of the group."""


@dataclass(frozen=True)
class InputsConfig(NetworkConfig):
    """Configuration of a network that gets only some channels of the windows, or standardised or normalised channels.

    Attributes:
        network: configuration of the family's network, whose ``input_dim`` is the number of its inputs.
        columns: channels that the network gets, ascending.
        window_norm: whether each channel is normalised over the window.
        standardise: whether each channel is standardised by the training windows, before the normalisation.
    """

    family: ClassVar[str] = "inputs"
    network: NetworkConfig
    columns: tuple[int, ...]
    window_norm: bool
    standardise: bool

    def cost(self, *, lookback: int) -> Profile:
        """See the base class. The chosen, standardised or normalised channels are a copy of the window."""
        elements = lookback * self.network.input_dim
        buffers = 2 * self.input_dim if self.standardise else 0  # mean and standard deviation
        return self.network.cost(lookback=lookback) + Profile(sequence_elements=elements, buffers=buffers)

    def fixed_width(self, lookback: int) -> int:
        return self.network.fixed_width(lookback)

    def fixed_cost(self, *, lookback: int) -> Profile:
        return self.network.fixed_cost(lookback=lookback)

    def describe(self) -> str:
        steps = ["standardised"] * self.standardise + ["normalised over the window"] * self.window_norm
        changed = f", {' and '.join(steps)}," if steps else ""
        return f"{len(self.columns)} of {self.input_dim} inputs{changed} to {self.network.describe()}"


def flag_of(group: str) -> str:
    """Return the name of the parameter that switches a group of features on."""
    return f"inputs.{group}"


def is_own_flag(name: str) -> bool:
    """Return whether a parameter is the flag of a group of the user's inputs."""
    return name.startswith(flag_of(OWN))


def own_flags(groups: Iterable[str]) -> Specs:
    """Return the specifications of the flags of those groups that are groups of the user's inputs."""
    return {flag_of(group): OWN_FLAG for group in groups if group.startswith(OWN)}


def chosen_columns(params: Params, input_dim: int, columns: Columns) -> tuple[int, ...]:
    """Return the channels that a configuration chooses: all channels, without those of groups whose flag is off.

    If all channels would be left out, all are chosen, because a network needs an input.
    """
    specs = {**PARAMETERS, **own_flags(columns)}
    left_out = {
        place for group, places in columns.items() if not value_of(flag_of(group), params, specs) for place in places
    }
    chosen = tuple(place for place in range(input_dim) if place not in left_out)
    return chosen or tuple(range(input_dim))


def channels_of(config: NetworkConfig) -> tuple[int, ...]:
    """Return the channels that a network uses."""
    return config.columns if isinstance(config, InputsConfig) else tuple(range(config.input_dim))


def possible_groups(space: SearchSpace) -> tuple[str, ...]:
    """Return the groups of features that a configuration of the space may use."""
    return tuple(group for group in GROUPS if space.domains[flag_of(group)].contains(True))


def without_missing_inputs(space: SearchSpace, groups: Iterable[str], *, raw: bool) -> SearchSpace:
    """Return the space for data that have only these groups of features. Flags without effect are fixed at false.

    Args:
        space: the space of the settings.
        groups: names of the groups of features.
        raw: whether the windows are unscaled, so that networks can standardise them.
    """
    unused = [flag_of(group) for group in GROUPS if group not in set(groups)] + ([] if raw else [STANDARDISE])
    return space.fixing(dict.fromkeys(unused, False))


def with_own_groups(space: SearchSpace, groups: Iterable[str]) -> SearchSpace:
    """Return the space with a searched flag for each of the groups that is a group of the user's inputs."""
    own = own_flags(groups)
    domains = {name: spec.default for name, spec in own.items()}
    return replace(space, domains={**space.domains, **domains}, specs={**space.specs, **own}) if own else space


def with_searched_groups(space: SearchSpace) -> SearchSpace:
    """Return the space in which the flags of groups of built-in features are searched, unless their domains were changed."""
    names = [flag_of(group) for group in GROUPS]
    searched = {name: FLAG for name in names if space.domains[name] == PARAMETERS[name].default}
    return replace(space, domains={**space.domains, **searched})
