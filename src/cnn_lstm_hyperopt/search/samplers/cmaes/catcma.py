"""The search distribution of CatCMA with margin (Hamano et al. 2025, arXiv 2504.07884), as the `cmaes` package has it.

That package is imported where it is used: it brings scipy's statistics, half a second that only this sampler needs.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cnn_lstm_hyperopt.config import Choices, IntRange
from cnn_lstm_hyperopt.search.samplers.cmaes.internals import (
    axes_of,
    distribution_of,
    numbers_of,
    require_supported,
    solution_of,
)
from cnn_lstm_hyperopt.search.samplers.encoding import NEUTRAL, Array, Axis, Encoding
from cnn_lstm_hyperopt.space.domains import Scalar

MOST_STEPS = 32
"""Whole numbers of more values are as good as real ones, and rounded."""
START_SD = 0.2
"""Of a number at the start of a run, in shares of its range. The package starts with a twelfth and then stays where it is."""
START_BELIEF = 0.5
"""How much of a choice's probability at the start of a run is what the trials have that it starts from; the rest is uniform."""
GROWTH, MOST_GROWTHS = 2, 3
"""A run's population is so many times as large as the last one's (IPOP, Auger & Hansen 2005), but so often at most: within 1000
trials a larger one would not see a dozen generations."""
COLLAPSED_SD = 0.03
"""Of every real number, in shares of its range, when a run ends: IPOP's TolX, at what noisy readings can still tell apart."""
STALLED_GENERATIONS, STALLED_DRAWS = 5, 60
"""So many generations, and draws, of which none enlarges the front, when a run ends: the stagnation of BIPOP (Hansen 2009), with
the front in the place of the best value, and sooner, since trials are hundreds and not millions."""


class Draw(NamedTuple):
    """A point as it was drawn, by which a distribution can be told of it again.

    Attributes:
        run: which start it belongs to, from 0.
        generation: of the run, from 0.
        numbers: real and whole numbers, neither clipped nor rounded.
        choices: index of each.
    """

    run: int
    generation: int
    numbers: list[float]
    choices: list[int]

    @property
    def note(self) -> dict[str, list[Any]]:
        """As JSON; :meth:`Variables.draw` reads it back."""
        return {"cmaes": [self.run, self.generation], "numbers": self.numbers, "choices": self.choices}


class Variables:
    """Which axes are real numbers, which whole numbers, and which choices to the distribution; those of one value are none.

    Two whole numbers are choices, too: between them a normal distribution has nothing to say (the package's own advice).
    """

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self._positions = {i: np.array(_positions(axis)) for i, axis in enumerate(encoding.axes) if _is_finite(axis)}
        is_choice = {i: bool(encoding.axes[i].n_choices) or len(p) == 2 for i, p in self._positions.items()}
        self.reals = [i for i in range(len(encoding.axes)) if i not in self._positions]
        self.wholes = [i for i, p in self._positions.items() if not is_choice[i] and len(p) > 1]
        self.choices = [i for i, p in self._positions.items() if is_choice[i] and len(p) > 1]
        self.numbers = [*self.reals, *self.wholes]
        self.n_choices = [len(self._positions[i]) for i in self.choices]
        self._indices = [range(n) for n in self.n_choices]

    def __len__(self) -> int:
        return len(self.numbers) + len(self.choices)

    @property
    def spaces(self) -> dict[str, Any]:
        """As the package takes them."""
        return {
            "x_space": [[0.0, 1.0]] * len(self.reals) or None,
            "z_space": [list(self._positions[i]) for i in self.wholes] or None,
            "c_space": self.n_choices or None,
        }

    def params(self, solution: Any) -> dict[str, Scalar]:
        """The configuration at a point of the distribution; conditions decide what of it is used."""
        vector = np.zeros(len(self.encoding.axes))
        for i, positions in self._positions.items():
            vector[i] = positions[0]
        if self.reals:
            vector[self.reals] = solution.x
        if self.wholes:
            vector[self.wholes] = solution.z
        for i, hot in zip(self.choices, solution.c if self.choices else (), strict=True):
            vector[i] = self._positions[i][hot.argmax()]
        return self.encoding.params(vector, vector)

    def mean(self, vectors: Array) -> Array:
        """Mean of the numbers over the configurations that have them, shape ``(numbers,)``; the middle where none has."""
        columns = vectors[:, self.numbers].T
        return np.array(
            [column[~np.isnan(column)].mean() if not np.isnan(column).all() else NEUTRAL for column in columns]
        )

    def shares(self, vectors: Array) -> Array:
        """How often each choice is made by the configurations that have it, shape ``(axes, most choices)``, zeros at the end."""
        shares = np.zeros((len(self.choices), max(self.n_choices, default=0)))
        for k, (i, n) in enumerate(zip(self.choices, self.n_choices, strict=True)):
            made = vectors[~np.isnan(vectors[:, i]), i]
            counts = (made[:, None] == self._positions[i]).sum(axis=0)
            shares[k, :n] = counts / len(made) if len(made) else 1 / n
        return shares

    def one_hot(self, choices: Sequence[int]) -> Any:
        """As the package takes them; None where there are none."""
        return np.array(choices)[:, None] == np.arange(max(self.n_choices)) if choices else None

    def draw(self, note: object) -> Draw | None:
        """The draw that a trial was noted with; None if it was not made by this distribution."""
        match note:
            case {"cmaes": [int(run), int(generation)], "numbers": list(numbers), "choices": list(choices)}:
                fits = len(numbers) == len(self.numbers) and len(choices) == len(self.choices)
                if fits and all(map(range.__contains__, self._indices, choices)):
                    return Draw(run, generation, numbers, choices)
        return None


