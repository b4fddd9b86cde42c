"""The protocol of a network family: parameters, build, cost, describe. The code outside ``models`` knows no more of one."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from cnn_lstm_hyperopt.models.cost import Profile
from cnn_lstm_hyperopt.space.parameters import Params, Specs


@dataclass(frozen=True)
class NetworkConfig(abc.ABC):
    """One network: what it reads and predicts, and, in a family's subclass, what it is made of.

    Attributes:
        family: name of the network's family.
        input_dim: features a bar.
        n_classes: classes of the classification head, ≥ 2.
        has_regression: whether there is a regression head.
    """

    family: ClassVar[str]
    input_dim: int
    n_classes: int
    has_regression: bool

    @abc.abstractmethod
    def cost(self, *, lookback: int) -> Profile:
        """Parameters and arithmetic of the network on windows of ``lookback`` bars, in microseconds, without building it."""

    @abc.abstractmethod
    def describe(self) -> str:
        """The network as a part of a sentence, for model cards; without its number of parameters."""


class Family(Protocol):
    """Networks of one make.

    Attributes:
        name: in the registry.
        parameters: that its networks have, by full name (``lstm.hidden_dim``), a parent before those that depend on it.
        structure: what all its networks have in common, as a part of a sentence.
    """

    name: str
    parameters: Specs
    structure: str

    def config(self, params: Params, *, input_dim: int, n_classes: int, has_regression: bool) -> NetworkConfig:
        """The network that a full configuration describes; the arguments are those of :class:`NetworkConfig`.

        Raises:
            ConfigError: a parameter is missing.
        """

    def build(self, config: Any) -> Any:  # a Network, whose module loads torch
        """A new :class:`.Network` of one of its configurations, its weights drawn from torch's global generator."""

    def columns(self, params: Params) -> Mapping[str, str]:
        """What tells the networks of a table apart, in a few characters: header → cell."""
