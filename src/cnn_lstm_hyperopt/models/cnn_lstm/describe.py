"""Descriptions of CNN+LSTM networks for model cards and tables."""

from cnn_lstm_hyperopt.models.cnn_lstm.fusions.base import Fusion
from cnn_lstm_hyperopt.models.cnn_lstm.params import CnnConfig, LstmConfig


def sentence(cnn: CnnConfig, lstm: LstmConfig, fusion: Fusion, highway: str | None = None) -> str:
    """Return a phrase that describes a network."""
    sizes = ", ".join(map(str, cnn.filter_sizes))
    branch = f"convolutions over {sizes} bars ({cnn.num_filters} filters each, {cnn.activation}"
    branch += ", shortcut" if cnn.residual else ""
    branch += f", self-attention with {cnn.attention_heads} heads)" if cnn.attention_heads else ")"
    layers = f"{lstm.num_layers} {'bidirectional ' if lstm.bidirectional else ''}LSTM layer{'s' if lstm.num_layers > 1 else ''}"
    pooled = f"attention pooling with {lstm.attention_heads} heads" if lstm.attention_heads else "the last state"
    skips = ", skip connections" if lstm.skip_connections else ""
    joined = f"joined by {fusion.method} of width {fusion.dim}"
    joined += ", plus a linear model of window means" if highway else ""
    return f"{branch} and {layers} of {lstm.hidden_dim} units ({pooled}{skips}), {joined}"


def columns(cnn: CnnConfig, lstm: LstmConfig, fusion: Fusion) -> dict[str, str]:
    """Return short texts that describe a network in a table, by column header."""
    both_ways = " bidirectional" if lstm.bidirectional else ""
    return {
        "filters": f"{cnn.num_filters} × {'-'.join(map(str, cnn.filter_sizes))}",
        "LSTM": f"{lstm.hidden_dim} × {lstm.num_layers}{both_ways}",
        "fusion": f"{fusion.method} {fusion.dim}",
    }