class Run:
    """One descent of the distribution, from a start to where it no longer pays.

    Args:
        index: of the run, from 0; decides its population.
        mean: where its numbers start, shape ``(numbers,)``.
        shares: where its choices start, shape ``(axes, most choices)``.
    """

    def __init__(self, variables: Variables, index: int, mean: Array, shares: Array) -> None:
        from cmaes import CatCMAwM

        require_supported()
        self._variables = variables
        self.index = index
        start: dict[str, Any] = {}
        if variables.numbers:
            start |= {"mean": np.array(mean), "cov": np.eye(len(variables.numbers)) * START_SD**2}
        if variables.choices:
            uniform = np.arange(max(variables.n_choices)) < np.array(variables.n_choices)[:, None]
            uniform = uniform / uniform.sum(axis=1, keepdims=True)
            start["cat_param"] = START_BELIEF * shares + (1 - START_BELIEF) * uniform
        population = 4 + math.floor(3 * math.log(len(variables)))  # the package's default
        population *= GROWTH ** min(index, MOST_GROWTHS)
        self._distribution = CatCMAwM(population_size=population, **variables.spaces, **start)
        self._stalled = 0

    @property
    def population(self) -> int:
        """Draws of a generation."""
        return int(self._distribution.population_size)

    @property
    def generation(self) -> int:
        """How often it was told a whole one."""
        return int(self._distribution.generation)

    def reseed(self, seed: int) -> None:
        """What is drawn next depends on ``seed`` and on what was told, not on what was drawn before."""
        self._distribution.reseed_rng(seed % 2**32)

    def ask(self) -> tuple[Draw, dict[str, Scalar]]:
        """A point and its configuration. What it is remembered by is all that the package looks at when it is told."""
        solution = self._distribution.ask()
        numbers = numbers_of(solution) if self._variables.numbers else []
        choices = [int(hot.argmax()) for hot in solution.c] if self._variables.choices else []
        return Draw(self.index, self.generation, numbers, choices), self._variables.params(solution)

    def tell(self, draws: Sequence[Draw], fitness: Array) -> None:
        """A whole generation, of which some may have been drawn from earlier ones.

        Args:
            draws: as many as the population.
            fitness: of each, higher is better; positive: it enlarges the front.
        """
        if self._is_level(fitness):
            self._stalled += 1
            return
        numbers: Sequence[Array | None] = [None] * len(draws)
        if self._variables.numbers:
            numbers = list(self._within_reach(np.array([draw.numbers for draw in draws])))
        choices = [self._variables.one_hot(draw.choices) for draw in draws]
        solutions = [solution_of(v, c) for c, v in zip(choices, numbers, strict=True)]
        self._distribution.tell(list(zip(solutions, -fitness, strict=True)))
        self._stalled = 0 if (fitness > 0).any() else self._stalled + 1

    def _is_level(self, fitness: Array) -> bool:
        """Whether a generation says nothing: the middle half of it is alike, and so was that of all before.

        The package scales its penalty for leaving the range by the spread of the middle half, and computes with NaN from then on
        when it has never seen any.
        """
        if not self._variables.reals or distribution_of(self._distribution).has_seen_spread:
            return False
        ordered = np.sort(-fitness)  # as the package does: its quartiles are not symmetrical
        return bool(ordered[3 * len(ordered) // 4] == ordered[len(ordered) // 4])

    def _within_reach(self, numbers: Array) -> Array:
        """Rows, pulled towards the mean where they are farther off than it draws (Hansen 2011, arXiv 1110.4181: c_y).

        A draw of this generation is not; one of an earlier generation, or one made before the losses of a pruned trial were
        revised, may be anywhere, and would make the step size explode.
        """
        now, n = distribution_of(self._distribution), numbers.shape[1]
        axes, lengths = axes_of(self._distribution)
        offsets = numbers - now.mean
        distances = np.linalg.norm(offsets / now.scales @ axes / lengths, axis=1)
        limit = math.sqrt(n) + 2 * n / (n + 2)
        near = (limit / np.maximum(distances, limit))[:, None]
        return np.where(near < 1, now.mean + offsets * near, numbers)

    @property
    def over(self) -> bool:
        """Whether it no longer pays to draw from it."""
        if self._stalled >= STALLED_GENERATIONS and self._stalled * self.population >= STALLED_DRAWS:
            return True
        n = len(self._variables.reals)  # whole numbers keep a margin and never collapse
        if not n:
            return False
        now = distribution_of(self._distribution)
        return bool((now.scales[:n] * np.sqrt(np.diag(now.covariance)[:n]) < COLLAPSED_SD).all())


def _is_finite(axis: Axis) -> bool:
    match axis.domain:
        case Choices():
            return True
        case IntRange(low, high, _):
            return high - low < MOST_STEPS
    return False


def _positions(axis: Axis) -> list[float]:
    match axis.domain:
        case Choices(values):
            return [axis.position(value) for value in values]
        case IntRange(low, high, _):
            return [axis.position(value) for value in range(low, high + 1)]
    raise ValueError(f"{axis.name} has no list of values")
