"""Search distribution of CatCMA with margin (Hamano et al. 2025, arXiv 2504.07884), from the `cmaes` package.

The `cmaes` package is imported at first use, since it imports scipy.stats, which takes half a second.
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
from cnn_lstm_hyperopt.space.search_space import values_of

MAX_STEPS = 32
"""Maximum number of values of an integer range. Longer ranges are treated as ranges of real numbers that are rounded."""
START_SD = 0.2
"""Initial standard deviation of a number, as a share of its range. With the default of the `cmaes` package, a twelfth, draws
would stay near the initial mean."""
START_WEIGHT = 0.5
"""Initial probability of a choice: this number times the share of initial trials with this choice, plus one minus this number
times the uniform probability."""
GROWTH, MAX_GROWTHS = 2, 3
"""Growth factor of the population from run to run (IPOP, Auger & Hansen 2005), and the maximum number of times that the
population grows. With a still larger population, 1000 trials would be fewer than twelve generations."""
COLLAPSED_SD = 0.03
"""A run ends when the standard deviation of every real number, as a share of its range, is below this bound (IPOP's TolX).
Differences between configurations that are smaller than this bound have less effect than noise."""
STALLED_GENERATIONS, STALLED_DRAWS = 5, 60
"""A run ends if no draw of the last generations is a new point on the front. The first number is the minimum number of these
generations, the second the minimum number of their draws. This is the stagnation rule of BIPOP (Hansen 2009), with the front
instead of the best value, and with limits for hundreds of trials, not millions."""


class Draw(NamedTuple):
    """A draw from the distribution before numbers are clipped and rounded. The distribution is updated with draws in this form.

    Attributes:
        run: index of the run, from 0.
        generation: index of the generation within the run, from 0.
        numbers: values of the real-valued and integer parameters before clipping and rounding.
        choices: index of the drawn choice for each parameter with choices.
    """

    run: int
    generation: int
    numbers: list[float]
    choices: list[int]

    @property
    def note(self) -> dict[str, list[Any]]:
        """The draw as a JSON value; :meth:`Variables.draw` is the inverse."""
        return {"cmaes": [self.run, self.generation], "numbers": self.numbers, "choices": self.choices}


class Variables:
    """Mapping of a space's axes to real numbers, integers and choices of the distribution. Axes with a single value are omitted.

    Integers with two values are treated as choices, as the package recommends.
    """

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self._positions = {
            i: np.array([axis.position(value) for value in values_of(axis.domain)])
            for i, axis in enumerate(encoding.axes)
            if _is_finite(axis)
        }
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
        """Arguments of the package's class CatCMAwM that describe the search space."""
        return {
            "x_space": [[0.0, 1.0]] * len(self.reals) or None,
            "z_space": [list(self._positions[i]) for i in self.wholes] or None,
            "c_space": self.n_choices or None,
        }

    def params(self, solution: Any) -> dict[str, Scalar]:
        """Return the configuration that a solution object of the package encodes, without inactive parameters."""
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
        """Return the mean of each number over the configurations in which the number is active, shape ``(numbers,)``.

        If a number is inactive in all configurations, return the middle of its range.
        """
        columns = vectors[:, self.numbers].T
        return np.array(
            [column[~np.isnan(column)].mean() if not np.isnan(column).all() else NEUTRAL for column in columns]
        )

    def shares(self, vectors: Array) -> Array:
        """Return the share of each choice among the configurations in which its parameter is active.

        The shape is ``(axes, max. choices)``; rows of axes with fewer choices are padded with 0.
        """
        shares = np.zeros((len(self.choices), max(self.n_choices, default=0)))
        for k, (i, n) in enumerate(zip(self.choices, self.n_choices, strict=True)):
            made = vectors[~np.isnan(vectors[:, i]), i]
            counts = (made[:, None] == self._positions[i]).sum(axis=0)
            shares[k, :n] = counts / len(made) if len(made) else 1 / n
        return shares

    def one_hot(self, choices: Sequence[int]) -> Any:
        """Return the one-hot encoding of the indices of choices, which the package requires; None without choices."""
        return np.array(choices)[:, None] == np.arange(max(self.n_choices)) if choices else None

    def draw(self, note: object) -> Draw | None:
        """Return the draw in a trial's note; None if the note contains no draw from this distribution."""
        match note:
            case {"cmaes": [int(run), int(generation)], "numbers": list(numbers), "choices": list(choices)}:
                fits = len(numbers) == len(self.numbers) and len(choices) == len(self.choices)
                if fits and all(map(range.__contains__, self._indices, choices)):
                    return Draw(run, generation, numbers, choices)
        return None


class Run:
    """One run of the distribution, from its start to convergence or stagnation.

    Args:
        index: index of the run, from 0; determines the population size.
        mean: initial mean of the numbers, shape ``(numbers,)``.
        shares: initial shares of the choices, shape ``(axes, max. choices)``.
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
            start["cat_param"] = START_WEIGHT * shares + (1 - START_WEIGHT) * uniform
        population = 4 + math.floor(3 * math.log(len(variables)))  # the package's default
        population *= GROWTH ** min(index, MAX_GROWTHS)
        self._distribution = CatCMAwM(population_size=population, **variables.spaces, **start)
        self._stalled = 0

    @property
    def population(self) -> int:
        """Number of draws in a generation of this run."""
        return int(self._distribution.population_size)

    @property
    def generation(self) -> int:
        """Number of finished generations of this run."""
        return int(self._distribution.generation)

    def reseed(self, seed: int) -> None:
        """Reset the random state: the next draws depend on ``seed`` and the finished generations, not on earlier draws."""
        self._distribution.reseed_rng(seed % 2**32)

    def ask(self) -> tuple[Draw, dict[str, Scalar]]:
        """Draw a point from the distribution; return the draw and its configuration."""
        solution = self._distribution.ask()
        numbers = numbers_of(solution) if self._variables.numbers else []
        choices = [int(hot.argmax()) for hot in solution.c] if self._variables.choices else []
        return Draw(self.index, self.generation, numbers, choices), self._variables.params(solution)

    def tell(self, draws: Sequence[Draw], fitness: Array) -> None:
        """Update the distribution with the draws of one generation; some draws may come from earlier generations.

        Args:
            draws: as many draws as the population size.
            fitness: fitness of each draw. Higher is better; the fitness is positive if the draw was a new point on the front.
        """
        if self._has_no_spread(fitness):
            self._stalled += 1
            return
        numbers: Sequence[Array | None] = [None] * len(draws)
        if self._variables.numbers:
            numbers = list(self._clipped(np.array([draw.numbers for draw in draws])))
        choices = [self._variables.one_hot(draw.choices) for draw in draws]
        solutions = [solution_of(v, c) for c, v in zip(choices, numbers, strict=True)]
        self._distribution.tell(list(zip(solutions, -fitness, strict=True)))
        self._stalled = 0 if (fitness > 0).any() else self._stalled + 1

    def _has_no_spread(self, fitness: Array) -> bool:
        """Return True if, in this and all earlier generations, the middle half of the draws has equal fitness.

        The package multiplies its penalty for values outside the range by the spread of the fitness in this middle half. If the
        spread is 0 in all generations, the package computes NaN after the next update.
        """
        if not self._variables.reals or distribution_of(self._distribution).has_seen_spread:
            return False
        ordered = np.sort(-fitness)  # quartiles as the package computes them (not symmetrical)
        return bool(ordered[3 * len(ordered) // 4] == ordered[len(ordered) // 4])

    def _clipped(self, numbers: Array) -> Array:
        """Move rows that are farther from the mean than a plausible draw towards the mean (c_y in Hansen 2011, arXiv 1110.4181).

        Draws of earlier generations, or draws made before losses of pruned trials were revised, may be far from the mean. Without
        this limit, draws far from the mean would make the step size explode.
        """
        now, n = distribution_of(self._distribution), numbers.shape[1]
        axes, lengths = axes_of(self._distribution)
        offsets = numbers - now.mean
        distances = np.linalg.norm(offsets / now.scales @ axes / lengths, axis=1)
        limit = math.sqrt(n) + 2 * n / (n + 2)
        near = (limit / np.maximum(distances, limit))[:, None]
        return np.where(near < 1, now.mean + offsets * near, numbers)

    @property
    def finished(self) -> bool:
        """Whether the run has converged or stagnated."""
        if self._stalled >= STALLED_GENERATIONS and self._stalled * self.population >= STALLED_DRAWS:
            return True
        n = len(self._variables.reals)  # integers keep a margin and never collapse
        if not n:
            return False
        now = distribution_of(self._distribution)
        return bool((now.scales[:n] * np.sqrt(np.diag(now.covariance)[:n]) < COLLAPSED_SD).all())


def _is_finite(axis: Axis) -> bool:
    domain = axis.domain
    return isinstance(domain, Choices) or (isinstance(domain, IntRange) and domain.high - domain.low < MAX_STEPS)
