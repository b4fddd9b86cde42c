"""Cross-attention: the summary of each branch attends to the sequence of the *other* branch; a dense layer joins the results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnn_lstm_hyperopt.models.cnn_lstm.branch import BranchOutput, BranchShape
from cnn_lstm_hyperopt.models.cnn_lstm.fusions.base import Fusion
from cnn_lstm_hyperopt.models.cost import Profile, attention, linear
from cnn_lstm_hyperopt.space.domains import Choices
from cnn_lstm_hyperopt.space.parameters import ParameterSpec, Width

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class CrossAttention(Fusion):
    """Cross-attention between the branches; ``attention_heads`` must divide ``dim``."""

    name, place = "attention", 2
    description = "cross-attention: each branch attends to the sequence of the other branch"
    parameters = {  # noqa: RUF012 (a class variable of the base)
        "attention_heads": ParameterSpec(
            "choice", Choices((4, 8, 16)), low=1, high=64, divides=Width(("fusion.dim",), int)
        )
    }

    attention_heads: int

    def cost(self, cnn: BranchShape, lstm: BranchShape, steps: tuple[int, int]) -> Profile:
        return (
            attention(cnn.summary_width, lstm.width, self.dim, queries=1, steps=steps[1], heads=self.attention_heads)
            + attention(lstm.summary_width, cnn.width, self.dim, queries=1, steps=steps[0], heads=self.attention_heads)
            + linear(2 * self.dim, self.dim)
        )

    def layers(self, cnn: BranchShape, lstm: BranchShape) -> dict[str, nn.Module]:
        from torch import nn

        from cnn_lstm_hyperopt.models.layers.attention import MultiHeadAttention

        return {
            "cnn_asks": MultiHeadAttention(cnn.summary_width, lstm.width, self.dim, heads=self.attention_heads),
            "lstm_asks": MultiHeadAttention(lstm.summary_width, cnn.width, self.dim, heads=self.attention_heads),
            "project": nn.Linear(2 * self.dim, self.dim),
        }

    def forward(self, layers: nn.ModuleDict, cnn: BranchOutput, lstm: BranchOutput) -> Tensor:
        import torch

        from_lstm = layers["cnn_asks"](cnn.summary.unsqueeze(1), lstm.sequence).squeeze(1)  # (batch, dim)
        from_cnn = layers["lstm_asks"](lstm.summary.unsqueeze(1), cnn.sequence).squeeze(1)  # (batch, dim)
        return torch.relu(layers["project"](torch.cat([from_lstm, from_cnn], dim=-1)))
