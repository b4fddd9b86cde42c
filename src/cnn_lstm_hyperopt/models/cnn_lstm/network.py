"""The network: two branches, a fusion, a classification head and, where there is a target for it, a regression head."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cnn_lstm_hyperopt.models.cnn_lstm.cnn import ConvBranch
from cnn_lstm_hyperopt.models.cnn_lstm.config import NetworkConfig
from cnn_lstm_hyperopt.models.cnn_lstm.fusion import FUSIONS
from cnn_lstm_hyperopt.models.cnn_lstm.lstm import LstmBranch
from cnn_lstm_hyperopt.models.layers.dropout import Dropout
from cnn_lstm_hyperopt.models.layers.recompute import run


class Output(NamedTuple):
    """``logits``: ``(batch, n_classes)``; ``value``: ``(batch,)``, standardised, None without a regression head."""

    logits: Tensor
    value: Tensor | None

    def widened(self) -> "Output":
        """With bfloat16 made float32: losses and scores need its digits."""
        if self.logits.dtype is not torch.bfloat16:
            return self
        return Output(self.logits.float(), None if self.value is None else self.value.float())


class CnnLstm(nn.Module):
    """CNN and LSTM read the same window side by side; there is no BatchNorm, so batches of any size mean the same."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.cnn = ConvBranch(config.input_dim, config.cnn)
        self.lstm = LstmBranch(config.input_dim, config.lstm)
        self.fusion = FUSIONS[config.fusion.method](
            ConvBranch.shape(config.cnn), LstmBranch.shape(config.lstm), config.fusion
        )
        self.dropout = Dropout(config.fusion.dropout)
        self.classify = nn.Linear(config.fusion.dim, config.n_classes)
        self.regress = nn.Linear(config.fusion.dim, 1) if config.has_regression else None
        self.recompute_in_backward(False)

    def recompute_in_backward(self, recompute: bool) -> None:
        """Whether to save memory at the price of a second forward pass: part by part, backward computes anew what it needs."""
        self._recompute = self.cnn.recompute = self.lstm.recompute = recompute

    def forward(self, x: Tensor) -> Output:
        """``(batch, lookback, input_dim)`` → :class:`Output`."""
        fused = self.dropout(run(self.fusion, self.cnn(x), self.lstm(x), recompute=self._recompute))  # (batch, dim)
        value = self.regress(fused).squeeze(-1) if self.regress is not None else None
        return Output(self.classify(fused), value)


def build_network(config: NetworkConfig, *, seed: int, device: torch.device) -> CnnLstm:
    """A network whose initial weights depend on ``seed`` alone; torch's global generators are left as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(
            seed
        )  # weights are drawn on the CPU; manual_seed() would reseed CUDA's, too
        network = CnnLstm(config)
    return network.to(device)
