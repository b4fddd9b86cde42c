"""What a fusion is; each of the other files here has all that there is to know of one."""

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
    """One way to join the branches: two :class:`.BranchOutput` → one vector ``(batch, dim)``.

    A subclass is a frozen dataclass. It loads torch only in :meth:`layers` and :meth:`forward`, because settings are read
    without it.

    Attributes:
        name: the choice of ``fusion.method``.
        place: among the choices, on whose order the random draws of a study depend.
        description: one line for the documentation.
        parameters: that only this fusion has, without ``fusion.``; each is a field of the subclass, too.
        method: the name again, as a value of the configuration.
        dim: width of the vector.
        dropout: rate behind it.
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
        """What :meth:`layers` and :meth:`forward` cost on windows of ``steps`` bars."""

    @abc.abstractmethod
    def layers(self, cnn: BranchShape, lstm: BranchShape) -> dict[str, nn.Module]:
        """New layers by name, which saved weights have in theirs; they are initialised in this order."""

    @abc.abstractmethod
    def forward(self, layers: nn.ModuleDict, cnn: BranchOutput, lstm: BranchOutput) -> Tensor:
        """Joins the branches with these :meth:`layers`; returns ``(batch, dim)``."""
