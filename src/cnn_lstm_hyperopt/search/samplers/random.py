"""Random search (Bergstra & Bengio 2012): uniform, in the logarithm where the domain says so."""

import math
from collections.abc import Sequence

import numpy as np

from cnn_lstm_hyperopt.config import Choices, Domain, Fixed, FloatRange, IntRange
from cnn_lstm_hyperopt.config.domains import Scalar
from cnn_lstm_hyperopt.randomness import stream
from cnn_lstm_hyperopt.search.samplers.base import Sampler
from cnn_lstm_hyperopt.search.told import Told


class RandomSampler(Sampler):
    """Draws each active parameter by itself."""

    def propose(self, number: int, history: Sequence[Told], attempt: int) -> dict[str, Scalar]:
        """See the base class; ``history`` is not used."""
        generator = stream(self.seed, number, f"proposal {attempt}")
        params: dict[str, Scalar] = {}
        for name in self.space.active(params):
            params[name] = self.space.legal(name, draw(self.space.domains[name], generator), params)
        return self.searched(params)


def draw(domain: Domain, generator: np.random.Generator) -> Scalar:
    """One value of the domain."""
    match domain:
        case Fixed(value):
            return value
        case Choices(values):
            return values[generator.integers(len(values))]
        case IntRange(low, high, log):
            if not log:
                return int(generator.integers(low, high + 1))
            # The bounds are half a unit wider, so that both ends get their whole share.
            value = math.exp(generator.uniform(math.log(low - 0.5), math.log(high + 0.5)))
            return min(max(round(value), low), high)
        case FloatRange(low, high, log):
            if not log:
                return float(generator.uniform(low, high))
            return min(max(math.exp(generator.uniform(math.log(low), math.log(high))), low), high)
