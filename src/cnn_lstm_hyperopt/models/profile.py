"""Size and arithmetic of a network from its configuration alone, in microseconds, without building it."""

from dataclasses import dataclass

from cnn_lstm_hyperopt.models.config import CnnConfig, FusionConfig, LstmConfig, NetworkConfig

BYTES_PER_PARAMETER = 4  # float32


@dataclass(frozen=True)
class Profile:
    """What a network costs.

    Attributes:
        parameters: how many numbers are learnt; the networks have no buffers.
        multiply_adds: of one window's forward pass, in matrix products and convolutions (norms and activations left out).
    """

    parameters: int
    multiply_adds: int

    @property
    def size_mb(self) -> float:
        """Bytes of the parameters as stored / 10^6."""
        return self.parameters * BYTES_PER_PARAMETER / 1e6

    def __add__(self, other: "Profile") -> "Profile":
        return Profile(self.parameters + other.parameters, self.multiply_adds + other.multiply_adds)


def profile(config: NetworkConfig, *, lookback: int) -> Profile:
    """Parameters and multiply-adds of a network that reads windows of ``lookback`` bars."""
    heads = _linear(config.fusion.dim, config.n_classes)
    if config.has_regression:
        heads += _linear(config.fusion.dim, 1)
    return (
        _cnn(config.input_dim, config.cnn, lookback)
        + _lstm(config.input_dim, config.lstm, lookback)
        + _fusion(config.cnn, config.lstm, config.fusion, lookback)
        + heads
    )


def _linear(inputs: int, outputs: int, *, times: int = 1, bias: bool = True) -> Profile:
    """A linear layer that is applied ``times`` times a window."""
    return Profile((inputs + bias) * outputs, inputs * outputs * times)


def _attention(query_dim: int, source_dim: int, width: int, *, queries: int, steps: int) -> Profile:
    projections = (
        _linear(query_dim, width, times=queries)
        + _linear(source_dim, width, times=steps, bias=False)
        + _linear(source_dim, width, times=steps)
    )
    return projections + Profile(0, 2 * queries * steps * width)  # scores, then the weighted sum


def _cnn(input_dim: int, config: CnnConfig, steps: int) -> Profile:
    width = config.width
    total = Profile(2 * width, 0)  # the norm's scale and shift
    for size in config.filter_sizes:
        total += _linear(input_dim * size, config.num_filters, times=steps)
    if config.residual:
        total += _linear(input_dim, width, times=steps)
    if config.attention_heads:
        total += Profile(2 * width, 0) + _linear(width, width, times=steps)
        total += _attention(width, width, width, queries=steps, steps=steps)
    return total


def _lstm(input_dim: int, config: LstmConfig, steps: int) -> Profile:
    total = Profile(0, 0)
    hidden = config.hidden_dim
    for layer in range(config.num_layers):
        inputs = input_dim if layer == 0 else config.width
        weights = 4 * hidden * (inputs + hidden)  # four gates
        total += Profile(config.directions * (weights + 8 * hidden), config.directions * weights * steps)
    if config.attention_heads:
        total += _linear(config.width, config.attention_heads, times=steps, bias=False)
        total += Profile(0, config.width * steps)
    return total


def _fusion(cnn: CnnConfig, lstm: LstmConfig, config: FusionConfig, steps: int) -> Profile:
    cnn_summary, lstm_summary, dim = 2 * cnn.width, lstm.width, config.dim
    if config.method == "concatenation":
        return _linear(cnn_summary + lstm_summary, dim)
    if config.method == "attention":
        return (
            _attention(cnn_summary, lstm.width, dim, queries=1, steps=steps)
            + _attention(lstm_summary, cnn.width, dim, queries=1, steps=steps)
            + _linear(2 * dim, dim)
        )
    branches = _linear(cnn_summary, dim) + _linear(lstm_summary, dim)
    if config.method == "gated":
        return branches + _linear(cnn_summary + lstm_summary, dim)
    if config.method == "bilinear":
        return branches + _linear(dim, dim)
    raise ValueError(f"fusion.method={config.method!r} has no profile")
