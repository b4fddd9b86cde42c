"""Protocol of a network family: parameters, build, cost, describe. Code outside ``models`` uses only this protocol."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from cnn_lstm_hyperopt.models.cost import Profile
from cnn_lstm_hyperopt.space.parameters import Params, Specs


@dataclass(frozen=True)
class NetworkConfig(abc.ABC):
    """Configuration of one network; a family's subclass adds the layers.

    Attributes:
        family: name of the network's family.
        input_dim: features per bar.
        n_classes: classes of the classification head, ≥ 2.
        has_regression: whether the network has a regression head.
    """

    family: ClassVar[str]
    input_dim: int
    n_classes: int
    has_regression: bool

    @abc.abstractmethod
    def cost(self, *, lookback: int) -> Profile:
        """Return the network's parameters and arithmetic on windows of ``lookback`` bars, without building it."""

    @abc.abstractmethod
    def describe(self) -> str:
        """Return a phrase that describes the network, for model cards."""


class Family(Protocol):
    """A family of networks with the same structure.

    Attributes:
        name: name in the registry.
        parameters: parameters of its networks by full name (``lstm.hidden_dim``); a parent precedes its dependents.
        structure: phrase that describes all its networks.
    """

    name: str
    parameters: Specs
    structure: str

    def config(self, params: Params, *, input_dim: int, n_classes: int, has_regression: bool) -> NetworkConfig:
        """Return the network of a full configuration; see :class:`NetworkConfig` for the arguments.

        Raises:
            ConfigError: a parameter is missing.
        """

    def build(self, config: Any) -> Any:  # a Network; its module loads torch
        """Build a :class:`.Network` with weights from torch's global generator."""

    def columns(self, params: Params) -> Mapping[str, str]:
        """Return short table cells that distinguish networks: header → cell."""
