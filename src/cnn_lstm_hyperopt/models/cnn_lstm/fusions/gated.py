"""Gated multimodal unit (Arevalo et al. 2017, arXiv 1702.01992, eq. 1–5).

For each feature, a learned network gate sets the weights of the two branches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnn_lstm_hyperopt.models.cnn_lstm.branch import BranchOutput, BranchShape
from cnn_lstm_hyperopt.models.cnn_lstm.fusions.base import Fusion
from cnn_lstm_hyperopt.models.cost import Profile, linear

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class GatedUnit(Fusion):
    """Gated multimodal unit z ∘ tanh(W_c c) + (1 − z) ∘ tanh(W_l l), with the network gate z = σ(W_z [c, l]).

    The vectors c and l are the summaries of the CNN and the LSTM branch.
    """

    name, place = "gated", 3
    description = (
        "gated multimodal unit (arXiv 1702.01992): a learned network gate sets the weights of the two branches"
    )

    def cost(self, cnn: BranchShape, lstm: BranchShape, steps: tuple[int, int]) -> Profile:
        both = cnn.summary_width + lstm.summary_width
        return linear(cnn.summary_width, self.dim) + linear(lstm.summary_width, self.dim) + linear(both, self.dim)

    def layers(self, cnn: BranchShape, lstm: BranchShape) -> dict[str, nn.Module]:
        from torch import nn

        return {
            "from_cnn": nn.Linear(cnn.summary_width, self.dim),
            "from_lstm": nn.Linear(lstm.summary_width, self.dim),
            "gate": nn.Linear(cnn.summary_width + lstm.summary_width, self.dim),
        }

    def forward(self, layers: nn.ModuleDict, cnn: BranchOutput, lstm: BranchOutput) -> Tensor:
        import torch

        gate = torch.sigmoid(layers["gate"](torch.cat([cnn.summary, lstm.summary], dim=-1)))
        from_cnn = torch.tanh(layers["from_cnn"](cnn.summary))
        return gate * from_cnn + (1 - gate) * torch.tanh(layers["from_lstm"](lstm.summary))
