"""Four ways to join the branches. Each maps two :class:`BranchOutput` to one vector ``(batch, dim)``."""

import abc

import torch
from torch import Tensor, nn

from cnn_lstm_hyperopt.models.cnn_lstm.branch import BranchOutput, BranchShape
from cnn_lstm_hyperopt.models.cnn_lstm.config import FusionConfig
from cnn_lstm_hyperopt.models.layers.attention import MultiHeadAttention


class Fusion(nn.Module, abc.ABC):
    """Base of the family: built from the branches' widths and the configuration."""

    @abc.abstractmethod
    def __init__(self, cnn: BranchShape, lstm: BranchShape, config: FusionConfig) -> None:
        super().__init__()

    @abc.abstractmethod
    def forward(self, cnn: BranchOutput, lstm: BranchOutput) -> Tensor:
        """Returns ``(batch, dim)``."""


class Concatenation(Fusion):
    """One linear layer over both summaries."""

    def __init__(self, cnn: BranchShape, lstm: BranchShape, config: FusionConfig) -> None:
        super().__init__(cnn, lstm, config)
        self.project = nn.Linear(cnn.summary_width + lstm.summary_width, config.dim)

    def forward(self, cnn: BranchOutput, lstm: BranchOutput) -> Tensor:
        return torch.relu(self.project(torch.cat([cnn.summary, lstm.summary], dim=-1)))


class CrossAttention(Fusion):
    """Each branch's summary asks the *other* branch's sequence; the two answers are projected together."""

    def __init__(self, cnn: BranchShape, lstm: BranchShape, config: FusionConfig) -> None:
        super().__init__(cnn, lstm, config)
        heads = config.attention_heads
        if heads is None:
            raise ValueError("fusion.attention_heads is needed with fusion.method=attention")
        self.cnn_asks = MultiHeadAttention(cnn.summary_width, lstm.width, config.dim, heads=heads)
        self.lstm_asks = MultiHeadAttention(lstm.summary_width, cnn.width, config.dim, heads=heads)
        self.project = nn.Linear(2 * config.dim, config.dim)

    def forward(self, cnn: BranchOutput, lstm: BranchOutput) -> Tensor:
        from_lstm = self.cnn_asks(cnn.summary.unsqueeze(1), lstm.sequence).squeeze(1)  # (batch, dim)
        from_cnn = self.lstm_asks(lstm.summary.unsqueeze(1), cnn.sequence).squeeze(1)  # (batch, dim)
        return torch.relu(self.project(torch.cat([from_lstm, from_cnn], dim=-1)))


class GatedUnit(Fusion):
    """Gated multimodal unit (Arevalo et al. 2017, arXiv 1702.01992, eq. 1–5): a gate a feature weighs the branches."""

    def __init__(self, cnn: BranchShape, lstm: BranchShape, config: FusionConfig) -> None:
        super().__init__(cnn, lstm, config)
        self.from_cnn = nn.Linear(cnn.summary_width, config.dim)
        self.from_lstm = nn.Linear(lstm.summary_width, config.dim)
        self.gate = nn.Linear(cnn.summary_width + lstm.summary_width, config.dim)

    def forward(self, cnn: BranchOutput, lstm: BranchOutput) -> Tensor:
        gate = torch.sigmoid(self.gate(torch.cat([cnn.summary, lstm.summary], dim=-1)))
        return gate * torch.tanh(self.from_cnn(cnn.summary)) + (1 - gate) * torch.tanh(self.from_lstm(lstm.summary))


class LowRankBilinear(Fusion):
    """Low-rank bilinear pooling (Kim et al. 2017, arXiv 1610.04325, eq. 9): P(tanh(U c) ∘ tanh(V l)), rank = dim."""

    def __init__(self, cnn: BranchShape, lstm: BranchShape, config: FusionConfig) -> None:
        super().__init__(cnn, lstm, config)
        self.from_cnn = nn.Linear(cnn.summary_width, config.dim)
        self.from_lstm = nn.Linear(lstm.summary_width, config.dim)
        self.project = nn.Linear(config.dim, config.dim)

    def forward(self, cnn: BranchOutput, lstm: BranchOutput) -> Tensor:
        projected: Tensor = self.project(
            torch.tanh(self.from_cnn(cnn.summary)) * torch.tanh(self.from_lstm(lstm.summary))
        )
        return projected


FUSIONS: dict[str, type[Fusion]] = {
    "concatenation": Concatenation,
    "attention": CrossAttention,
    "gated": GatedUnit,
    "bilinear": LowRankBilinear,
}
