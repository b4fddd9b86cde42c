"""Cost of the two branches, computed from their configurations. Each fusion or block class computes the cost of its part."""

from cnn_lstm_hyperopt.models.cnn_lstm.blocks import PARALLEL
from cnn_lstm_hyperopt.models.cnn_lstm.blocks.base import Block
from cnn_lstm_hyperopt.models.cnn_lstm.params import CNN, TRANSPOSED, CnnConfig, LstmConfig, highway_width
from cnn_lstm_hyperopt.models.cost import Profile, attention, linear, pooled_steps, squeezed_width

MATRICES = {"lstm": 4, "gru": 3}
"""Number of matrices of a recurrent layer that have as many rows as hidden units, by cell."""


def cnn_cost(input_dim: int, config: CnnConfig, lookback: int) -> Profile:
    """Return the cost of the convolutional branch on a window of ``lookback`` bars."""
    total = _parallel_cost(input_dim, config, lookback) if config.block == PARALLEL else Profile()
    inputs, steps = input_dim, lookback
    for block in config.stack():
        total += _block_cost(inputs, block, config, steps)
        inputs = block.width
        if config.downsampling != "none":
            total += Profile(sequence_elements=inputs * steps, layers=2)
            steps = pooled_steps(steps)
    width = config.width
    if config.block != PARALLEL:
        total += Profile(sequence_elements=steps * width)  # dropout
    if config.attention_heads:
        total += Profile(parameters=2 * width, sequence_elements=3 * steps * width)  # norm, attended, projected
        total += linear(width, width, times=steps)
        total += attention(width, width, width, queries=steps, steps=steps, heads=config.attention_heads)
    if config.summary == "attention":
        total += _attention_pooling(width, 1, steps)
    return total


def _block_cost(inputs: int, block: Block, config: CnnConfig, steps: int) -> Profile:
    """Return the cost of a :class:`.StackedBlock` on ``inputs`` channels of ``steps`` steps, without downsampling."""
    width, narrow = block.width, block.position == 0
    total = block.cost(inputs, steps)
    total += Profile(
        parameters=2 * width, sequence_elements=3 * steps * width, layers=2
    )  # convolution, norm, activation
    if config.norm == "batch":
        total += Profile(buffers=2 * width + 1)
    if config.squeeze_excite:
        hidden = squeezed_width(width)
        total += linear(width, hidden) + linear(hidden, width) + Profile(sequence_elements=steps * width, layers=2)
    if config.residual:
        total += Profile(sequence_elements=steps * width, layers=1)
        if inputs != width:
            total += linear(inputs, width, times=steps, narrow=narrow)
    return total


def _attention_pooling(width: int, heads: int, steps: int) -> Profile:
    scores = linear(width, heads, times=steps, bias=False)
    return scores + Profile(multiply_adds=width * steps, sequence_elements=width * steps)


def _parallel_cost(input_dim: int, config: CnnConfig, steps: int) -> Profile:
    """Return the cost of parallel filters, before self-attention."""
    width = config.width
    total = Profile(parameters=2 * width, sequence_elements=4 * steps * width)  # convolution, norm, activation, dropout
    for size in config.filter_sizes:
        total += linear(input_dim * size, config.num_filters, times=steps, narrow=True)
    if config.residual:
        total += linear(input_dim, width, times=steps, narrow=True) + Profile(sequence_elements=steps * width)
    return total


def lstm_inputs(input_dim: int, cnn: CnnConfig, lstm: LstmConfig, lookback: int) -> tuple[int, int]:
    """Return the number of steps that the recurrent branch reads, and the number of inputs of a step."""
    if lstm.input == TRANSPOSED:
        return input_dim, lookback
    return (cnn.steps(lookback), cnn.width) if lstm.input == CNN else (lookback, input_dim)


def lstm_cost(input_dim: int, config: LstmConfig, steps: int) -> Profile:
    """Return the cost of the recurrent branch on a sequence of ``steps`` steps with ``input_dim`` inputs."""
    total = Profile()
    hidden, directions, matrices = config.hidden_dim, config.directions, MATRICES[config.cell]
    for layer in range(config.num_layers):
        inputs = input_dim if layer == 0 else config.width
        weights = matrices * hidden * (inputs + hidden)
        multiply_adds = directions * weights * steps
        total += Profile(
            parameters=directions * (weights + 2 * matrices * hidden),  # two biases of each matrix
            multiply_adds=multiply_adds,
            recurrent_multiply_adds=multiply_adds,
            recurrent_reads=directions * matrices * hidden * hidden * steps,
            recurrent_states=config.width * steps,
            layers=directions,
            gru_steps=directions * steps if config.cell == "gru" else 0,
        )
    if config.attention_heads:
        total += _attention_pooling(config.width, config.attention_heads, steps)
    return total


def highway_cost(input_dim: int, outputs: int) -> Profile:
    """Return the cost of the linear highway to ``outputs`` outputs of the heads. The means have no multiply-adds."""
    return linear(highway_width(input_dim), outputs, bias=False)
