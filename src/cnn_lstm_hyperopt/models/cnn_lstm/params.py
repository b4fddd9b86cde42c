"""Parameters of the CNN+LSTM family, and typed configurations of the branches and the fusion."""

from dataclasses import dataclass
from typing import Any

from cnn_lstm_hyperopt.models.cnn_lstm.blocks import BLOCKS, PARALLEL
from cnn_lstm_hyperopt.models.cnn_lstm.blocks.base import Block
from cnn_lstm_hyperopt.models.cnn_lstm.branch import BranchShape
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSION_PARAMETERS, FUSIONS
from cnn_lstm_hyperopt.models.cnn_lstm.fusions.base import Fusion
from cnn_lstm_hyperopt.models.cost import pooled_steps
from cnn_lstm_hyperopt.models.layers.activations import ACTIVATIONS
from cnn_lstm_hyperopt.space.domains import Choices, Domain, Fixed, FloatRange, IntRange, Scalar
from cnn_lstm_hyperopt.space.parameters import FLAG, Kind, ParameterSpec, Params, Width, read_group, value_of

MAX_LAYERS, MAX_BLOCKS = 16, 8
HIGHWAY_SPANS = (1, 5, 22)
"""Numbers of last bars over which the highway takes means, in addition to the mean over the whole window."""
NORMS = ("batch", "layer", "group")
CELLS = ("lstm", "gru")
WINDOW, CNN, TRANSPOSED = "window", "cnn", "transposed"
"""Values of ``lstm.input``: the window, the sequence of the CNN branch, or the window with time and features exchanged."""
_STACKED = {"cnn.block": tuple(BLOCKS)}
"""Condition of the parameters of stacked blocks."""


def cnn_width(block: str, num_filters: int, filter_sizes: tuple[int, ...]) -> int:
    """Return the number of channels of the CNN branch."""
    if block == PARALLEL:
        return num_filters * len(filter_sizes)
    return BLOCKS[block](num_filters, filter_sizes).width


def lstm_width(hidden_dim: int, bidirectional: bool) -> int:
    """Return the number of outputs of the LSTM branch per time step."""
    return hidden_dim * (2 if bidirectional else 1)


def highway_width(input_dim: int) -> int:
    """Return the number of window summaries that the highway reads: a mean of each feature over each span."""
    return (len(HIGHWAY_SPANS) + 1) * input_dim


def _named(options: tuple[str, ...], **facts: Any) -> ParameterSpec:
    """Return a parameter with named values, which the architecture ``classic`` fixes to the first value."""
    return _new("choice", options[0], Choices(options), options=options, **facts)


def _new(kind: Kind, classic: Scalar, full: Domain, **facts: Any) -> ParameterSpec:
    """Return a parameter that the architecture ``classic`` fixes to the value ``classic``; earlier versions lack it."""
    return ParameterSpec(kind, Fixed(classic), full=full, earlier=classic, **facts)


