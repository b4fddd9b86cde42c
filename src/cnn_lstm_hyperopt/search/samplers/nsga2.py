"""NSGA-II (Deb, Pratap, Agarwal & Meyarivan 2002, IEEE TEC 6(2)), steady and asynchronous, rebuilt from history alone.

Written here, not Optuna's: that one keeps its generations in the attributes of trials which it bred itself and waits for whole
generations of COMPLETE ones, so it can be told neither what is expected of a pruned trial, nor trials in the order in which they
finished, nor enqueued ones. Here the parents are the best trials of all at the moment of asking: no state, nothing to restore.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import Choices, IntRange
from cnn_lstm_hyperopt.config.domains import Scalar
from cnn_lstm_hyperopt.pareto import crowding_distances, non_dominated_ranks
from cnn_lstm_hyperopt.search.observations import Kind, Told
from cnn_lstm_hyperopt.search.samplers.base import Proposal, Question, Sampler
from cnn_lstm_hyperopt.search.samplers.encoding import Array, Axis, Encoding
from cnn_lstm_hyperopt.search.samplers.random import RandomSampler
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.utils.rng import stream

Order = NDArray[np.int64]

POPULATION = 50
CROSSOVER, SWAP = 0.9, 0.5
"""How many children have two parents, and how much of these comes from the second."""
ETA = 20.0
"""Distribution index of the mutation: the larger, the nearer to the parent (Deb et al. 2002, section V)."""
REDRAWS = 20
"""How often a child is bred anew that was tried before or is beyond the limits."""


class Nsga2Sampler(Sampler):
    """Children of the best trials so far: tournament, uniform crossover, mutation."""

    default_startup = POPULATION

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan)
        self._random = RandomSampler(plan)
        self._encoding = Encoding(plan.space)

    def propose(self, question: Question) -> Proposal:
        """See the base class."""
        rows = question.history
        if len(rows) < max(self.n_startup, 1) or not self._encoding.axes:
            return self._random.propose(question)
        parents = self._encoding.vectors([rows[i].params for i in self._best(rows)])
        generator = stream(self.seed, question.number, f"proposal {question.attempt}")
        tried = [row.params for row in rows] + list(question.running)
        for _ in range(REDRAWS):
            params = self._child(parents, generator)
            if params not in tried and self.plan.allows(params):
                break
        return Proposal(params)

    def _best(self, rows: Sequence[Told]) -> Order:
        """The population: indices of the best rows, best first (the crowded comparison, ibid., section III-B).

        Rows below the gate come after all others, by score alone (constrained dominance, ibid., section VI): small models that
        have learnt nothing are never dominated and would fill the population.
        """
        losses = np.array([row.losses for row in rows], dtype=float)
        skilled = np.array([row.kind is not Kind.DIVERGED and self.plan.gate.passes(-row.losses[0]) for row in rows])
        lacking = np.where([row.kind is Kind.DIVERGED for row in rows], np.inf, losses[:, 0])
        ranks, spacing = np.full(len(rows), len(rows)), np.zeros(len(rows))
        ranks[skilled] = non_dominated_ranks(losses[skilled])
        for rank in range(ranks[skilled].max(initial=-1) + 1):
            front = np.flatnonzero(ranks == rank)
            spacing[front] = crowding_distances(losses[front])
        return np.lexsort((np.where(skilled, 0.0, lacking), -spacing, ranks))[:POPULATION]

    def _child(self, parents: Array, generator: np.random.Generator) -> dict[str, Scalar]:
        one, other = (parents[_tournament(len(parents), generator)] for _ in range(2))
        axes = self._encoding.axes
        child = np.where(np.isnan(one), other, one)  # what one has not, it may come to need
        if generator.random() < CROSSOVER:
            swapped = (generator.random(len(axes)) < SWAP) & ~np.isnan(other)
            child[swapped] = other[swapped]
        anywhere = np.array([_anywhere(axis, generator) for axis in axes])
        n_active = len(self._encoding.params(child, anywhere))
        for i in np.flatnonzero(generator.random(len(axes)) < 1 / max(n_active, 1)):
            child[i] = _mutated(axes[i], anywhere[i] if np.isnan(child[i]) else child[i], generator)
        return self._encoding.params(child, anywhere)


def _tournament(n: int, generator: np.random.Generator) -> int:
    """The better of two; parents are ordered, best first."""
    return int(generator.integers(n, size=2).min())


def _anywhere(axis: Axis, generator: np.random.Generator) -> float:
    return float(generator.integers(axis.n_choices)) if axis.n_choices else float(generator.random())


def _mutated(axis: Axis, position: float, generator: np.random.Generator) -> float:
    """Another choice; or a number near by, and not the same whole number: most steps are too short to leave its share."""
    match axis.domain:
        case Choices(values):
            return float((position + generator.integers(1, max(len(values), 2))) % len(values))
        case IntRange(low, high, _):
            moved = _polynomial(position, generator)
            number = int(axis.value(position))
            if number != axis.value(moved) or low == high:
                return moved
            up = number == low or (number < high and moved > position)
            return axis.position(number + 1 if up else number - 1)
    return _polynomial(position, generator)


def _polynomial(position: float, generator: np.random.Generator) -> float:
    """Polynomial mutation within [0, 1] (Deb & Goyal 1996; bounded as in Deb's own code: to a near end the steps are shorter)."""
    u, power = generator.random(), 1 / (ETA + 1)
    if u < 0.5:
        step = (2 * u + (1 - 2 * u) * (1 - position) ** (ETA + 1)) ** power - 1
    else:
        step = 1 - (2 * (1 - u) + (2 * u - 1) * position ** (ETA + 1)) ** power
    return float(np.clip(position + step, 0.0, 1.0))
