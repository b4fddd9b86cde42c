"""Size and arithmetic of a network from its configuration alone, in microseconds, without building it."""

from dataclasses import dataclass

from cnn_lstm_hyperopt.models.cnn_lstm.config import CnnConfig, FusionConfig, LstmConfig, NetworkConfig

BYTES_PER_PARAMETER = 4  # float32


@dataclass(frozen=True)
class Profile:
    """What a network costs; all but ``parameters`` of one window's forward pass.

    Kinds of arithmetic are counted apart because a machine does them at different speeds.

    Attributes:
        parameters: how many numbers are learnt; the networks have no buffers.
        multiply_adds: in matrix products and convolutions (norms and activations left out), the next two included.
        recurrent_multiply_adds: those of the LSTM's layers.
        narrow_multiply_adds: those over the few input features, which fill no vector unit.
        recurrent_reads: weights that the LSTM's layers read anew at every time step, whatever the batch.
        recurrent_states: numbers in the LSTM's hidden states, over all time steps.
        sequence_elements: numbers in the other sequences that backward keeps, dropout and norms between them included.
        attention_scores: queries × keys × heads.
    """

    parameters: int = 0
    multiply_adds: int = 0
    recurrent_multiply_adds: int = 0
    narrow_multiply_adds: int = 0
    recurrent_reads: int = 0
    recurrent_states: int = 0
    sequence_elements: int = 0
    attention_scores: int = 0

    @property
    def size_mb(self) -> float:
        """Bytes of the parameters as stored / 10^6."""
        return self.parameters * BYTES_PER_PARAMETER / 1e6

    def __add__(self, other: "Profile") -> "Profile":
        return Profile(
            self.parameters + other.parameters,
            self.multiply_adds + other.multiply_adds,
            self.recurrent_multiply_adds + other.recurrent_multiply_adds,
            self.narrow_multiply_adds + other.narrow_multiply_adds,
            self.recurrent_reads + other.recurrent_reads,
            self.recurrent_states + other.recurrent_states,
            self.sequence_elements + other.sequence_elements,
            self.attention_scores + other.attention_scores,
        )


def profile(config: NetworkConfig, *, lookback: int) -> Profile:
    """Parameters and arithmetic of a network that reads windows of ``lookback`` bars."""
    heads = _linear(config.fusion.dim, config.n_classes)
    if config.has_regression:
        heads += _linear(config.fusion.dim, 1)
    return (
        _cnn(config.input_dim, config.cnn, lookback)
        + _lstm(config.input_dim, config.lstm, lookback)
        + _fusion(config.cnn, config.lstm, config.fusion, lookback)
        + heads
    )


def _linear(inputs: int, outputs: int, *, times: int = 1, bias: bool = True, narrow: bool = False) -> Profile:
    """A linear layer that is applied ``times`` times a window."""
    multiply_adds = inputs * outputs * times
    return Profile((inputs + bias) * outputs, multiply_adds, narrow_multiply_adds=multiply_adds if narrow else 0)


def _attention(query_dim: int, source_dim: int, width: int, *, queries: int, steps: int, heads: int) -> Profile:
    projections = (
        _linear(query_dim, width, times=queries)
        + _linear(source_dim, width, times=steps, bias=False)
        + _linear(source_dim, width, times=steps)
    )
    products = 2 * queries * steps * width  # scores, then the weighted sum
    elements = (queries + 2 * steps) * width  # queries, keys and values
    return projections + Profile(
        multiply_adds=products, sequence_elements=elements, attention_scores=queries * steps * heads
    )


def _cnn(input_dim: int, config: CnnConfig, steps: int) -> Profile:
    width = config.width
    total = Profile(parameters=2 * width, sequence_elements=4 * steps * width)  # convolution, norm, activation, dropout
    for size in config.filter_sizes:
        total += _linear(input_dim * size, config.num_filters, times=steps, narrow=True)
    if config.residual:
        total += _linear(input_dim, width, times=steps, narrow=True) + Profile(sequence_elements=steps * width)
    if config.attention_heads:
        total += Profile(parameters=2 * width, sequence_elements=3 * steps * width)  # norm, attended, projected
        total += _linear(width, width, times=steps)
        total += _attention(width, width, width, queries=steps, steps=steps, heads=config.attention_heads)
    return total


def _lstm(input_dim: int, config: LstmConfig, steps: int) -> Profile:
    total = Profile()
    hidden, directions = config.hidden_dim, config.directions
    for layer in range(config.num_layers):
        inputs = input_dim if layer == 0 else config.width
        weights = 4 * hidden * (inputs + hidden)  # four gates
        multiply_adds = directions * weights * steps
        total += Profile(
            parameters=directions * (weights + 8 * hidden),
            multiply_adds=multiply_adds,
            recurrent_multiply_adds=multiply_adds,
            recurrent_reads=directions * 4 * hidden * hidden * steps,
            recurrent_states=config.width * steps,
        )
    if config.attention_heads:
        total += _linear(config.width, config.attention_heads, times=steps, bias=False)
        total += Profile(multiply_adds=config.width * steps, sequence_elements=config.width * steps)
    return total


def _fusion(cnn: CnnConfig, lstm: LstmConfig, config: FusionConfig, steps: int) -> Profile:
    cnn_summary, lstm_summary, dim = 2 * cnn.width, lstm.width, config.dim
    if config.method == "concatenation":
        return _linear(cnn_summary + lstm_summary, dim)
    if config.method == "attention":
        heads = config.attention_heads or 1
        return (
            _attention(cnn_summary, lstm.width, dim, queries=1, steps=steps, heads=heads)
            + _attention(lstm_summary, cnn.width, dim, queries=1, steps=steps, heads=heads)
            + _linear(2 * dim, dim)
        )
    branches = _linear(cnn_summary, dim) + _linear(lstm_summary, dim)
    if config.method == "gated":
        return branches + _linear(cnn_summary + lstm_summary, dim)
    if config.method == "bilinear":
        return branches + _linear(dim, dim)
    raise ValueError(f"fusion.method={config.method!r} has no profile")
