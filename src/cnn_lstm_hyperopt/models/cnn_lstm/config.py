"""Configuration of a CNN+LSTM network."""

from dataclasses import dataclass
from typing import ClassVar

from cnn_lstm_hyperopt.models.base import NetworkConfig
from cnn_lstm_hyperopt.models.cnn_lstm.cost import cnn_cost, lstm_cost
from cnn_lstm_hyperopt.models.cnn_lstm.describe import sentence
from cnn_lstm_hyperopt.models.cnn_lstm.fusions.base import Fusion
from cnn_lstm_hyperopt.models.cnn_lstm.params import CnnConfig, LstmConfig
from cnn_lstm_hyperopt.models.cost import Profile, linear


@dataclass(frozen=True)
class CnnLstmConfig(NetworkConfig):
    """Configuration of the two branches, the fusion and the output heads."""

    family: ClassVar[str] = "cnn_lstm"
    cnn: CnnConfig
    lstm: LstmConfig
    fusion: Fusion

    def cost(self, *, lookback: int) -> Profile:
        heads = linear(self.fusion.dim, self.n_classes)
        if self.has_regression:
            heads += linear(self.fusion.dim, 1)
        return (
            cnn_cost(self.input_dim, self.cnn, lookback)
            + lstm_cost(self.input_dim, self.lstm, lookback)
            + self.fusion.cost(self.cnn.shape, self.lstm.shape, lookback)
            + heads
        )

    def describe(self) -> str:
        return sentence(self.cnn, self.lstm, self.fusion)
