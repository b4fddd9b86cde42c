"""Base class of the fusions."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cnn_lstm_hyperopt.models.cnn_lstm.branch import BranchOutput, BranchShape
from cnn_lstm_hyperopt.models.cost import Profile
from cnn_lstm_hyperopt.space.parameters import ParameterSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Fusion(abc.ABC):
    """A fusion joins the branches: two :class:`.BranchOutput` → one vector ``(batch, dim)``.

    A subclass is a frozen dataclass. It loads torch only in :meth:`layers` and :meth:`forward`: reading settings must not
    load torch.

    Attributes:
        name: choice of ``fusion.method``.
        place: position among the choices; the random draws of a study depend on their order.
        description: one line for the documentation.
        parameters: parameters of this fusion only, without ``fusion.``; each is also a field of the subclass.
        method: the name, as a value of the configuration.
        dim: width of the vector.
        dropout: dropout rate after the fusion.
    """

    name: ClassVar[str]
    place: ClassVar[int]
    description: ClassVar[str]
    parameters: ClassVar[Mapping[str, ParameterSpec]] = {}

    method: str
    dim: int
    dropout: float

    @abc.abstractmethod
    def cost(self, cnn: BranchShape, lstm: BranchShape, steps: int) -> Profile:
        """Return the cost of the fusion on windows of ``steps`` bars."""

    @abc.abstractmethod
    def layers(self, cnn: BranchShape, lstm: BranchShape) -> dict[str, nn.Module]:
        """Create the layers by name, in the order of initialisation; saved weights contain these names."""

    @abc.abstractmethod
    def forward(self, layers: nn.ModuleDict, cnn: BranchOutput, lstm: BranchOutput) -> Tensor:
        """Join the branches with these :meth:`layers`; return ``(batch, dim)``."""
