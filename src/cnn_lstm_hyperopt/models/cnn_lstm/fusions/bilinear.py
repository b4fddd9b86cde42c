"""Low-rank bilinear pooling (Kim et al. 2017, arXiv 1610.04325, eq. 9), of rank ``dim``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnn_lstm_hyperopt.models.cnn_lstm.branch import BranchOutput, BranchShape
from cnn_lstm_hyperopt.models.cnn_lstm.fusions.base import Fusion
from cnn_lstm_hyperopt.models.cost import Profile, linear

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class LowRankBilinear(Fusion):
    """Low-rank bilinear pooling P (tanh(U c) ∘ tanh(V l)) of the CNN summary c and the LSTM summary l."""

    name, place = "bilinear", 4
    description = "low-rank bilinear pooling: a projection of the elementwise product of both branches"

    def cost(self, cnn: BranchShape, lstm: BranchShape, steps: tuple[int, int]) -> Profile:
        branches = linear(cnn.summary_width, self.dim) + linear(lstm.summary_width, self.dim)
        return branches + linear(self.dim, self.dim)

    def layers(self, cnn: BranchShape, lstm: BranchShape) -> dict[str, nn.Module]:
        from torch import nn

        return {
            "from_cnn": nn.Linear(cnn.summary_width, self.dim),
            "from_lstm": nn.Linear(lstm.summary_width, self.dim),
            "project": nn.Linear(self.dim, self.dim),
        }

    def forward(self, layers: nn.ModuleDict, cnn: BranchOutput, lstm: BranchOutput) -> Tensor:
        import torch

        product = torch.tanh(layers["from_cnn"](cnn.summary)) * torch.tanh(layers["from_lstm"](lstm.summary))
        projected: Tensor = layers["project"](product)
        return projected
