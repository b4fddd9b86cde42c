"""Fusion by concatenation: one dense layer on the concatenated summaries of both branches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnn_lstm_hyperopt.models.cnn_lstm.branch import BranchOutput, BranchShape
from cnn_lstm_hyperopt.models.cnn_lstm.fusions.base import Fusion
from cnn_lstm_hyperopt.models.cost import Profile, linear

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Concatenation(Fusion):
    """Dense layer relu(W [c, l]) on the CNN summary c and the LSTM summary l."""

    name, place = "concatenation", 1
    description = "a dense layer with ReLU on both branch outputs, side by side"

    def cost(self, cnn: BranchShape, lstm: BranchShape, steps: tuple[int, int]) -> Profile:
        return linear(cnn.summary_width + lstm.summary_width, self.dim)

    def layers(self, cnn: BranchShape, lstm: BranchShape) -> dict[str, nn.Module]:
        from torch import nn

        return {"project": nn.Linear(cnn.summary_width + lstm.summary_width, self.dim)}

    def forward(self, layers: nn.ModuleDict, cnn: BranchOutput, lstm: BranchOutput) -> Tensor:
        import torch

        return torch.relu(layers["project"](torch.cat([cnn.summary, lstm.summary], dim=-1)))
