"""Configuration of a CNN+LSTM network."""

from dataclasses import dataclass
from typing import ClassVar

from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.models.base import NetworkConfig
from cnn_lstm_hyperopt.models.cnn_lstm.cost import cnn_cost, highway_cost, lstm_cost, lstm_inputs
from cnn_lstm_hyperopt.models.cnn_lstm.describe import sentence
from cnn_lstm_hyperopt.models.cnn_lstm.fusions.base import Fusion
from cnn_lstm_hyperopt.models.cnn_lstm.params import TRANSPOSED, CnnConfig, LstmConfig
from cnn_lstm_hyperopt.models.cost import Profile, kernel_features, kernel_map, linear, random_kernels


@dataclass(frozen=True)
class CnnLstmConfig(NetworkConfig):
    """Configuration of the two branches, the fusion, the output heads and the linear highway.

    Attributes:
        highway: initial weights of the linear highway: ``random``, or ``linear`` for the solution of the linear model; None: no
            highway.
        kernel_groups: number of groups of random kernels for each dilation, whose linear model is added to the outputs; 0: none.
        lookback: number of bars in a window; only random kernels and a recurrent branch that reads the transposed window need it.
    """

    family: ClassVar[str] = "cnn_lstm"
    cnn: CnnConfig
    lstm: LstmConfig
    fusion: Fusion
    highway: str | None = None
    kernel_groups: int = 0
    lookback: int | None = None

    def __post_init__(self) -> None:
        if self.lookback is None and (self.lstm.input == TRANSPOSED or self.kernel_groups):
            name = f"highway.kernel_groups={self.kernel_groups}" if self.kernel_groups else f"lstm.input={TRANSPOSED}"
            raise ConfigError(
                f"{name} needs the number of bars in a window; pass lookback",
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
        outputs = self.n_classes + self.has_regression
        lstm_steps, inputs = lstm_inputs(self.input_dim, self.cnn, self.lstm, lookback)
        return (
            cnn_cost(self.input_dim, self.cnn, lookback)
            + lstm_cost(inputs, self.lstm, lstm_steps)
            + self.fusion.cost(self.cnn.shape, self.lstm.shape, (self.cnn.steps(lookback), lstm_steps))
            + heads
            + (highway_cost(self.input_dim, outputs) if self.highway else Profile())
            + (kernel_map(self.input_dim, lookback, self.kernel_groups, outputs) if self.kernel_groups else Profile())
        )

    def fixed_width(self, lookback: int) -> int:
        return kernel_features(lookback, self.kernel_groups) if self.kernel_groups else 0

    def fixed_cost(self, *, lookback: int) -> Profile:
        return random_kernels(lookback, self.kernel_groups) if self.kernel_groups else Profile()

    def describe(self) -> str:
        return sentence(self.cnn, self.lstm, self.fusion, self.highway, self.kernel_groups)
