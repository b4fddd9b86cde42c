"""Parameters of the CNN+LSTM family, and typed configurations of the branches and the fusion."""

from dataclasses import dataclass

from cnn_lstm_hyperopt.models.cnn_lstm.branch import BranchShape
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSION_PARAMETERS, FUSIONS
from cnn_lstm_hyperopt.models.cnn_lstm.fusions.base import Fusion
from cnn_lstm_hyperopt.models.layers.activations import ACTIVATIONS
from cnn_lstm_hyperopt.space.domains import Choices, Fixed, FloatRange, IntRange
from cnn_lstm_hyperopt.space.parameters import FLAG, ParameterSpec, Params, Width, read_group, value_of

MAX_LAYERS = 16
HIGHWAY_SPANS = (1, 5, 22)
"""Numbers of last bars over which the highway takes means, in addition to the mean over the whole window."""


def cnn_width(num_filters: int, filter_sizes: tuple[int, ...]) -> int:
    """Return the number of channels of the CNN branch."""
    return num_filters * len(filter_sizes)


def lstm_width(hidden_dim: int, bidirectional: bool) -> int:
    """Return the number of outputs of the LSTM branch per time step."""
    return hidden_dim * (2 if bidirectional else 1)


def highway_width(input_dim: int) -> int:
    """Return the number of window summaries that the highway reads: a mean of each feature over each span."""
    return (len(HIGHWAY_SPANS) + 1) * input_dim


# Order matters: a parent precedes the parameters that depend on it.
PARAMETERS: dict[str, ParameterSpec] = {
    "cnn.num_filters": ParameterSpec("choice", Choices((32, 64, 128, 256)), low=1, high=4096),
    "cnn.filter_sizes": ParameterSpec("sizes", Choices(("3-5-7", "3-5-7-11")), low=1, high=255),
    "cnn.dropout": ParameterSpec("float", FloatRange(0.1, 0.5), low=0.0, high=0.95),
    "cnn.activation": ParameterSpec("choice", Choices(tuple(ACTIVATIONS)), options=tuple(ACTIVATIONS)),
    "cnn.residual": ParameterSpec("flag", FLAG),
    "cnn.attention": ParameterSpec("flag", FLAG),
    "cnn.attention_heads": ParameterSpec(
        "choice",
        Choices((2, 4, 8)),
        low=1,
        high=64,
        when={"cnn.attention": (True,)},
        divides=Width(("cnn.num_filters", "cnn.filter_sizes"), cnn_width),
    ),
    "lstm.hidden_dim": ParameterSpec("choice", Choices((64, 128, 256, 512, 1024)), low=1, high=8192),
    "lstm.num_layers": ParameterSpec("int", IntRange(1, 4), low=1, high=MAX_LAYERS),
    "lstm.dropout": ParameterSpec("float", FloatRange(0.1, 0.5), low=0.0, high=0.95),
    "lstm.bidirectional": ParameterSpec("flag", FLAG),
    "lstm.attention": ParameterSpec("flag", FLAG),
    "lstm.attention_heads": ParameterSpec(
        "choice",
        Choices((2, 4, 8)),
        low=1,
        high=64,
        when={"lstm.attention": (True,)},
        divides=Width(("lstm.hidden_dim", "lstm.bidirectional"), lstm_width),
    ),
    "lstm.skip_connections": ParameterSpec(
        "flag", FLAG, when={"lstm.num_layers": tuple(range(2, MAX_LAYERS + 1))}, unused=False
    ),
    **FUSION_PARAMETERS,
    "highway.enabled": ParameterSpec("flag", Fixed(False), earlier=False),
    "highway.init": ParameterSpec(
        "choice",
        Fixed("linear"),
        options=("random", "linear"),
        when={"highway.enabled": (True,)},
        earlier="linear",
    ),
}


@dataclass(frozen=True)
class CnnConfig:
    """Configuration of the convolutional branch; the branch has no self-attention if ``attention_heads`` is None."""

    num_filters: int
    filter_sizes: tuple[int, ...]
    dropout: float
    activation: str
    residual: bool
    attention_heads: int | None

    @property
    def width(self) -> int:
        """Number of channels of the branch's sequence."""
        return cnn_width(self.num_filters, self.filter_sizes)

    @property
    def shape(self) -> BranchShape:
        """Widths of the branch's sequence and summary. The summary consists of two vectors, see :class:`.ConvBranch`."""
        return BranchShape(self.width, 2 * self.width)


@dataclass(frozen=True)
class LstmConfig:
    """Configuration of the recurrent branch; if ``attention_heads`` is None, the last state replaces attention pooling."""

    hidden_dim: int
    num_layers: int
    dropout: float
    bidirectional: bool
    attention_heads: int | None
    skip_connections: bool

    @property
    def directions(self) -> int:
        """Number of directions of the LSTM: 2 if it is bidirectional, else 1."""
        return self.width // self.hidden_dim

    @property
    def width(self) -> int:
        """Number of features per time step of the branch's sequence."""
        return lstm_width(self.hidden_dim, self.bidirectional)

    @property
    def shape(self) -> BranchShape:
        """Widths of the branch's sequence and summary."""
        return BranchShape(self.width, self.width)


def read_cnn(params: Params) -> CnnConfig:
    """Return the configuration of the convolutional branch from the parameters of a full configuration."""
    return read_group(CnnConfig, "cnn", params, PARAMETERS)


def read_lstm(params: Params) -> LstmConfig:
    """Return the configuration of the recurrent branch from the parameters of a full configuration."""
    return read_group(LstmConfig, "lstm", params, PARAMETERS)


def read_fusion(params: Params) -> Fusion:
    """Return the fusion from the parameters of a full configuration."""
    return read_group(FUSIONS[value_of("fusion.method", params, PARAMETERS)], "fusion", params, PARAMETERS)


def read_highway(params: Params) -> str | None:
    """Return how the highway's weights are initialised, ``random`` or ``linear``; None: the network has no highway."""
    highway: str | None = value_of("highway.init", params, PARAMETERS)
    return highway
