"""The sampler ``random``: random search (Bergstra & Bengio 2012) with uniform draws, which are log-uniform for log domains."""

import math

import numpy as np

from cnn_lstm_hyperopt.config import Choices, Domain, Fixed, FloatRange, IntRange, SearchSpace
from cnn_lstm_hyperopt.search.samplers.base import Proposal, ProposalRequest, Sampler
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.utils.rng import stream


class RandomSampler(Sampler):
    """Sampler that draws each active parameter at random, independently of other parameters."""

    name, place = "random", 2
    description = "uniform draws, log-uniform for log ranges"
    has_model = False

    def propose(self, request: ProposalRequest) -> Proposal:
        """Propose a random configuration; the history is ignored."""
        params = random_configuration(self.space, self.seed, request.number, request.attempt)
        return Proposal(self.searched(params))


def random_configuration(space: SearchSpace, seed: int, number: int, attempt: int = 0) -> dict[str, Scalar]:
    """Return a random full configuration, with fixed parameters; equal arguments give the same configuration."""
    generator = stream(seed, number, f"proposal {attempt}")
    params: dict[str, Scalar] = {}
    for name in space.active(params):
        params[name] = space.legal(name, draw(space.domains[name], generator), params)
    return params


def draw(domain: Domain, generator: np.random.Generator) -> Scalar:
    """Return a random value of the domain."""
    match domain:
        case Fixed(value):
            return value
        case Choices(values):
            return values[generator.integers(len(values))]
        case IntRange(low, high, log):
            if not log:
                return int(generator.integers(low, high + 1))
            # With bounds half a unit wider, both end values are as likely as the other integers.
            value = math.exp(generator.uniform(math.log(low - 0.5), math.log(high + 0.5)))
            return min(max(round(value), low), high)
        case FloatRange(low, high, log):
            if not log:
                return float(generator.uniform(low, high))
            return min(max(math.exp(generator.uniform(math.log(low), math.log(high))), low), high)
