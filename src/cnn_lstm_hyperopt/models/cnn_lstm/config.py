"""Configuration of a CNN+LSTM network."""

from dataclasses import dataclass
from typing import ClassVar

from cnn_lstm_hyperopt.models.base import NetworkConfig
from cnn_lstm_hyperopt.models.cnn_lstm.cost import cnn_cost, highway_cost, lstm_cost
from cnn_lstm_hyperopt.models.cnn_lstm.describe import sentence
from cnn_lstm_hyperopt.models.cnn_lstm.fusions.base import Fusion
from cnn_lstm_hyperopt.models.cnn_lstm.params import CnnConfig, LstmConfig
from cnn_lstm_hyperopt.models.cost import Profile, linear


@dataclass(frozen=True)
class CnnLstmConfig(NetworkConfig):
    """Configuration of the two branches, the fusion, the output heads and the linear highway.

    Attributes:
        highway: initial weights of the linear highway: ``random``, or ``linear`` for the solution of the linear model; None: no
            highway.
    """

    family: ClassVar[str] = "cnn_lstm"
    cnn: CnnConfig
    lstm: LstmConfig
    fusion: Fusion
    highway: str | None = None

    def cost(self, *, lookback: int) -> Profile:
        heads = linear(self.fusion.dim, self.n_classes)
        if self.has_regression:
            heads += linear(self.fusion.dim, 1)
        return (
            cnn_cost(self.input_dim, self.cnn, lookback)
            + lstm_cost(self.input_dim, self.lstm, lookback)
            + self.fusion.cost(self.cnn.shape, self.lstm.shape, lookback)
            + heads
            + (highway_cost(self.input_dim, self.n_classes + self.has_regression) if self.highway else Profile())
        )

    def describe(self) -> str:
        return sentence(self.cnn, self.lstm, self.fusion, self.highway)
