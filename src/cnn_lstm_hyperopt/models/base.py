"""Interface of a family of networks. Code outside ``models`` uses families only through this interface."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from cnn_lstm_hyperopt.models.cost import Profile
from cnn_lstm_hyperopt.space.parameters import Params, Specs


@dataclass(frozen=True)
class NetworkShape:
    """Sizes of the inputs and outputs of a network.

    Attributes:
        input_dim: number of features per bar.
        n_classes: number of classes, ≥ 2.
        has_regression: whether the data have a regression target.
        lookback: number of bars in a window.
    """

    input_dim: int
    n_classes: int
    has_regression: bool
    lookback: int


@dataclass(frozen=True)
class NetworkConfig(abc.ABC):
    """Configuration of one network; the subclass of a family adds the configuration of the layers.

    Attributes:
        family: name of the network's family.
        input_dim: number of features per bar.
        n_classes: number of classes of the classification head, ≥ 2.
        has_regression: whether the network has a regression head.
    """

    family: ClassVar[str]
    input_dim: int
    n_classes: int
    has_regression: bool

    @abc.abstractmethod
    def cost(self, *, lookback: int) -> Profile:
        """Return the network's size and operations per window of ``lookback`` bars, without building the network."""

    def fixed_width(self, lookback: int) -> int:
        """Return the number of features of a window that training does not change."""
        return 0

    def fixed_cost(self, *, lookback: int) -> Profile:
        """Return the operations per window for the features that training does not change; :meth:`cost` does not count them."""
        return Profile()

    @abc.abstractmethod
    def describe(self) -> str:
        """Return a phrase that describes the network, for model cards."""


class Family(Protocol):
    """A family of networks with the same structure.

    Attributes:
        name: name of the family in the registry.
        parameters: parameters of the family by full name (``lstm.hidden_dim``). A parameter follows the parameters on which
            it depends.
        structure: phrase that describes all networks of the family.
        recomputes: whether the networks have gradient checkpointing.
    """

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> Specs: ...

    @property
    def structure(self) -> str: ...

    @property
    def recomputes(self) -> bool: ...

    def config(
        self, params: Params, *, input_dim: int, n_classes: int, has_regression: bool, lookback: int | None = None
    ) -> NetworkConfig:
        """Return the network's configuration for these parameters; see :class:`NetworkConfig` for the other arguments.

        Args:
            params: parameters of a full configuration.
            lookback: number of bars in a window; None if the network does not need it.

        Raises:
            ConfigError: a parameter is missing, or the network needs ``lookback``.
        """

    def build(self, config: Any) -> Any:  # a Network; its module loads torch
        """Build a :class:`.Network` with initial weights from torch's global random number generator."""

    def splits_batches(self, params: Params) -> bool:
        """Return whether a batch may be processed in parts, so that no output in training depends on other windows."""

    def columns(self, params: Params) -> Mapping[str, str]:
        """Return short texts that distinguish networks in a table, by column header."""
