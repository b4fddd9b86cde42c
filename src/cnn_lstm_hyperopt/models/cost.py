"""Size and number of operations of layers, computed from their dimensions. A family adds up the costs of its layers."""

import operator
from dataclasses import dataclass

BYTES_PER_PARAMETER = 4  # float32
STEPS_OF_A_POOL, SQUEEZE = 2, 4
KERNEL_SIZE, KERNELS_OF_A_GROUP, MAX_CHANNELS = 9, 8, 8
"""Length of a random kernel, kernels in a group, and maximum number of channels that a group reads: the defaults of HYDRA."""
KERNEL_ELEMENTS, KERNEL_LAYERS = 6, 3
"""Elements of sequences per response of a random kernel, and operations on sequences per dilation and form of the window."""


def pooled_steps(steps: int) -> int:
    """Return the number of steps after downsampling: half of ``steps``, rounded up. A sequence of one step stays one step."""
    return -(-steps // STEPS_OF_A_POOL)


def squeezed_width(width: int) -> int:
    """Return the hidden units of :class:`.SqueezeExcite`: a quarter of the channels.

    The paper's sixteenth would be below 1 for small networks.
    """
    return max(1, width // SQUEEZE)


def kernel_dilations(lookback: int) -> tuple[int, ...]:
    """Return the dilations of random kernels: powers of 2 up to the largest with which a kernel fits into the window."""
    dilations = [1]
    while 2 * dilations[-1] * (KERNEL_SIZE - 1) < lookback:
        dilations.append(2 * dilations[-1])
    return tuple(dilations)


def kernel_features(lookback: int, groups: int) -> int:
    """Return the number of features of random kernels: two for each kernel, dilation and form of the window."""
    return 2 * 2 * len(kernel_dilations(lookback)) * groups * KERNELS_OF_A_GROUP


def channels_of_a_group(input_dim: int) -> int:
    """Return the number of channels whose sum a group of random kernels reads: half of all, at most 8."""
    return max(1, min(MAX_CHANNELS, input_dim // 2))


@dataclass(frozen=True)
class Profile:
    """Cost of a network. All attributes except ``parameters`` are counts for the forward pass of one window.

    Different kinds of operations are counted separately, because a machine performs them at different speeds.

    Attributes:
        parameters: number of learned parameters.
        multiply_adds: multiply-adds in all matrix products and convolutions, including the recurrent and the narrow
            multiply-adds, without norms and activations.
        recurrent_multiply_adds: multiply-adds of the LSTM layers.
        narrow_multiply_adds: multiply-adds over the input features, which are too few to fill a vector unit.
        recurrent_reads: number of weights that the LSTM layers read, counted again at every time step. The number does not depend
            on the batch size.
        recurrent_states: number of elements of the LSTM's hidden states over all time steps.
        sequence_elements: number of elements of all other sequences that are stored for the backward pass, including the
            sequences of dropout and norms.
        attention_scores: number of attention scores: queries × keys × heads.
        buffers: number of stored numbers that are not learned: the statistics of batch normalisation.
        layers: number of layers and of other operations on sequences. Each has a fixed cost per training step, which dominates in
            small networks.
        gru_steps: number of steps of all GRU layers. PyTorch has no fused kernel for them on a CPU.
    """

    parameters: int = 0
    multiply_adds: int = 0
    recurrent_multiply_adds: int = 0
    narrow_multiply_adds: int = 0
    recurrent_reads: int = 0
    recurrent_states: int = 0
    sequence_elements: int = 0
    attention_scores: int = 0
    buffers: int = 0
    layers: int = 0
    gru_steps: int = 0

    @property
    def size_mb(self) -> float:
        """Size of the stored parameters and buffers in MB (10^6 bytes)."""
        return (self.parameters + self.buffers) * BYTES_PER_PARAMETER / 1e6

    def __add__(self, other: "Profile") -> "Profile":
        total = object.__new__(
            Profile
        )  # without __init__, which takes most of the time of a sampler's cost predictions
        mine, its = vars(self), vars(other)
        vars(total).update(zip(mine, map(operator.add, mine.values(), its.values()), strict=True))
        return total


def linear(inputs: int, outputs: int, *, times: int = 1, bias: bool = True, narrow: bool = False) -> Profile:
    """Return the cost of a linear layer that is applied ``times`` times per window. ``narrow`` if its inputs are the features."""
    multiply_adds = inputs * outputs * times
    narrow_adds = multiply_adds if narrow else 0
    return Profile((inputs + bias) * outputs, multiply_adds, narrow_multiply_adds=narrow_adds, layers=1)


def convolution(inputs: int, outputs: int, size: int, *, steps: int, narrow: bool) -> Profile:
    """Return the cost of a convolution without bias over ``steps`` steps. ``narrow`` if its inputs are the features."""
    return linear(inputs * size, outputs, times=steps, bias=False, narrow=narrow)


def random_kernels(lookback: int, groups: int) -> Profile:
    """Return the operations of :class:`.RandomKernels` per window. Its buffers are part of :func:`kernel_map`."""
    forms, kernels = 2 * len(kernel_dilations(lookback)), groups * KERNELS_OF_A_GROUP
    multiply_adds = KERNEL_SIZE * kernels * lookback * forms
    elements = KERNEL_ELEMENTS * forms * kernels * lookback
    return Profile(
        multiply_adds=multiply_adds,
        narrow_multiply_adds=multiply_adds,
        sequence_elements=elements,
        layers=KERNEL_LAYERS * forms,
    )


def kernel_map(input_dim: int, lookback: int, groups: int, outputs: int) -> Profile:
    """Return the cost of a normalisation and a linear map of the features of random kernels, with the buffers of the kernels."""
    forms, kernels = 2 * len(kernel_dilations(lookback)), groups * KERNELS_OF_A_GROUP
    features = kernel_features(lookback, groups)
    return linear(features, outputs, bias=False) + Profile(
        sequence_elements=2 * features,
        buffers=forms * (kernels * KERNEL_SIZE + groups * input_dim) + 2 * features + 1,
        layers=2,
    )


def attention(query_dim: int, source_dim: int, width: int, *, queries: int, steps: int, heads: int) -> Profile:
    """Return the cost of a :class:`.MultiHeadAttention` of ``queries`` queries to a sequence of ``steps`` steps."""
    projections = (
        linear(query_dim, width, times=queries)
        + linear(source_dim, width, times=steps, bias=False)
        + linear(source_dim, width, times=steps)
    )
    products = 2 * queries * steps * width  # scores, then the weighted sum
    elements = (queries + 2 * steps) * width  # queries, keys and values
    return projections + Profile(
        multiply_adds=products, sequence_elements=elements, attention_scores=queries * steps * heads, layers=1
    )
