"""Cost of the two branches, computed from their configurations. Each fusion class computes the cost of its fusion."""

from cnn_lstm_hyperopt.models.cnn_lstm.params import CnnConfig, LstmConfig, highway_width
from cnn_lstm_hyperopt.models.cost import Profile, attention, linear


def cnn_cost(input_dim: int, config: CnnConfig, steps: int) -> Profile:
    """Return the cost of the convolutional branch on a window of ``steps`` bars."""
    width = config.width
    total = Profile(parameters=2 * width, sequence_elements=4 * steps * width)  # convolution, norm, activation, dropout
    for size in config.filter_sizes:
        total += linear(input_dim * size, config.num_filters, times=steps, narrow=True)
    if config.residual:
        total += linear(input_dim, width, times=steps, narrow=True) + Profile(sequence_elements=steps * width)
    if config.attention_heads:
        total += Profile(parameters=2 * width, sequence_elements=3 * steps * width)  # norm, attended, projected
        total += linear(width, width, times=steps)
        total += attention(width, width, width, queries=steps, steps=steps, heads=config.attention_heads)
    return total


def lstm_cost(input_dim: int, config: LstmConfig, steps: int) -> Profile:
    """Return the cost of the recurrent branch on a window of ``steps`` bars."""
    total = Profile()
    hidden, directions = config.hidden_dim, config.directions
    for layer in range(config.num_layers):
        inputs = input_dim if layer == 0 else config.width
        weights = 4 * hidden * (inputs + hidden)  # four network gates
        multiply_adds = directions * weights * steps
        total += Profile(
            parameters=directions * (weights + 8 * hidden),
            multiply_adds=multiply_adds,
            recurrent_multiply_adds=multiply_adds,
            recurrent_reads=directions * 4 * hidden * hidden * steps,
            recurrent_states=config.width * steps,
        )
    if config.attention_heads:
        total += linear(config.width, config.attention_heads, times=steps, bias=False)
        total += Profile(multiply_adds=config.width * steps, sequence_elements=config.width * steps)
    return total


def highway_cost(input_dim: int, outputs: int) -> Profile:
    """Return the cost of the linear highway to ``outputs`` outputs of the heads. The means have no multiply-adds."""
    return linear(highway_width(input_dim), outputs, bias=False)
