"""Configuration of a CNN+LSTM network."""

from dataclasses import dataclass
from typing import ClassVar

from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.models.base import NetworkConfig
from cnn_lstm_hyperopt.models.cnn_lstm.cost import cnn_cost, highway_cost, lstm_cost, lstm_inputs
from cnn_lstm_hyperopt.models.cnn_lstm.describe import sentence
from cnn_lstm_hyperopt.models.cnn_lstm.fusions.base import Fusion
from cnn_lstm_hyperopt.models.cnn_lstm.params import TRANSPOSED, CnnConfig, LstmConfig
from cnn_lstm_hyperopt.models.cost import Profile, linear


@dataclass(frozen=True)
class CnnLstmConfig(NetworkConfig):
    """Configuration of the two branches, the fusion, the output heads and the linear highway.

    Attributes:
        highway: initial weights of the linear highway: ``random``, or ``linear`` for the solution of the linear model; None: no
            highway.
        lookback: number of bars in a window; only a recurrent branch that reads the transposed window needs it.
    """

    family: ClassVar[str] = "cnn_lstm"
    cnn: CnnConfig
    lstm: LstmConfig
    fusion: Fusion
    highway: str | None = None
    lookback: int | None = None

    def __post_init__(self) -> None:
        if self.lstm.input == TRANSPOSED and self.lookback is None:
            raise ConfigError(
                f"lstm.input={TRANSPOSED} needs the number of bars in a window; pass lookback",
                field="lookback",
                code="lookback-needed",
            )

    @property
    def lstm_input_dim(self) -> int:
        """Number of inputs of a step of the recurrent branch."""
        return lstm_inputs(self.input_dim, self.cnn, self.lstm, self.lookback or 0)[1]

    def cost(self, *, lookback: int) -> Profile:
        heads = linear(self.fusion.dim, self.n_classes)
        if self.has_regression:
            heads += linear(self.fusion.dim, 1)
        lstm_steps, inputs = lstm_inputs(self.input_dim, self.cnn, self.lstm, lookback)
        return (
            cnn_cost(self.input_dim, self.cnn, lookback)
            + lstm_cost(inputs, self.lstm, lstm_steps)
            + self.fusion.cost(self.cnn.shape, self.lstm.shape, (self.cnn.steps(lookback), lstm_steps))
            + heads
            + (highway_cost(self.input_dim, self.n_classes + self.has_regression) if self.highway else Profile())
        )

    def describe(self) -> str:
        return sentence(self.cnn, self.lstm, self.fusion, self.highway)
