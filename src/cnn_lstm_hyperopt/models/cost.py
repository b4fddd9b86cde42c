"""Size and arithmetic of layers by their dimensions alone; a family adds up those of its networks."""

from dataclasses import dataclass

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
        return Profile(*(mine + its for mine, its in zip(vars(self).values(), vars(other).values(), strict=True)))


def linear(inputs: int, outputs: int, *, times: int = 1, bias: bool = True, narrow: bool = False) -> Profile:
    """A linear layer that is applied ``times`` times a window; ``narrow``: to the few input features."""
    multiply_adds = inputs * outputs * times
    return Profile((inputs + bias) * outputs, multiply_adds, narrow_multiply_adds=multiply_adds if narrow else 0)


def attention(query_dim: int, source_dim: int, width: int, *, queries: int, steps: int, heads: int) -> Profile:
    """A :class:`.MultiHeadAttention` of ``queries`` to ``steps``."""
    projections = (
        linear(query_dim, width, times=queries)
        + linear(source_dim, width, times=steps, bias=False)
        + linear(source_dim, width, times=steps)
    )
    products = 2 * queries * steps * width  # scores, then the weighted sum
    elements = (queries + 2 * steps) * width  # queries, keys and values
    return projections + Profile(
        multiply_adds=products, sequence_elements=elements, attention_scores=queries * steps * heads
    )