# Order matters: a parent precedes the parameters that depend on it.
PARAMETERS: dict[str, ParameterSpec] = {
    "cnn.block": _named((PARALLEL, *BLOCKS)),
    "cnn.num_filters": ParameterSpec(
        "choice", Choices((32, 64, 128, 256)), low=1, high=4096, full=Choices((8, 16, 32, 64, 128, 256))
    ),
    "cnn.filter_sizes": ParameterSpec(
        "sizes", Choices(("3-5-7", "3-5-7-11")), low=1, high=255, full=Choices(("3-5-7", "3-5-7-11", "9-19-39"))
    ),
    "cnn.dropout": ParameterSpec("float", FloatRange(0.1, 0.5), low=0.0, high=0.95, full=FloatRange(0.0, 0.5)),
    "cnn.activation": ParameterSpec("choice", Choices(tuple(ACTIVATIONS)), options=tuple(ACTIVATIONS)),
    "cnn.residual": ParameterSpec("flag", FLAG),
    "cnn.attention": ParameterSpec("flag", FLAG),
    "cnn.attention_heads": ParameterSpec(
        "choice",
        Choices((2, 4, 8)),
        low=1,
        high=64,
        when={"cnn.attention": (True,)},
        divides=Width(("cnn.block", "cnn.num_filters", "cnn.filter_sizes"), cnn_width),
    ),
    "cnn.blocks": _new("int", 3, IntRange(1, 4), low=1, high=MAX_BLOCKS, when=_STACKED, unused=1),
    "cnn.dilation_growth": _new("choice", 1, Choices((1, 2)), low=1, high=4, when=_STACKED, unused=1),
    "cnn.norm": _named(NORMS, when=_STACKED, unused="layer"),
    "cnn.squeeze_excite": _new("flag", False, FLAG, when=_STACKED, unused=False),
    "cnn.downsampling": _named(("none", "max", "mean"), when=_STACKED, unused="none"),
    "cnn.summary": _named(("mean", "max", "mean_last", "attention"), when=_STACKED, unused="mean_last"),
    "lstm.hidden_dim": ParameterSpec(
        "choice", Choices((64, 128, 256, 512, 1024)), low=1, high=8192, full=Choices((8, 16, 32, 64, 128, 256))
    ),
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
    "lstm.cell": _named(CELLS),
    "lstm.input": _named((WINDOW, CNN, TRANSPOSED)),
    "lstm.summary": _named(("last", "mean", "max"), when={"lstm.attention": (False,)}, unused="last"),
    **FUSION_PARAMETERS,
    "highway.enabled": ParameterSpec("flag", Fixed(True), earlier=False),
    "highway.init": ParameterSpec(
        "choice",
        Fixed("random"),
        options=("random", "linear"),
        when={"highway.enabled": (True,)},
        earlier="linear",
    ),
    "highway.kernel_groups": _new(
        "choice", 0, Choices((0, 4, 16)), low=0, high=256, when={"highway.enabled": (True,)}, unused=0
    ),
}


@dataclass(frozen=True)
class CnnConfig:
    """Configuration of the convolutional branch; the branch has no self-attention if ``attention_heads`` is None.

    The parameters after ``attention_heads`` have an effect only on stacked blocks.
    """

    num_filters: int
    filter_sizes: tuple[int, ...]
    dropout: float
    activation: str
    residual: bool
    attention_heads: int | None
    block: str = PARALLEL
    blocks: int = 1
    dilation_growth: int = 1
    norm: str = "layer"
    squeeze_excite: bool = False
    downsampling: str = "none"
    summary: str = "mean_last"

    @property
    def width(self) -> int:
        """Number of channels of the branch's sequence."""
        return cnn_width(self.block, self.num_filters, self.filter_sizes)

    @property
    def shape(self) -> BranchShape:
        """Widths of the branch's sequence and summary. The summary ``mean_last`` consists of two vectors."""
        return BranchShape(self.width, self.width * (2 if self.summary == "mean_last" else 1))

    def stack(self) -> list[Block]:
        """Return the stacked blocks; empty for the branch of parallel filters. The dilation grows from block to block."""
        if self.block == PARALLEL:
            return []
        kind = BLOCKS[self.block]
        return [
            kind(self.num_filters, self.filter_sizes, position, self.dilation_growth**position)
            for position in range(self.blocks)
        ]

    def steps(self, lookback: int) -> int:
        """Return the number of steps of the branch's sequence for a window of ``lookback`` bars."""
        steps = lookback
        for _ in self.stack() if self.downsampling != "none" else ():
            steps = pooled_steps(steps)
        return steps


@dataclass(frozen=True)
class LstmConfig:
    """Configuration of the recurrent branch; if ``attention_heads`` is None, ``summary`` replaces attention pooling."""

    hidden_dim: int
    num_layers: int
    dropout: float
    bidirectional: bool
    attention_heads: int | None
    skip_connections: bool
    cell: str = CELLS[0]
    input: str = WINDOW
    summary: str = "last"

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


def read_kernel_groups(params: Params) -> int:
    """Return the number of groups of random kernels for each dilation; 0: the network has none."""
    return int(value_of("highway.kernel_groups", params, PARAMETERS))
