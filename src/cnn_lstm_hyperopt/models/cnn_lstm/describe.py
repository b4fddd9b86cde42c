"""Descriptions of CNN+LSTM networks for model cards and tables."""

from cnn_lstm_hyperopt.models.cnn_lstm.blocks import PARALLEL
from cnn_lstm_hyperopt.models.cnn_lstm.fusions.base import Fusion
from cnn_lstm_hyperopt.models.cnn_lstm.params import CNN, TRANSPOSED, WINDOW, CnnConfig, LstmConfig

_READS = {
    WINDOW: "",
    CNN: " over the sequence of the convolutions",
    TRANSPOSED: " over the transposed window",
}
_STATES = {"last": "the last state", "mean": "the mean state", "max": "the maximum of each unit"}


def sentence(cnn: CnnConfig, lstm: LstmConfig, fusion: Fusion, highway: str | None = None, groups: int = 0) -> str:
    """Return a phrase that describes a network."""
    branch = _parallel(cnn) if cnn.block == PARALLEL else _stacked(cnn)
    branch += f", self-attention with {cnn.attention_heads} heads)" if cnn.attention_heads else ")"
    kind = f"{'bidirectional ' if lstm.bidirectional else ''}{lstm.cell.upper()}"
    layers = f"{lstm.num_layers} {kind} layer{'s' if lstm.num_layers > 1 else ''}"
    pooled = f"attention pooling with {lstm.attention_heads} heads" if lstm.attention_heads else _STATES[lstm.summary]
    skips = ", skip connections" if lstm.skip_connections else ""
    recurrent = f"{layers} of {lstm.hidden_dim} units{_READS[lstm.input]} ({pooled}{skips})"
    joined = f"joined by {fusion.method} of width {fusion.dim}"
    joined += ", plus a linear model of window means" if highway else ""
    joined += f", plus a linear model of random kernels ({groups} groups for each dilation)" if groups else ""
    return f"{branch} and {recurrent}, {joined}"


def _parallel(cnn: CnnConfig) -> str:
    sizes = ", ".join(map(str, cnn.filter_sizes))
    shortcut = ", shortcut" if cnn.residual else ""
    return f"convolutions over {sizes} bars ({cnn.num_filters} filters each, {cnn.activation}{shortcut}"


def _stacked(cnn: CnnConfig) -> str:
    facts = [
        f"{cnn.num_filters} filters",
        f"sizes {', '.join(map(str, cnn.filter_sizes))}",
        f"{cnn.norm} norm",
        cnn.activation,
        *([f"dilation × {cnn.dilation_growth} a block"] if cnn.dilation_growth > 1 and cnn.blocks > 1 else []),
        *(["squeeze-and-excite"] if cnn.squeeze_excite else []),
        *(["shortcuts"] if cnn.residual else []),
        *([f"{cnn.downsampling} pooling after each block"] if cnn.downsampling != "none" else []),
        f"summary: {cnn.summary.replace('_', ' and ')}",
    ]
    blocks = f"{cnn.blocks} {cnn.block} block{'s' if cnn.blocks > 1 else ''}"
    return f"{blocks} ({', '.join(facts)}"


def columns(cnn: CnnConfig, lstm: LstmConfig, fusion: Fusion) -> dict[str, str]:
    """Return short texts that describe a network in a table, by column header."""
    blocks = "" if cnn.block == PARALLEL else f"{cnn.block} {cnn.blocks} × "
    reads = "" if lstm.input == WINDOW else f" ({lstm.input})"
    cell = "" if lstm.cell == "lstm" else f"{lstm.cell} "
    both_ways = " bidirectional" if lstm.bidirectional else ""
    return {
        "filters": f"{blocks}{cnn.num_filters} × {'-'.join(map(str, cnn.filter_sizes))}",
        "LSTM": f"{cell}{lstm.hidden_dim} × {lstm.num_layers}{both_ways}{reads}",
        "fusion": f"{fusion.method} {fusion.dim}",
    }
