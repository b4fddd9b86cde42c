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
    """Base class of the fusions. A fusion joins the outputs of both branches into one vector ``(batch, dim)``.

    A subclass is a frozen dataclass. A subclass loads torch only in :meth:`layers` and :meth:`forward`, because reading settings
    must not load torch.

    Attributes:
        name: value of the parameter ``fusion.method`` that selects this fusion.
        place: position among the values of ``fusion.method``; the random draws of a study depend on the order of these values.
        description: description of the fusion in one line, for the documentation.
        parameters: parameters that only this fusion has, by name without ``fusion.``. Each parameter is also a field of the
            subclass.
        method: value of ``fusion.method`` in the configuration, equal to ``name``.
        dim: width of the vector that the fusion returns.
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
    def cost(self, cnn: BranchShape, lstm: BranchShape, steps: tuple[int, int]) -> Profile:
        """Return the cost of the fusion. ``steps`` has the numbers of steps of the CNN sequence and the LSTM sequence."""

    @abc.abstractmethod
    def layers(self, cnn: BranchShape, lstm: BranchShape) -> dict[str, nn.Module]:
        """Create the layers of the fusion by name, in the order of initialisation. Saved weights have these names."""

    @abc.abstractmethod
    def forward(self, layers: nn.ModuleDict, cnn: BranchOutput, lstm: BranchOutput) -> Tensor:
        """Join the outputs of the branches with ``layers``, the result of :meth:`layers`; return ``(batch, dim)``."""
