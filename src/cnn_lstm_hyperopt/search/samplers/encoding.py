"""Configurations as points of the unit cube: what samplers that compute with numbers work on."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import Choices, Domain, Fixed, FloatRange, IntRange, Params, SearchSpace
from cnn_lstm_hyperopt.space.domains import Scalar

Array = NDArray[np.float64]

NEUTRAL = 0.5
"""Coordinate of a number that a configuration does not have."""


@dataclass(frozen=True)
class Axis:
    """A searched parameter.

    Attributes:
        name: of it.
        domain: a range, or choices.
        columns: of the feature matrix that belong to it: one for a number, one a choice otherwise.
    """

    name: str
    domain: Domain
    columns: slice

    @property
    def n_choices(self) -> int:
        """Choices; 0 for a number."""
        return len(self.domain.values) if isinstance(self.domain, Choices) else 0

    def position(self, value: Scalar) -> float:
        """A number's place in [0, 1], in the logarithm where the domain says so; a choice's index."""
        match self.domain:
            case Choices(values):
                return float(values.index(value))
            case IntRange(low, high, log):  # equal shares: a whole number owns half a unit to both sides
                start, end = _scale(low - 0.5, log), _scale(high + 0.5, log)
                return (_scale(float(value), log) - start) / (end - start)
            case FloatRange(low, high, log):
                start, end = _scale(low, log), _scale(high, log)
                return (_scale(float(value), log) - start) / (end - start)
            case Fixed():
                raise ValueError(f"{self.name} is fixed and has no axis")

    def value(self, position: float) -> Scalar:
        """The inverse of :meth:`position`, for any position in [0, 1] or any index."""
        match self.domain:
            case Choices(values):
                return values[int(position)]
            case IntRange(low, high, log):
                start, end = _scale(low - 0.5, log), _scale(high + 0.5, log)
                number = start + position * (end - start)
                return min(max(round(math.exp(number) if log else number), low), high)
            case FloatRange(low, high, log):
                start, end = _scale(low, log), _scale(high, log)
                number = start + position * (end - start)
                return min(max(math.exp(number) if log else number, low), high)
            case Fixed():
                raise ValueError(f"{self.name} is fixed and has no axis")


class Encoding:
    """The searched parameters of a space as axes.

    A configuration is a *vector*: its positions, shape ``(axes,)``, NaN where a parameter is not active; and a row of *features*,
    shape ``(columns,)``: a number's position, a choice as one-hot times √½, so that two choices are as far apart as the two ends
    of a number. What is not active lies at the neutral middle, choices at the origin: the parent's one-hot tells that it is off.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.axes: list[Axis] = []
        column = 0
        for name, domain in space.searched().items():
            width = len(domain.values) if isinstance(domain, Choices) else 1
            self.axes.append(Axis(name, domain, slice(column, column + width)))
            column += width
        self.n_columns = column
        self._places = {axis.name: (i, axis) for i, axis in enumerate(self.axes)}
        self._fixed = {name: domain.value for name, domain in space.domains.items() if isinstance(domain, Fixed)}
        self.axis_of_column = np.repeat(
            np.arange(len(self.axes)), [axis.columns.stop - axis.columns.start for axis in self.axes]
        )

    def vector(self, params: Params) -> Array:
        """Positions of a configuration, NaN where it has no value."""
        return np.array(
            [axis.position(params[axis.name]) if axis.name in params else math.nan for axis in self.axes], dtype=float
        )

    def vectors(self, many: Sequence[Params]) -> Array:
        """Shape ``(configurations, axes)``."""
        return np.array([self.vector(params) for params in many], dtype=float).reshape(len(many), len(self.axes))

    def params(self, vector: Array, fill: Array) -> dict[str, Scalar]:
        """The searched, active parameters at a vector.

        Args:
            vector: shape ``(axes,)``; NaN: take the position of ``fill``.
            fill: shape ``(axes,)``, without NaN.
        """
        return self.searched(self.configuration(np.where(np.isnan(vector), fill, vector)))

    def configuration(self, vector: Array) -> dict[str, Scalar]:
        """The whole configuration at a vector ``(axes,)``, fixed parameters included; those that do not exist may be NaN."""
        positions: list[float] = vector.tolist()
        params: dict[str, Scalar] = {}
        for name in self.space.active(params):
            found = self._places.get(name)
            if found is None:
                params[name] = self._fixed[name]
            else:
                i, axis = found
                params[name] = self.space.legal(name, axis.value(positions[i]), params)
        return params

    def searched(self, configuration: Params) -> dict[str, Scalar]:
        """``configuration`` without the fixed ones."""
        return {name: value for name, value in configuration.items() if name in self._places}

    def features(self, vectors: Array) -> Array:
        """Rows of a kernel's inputs, shape ``(configurations, columns)``."""
        rows = np.empty((len(vectors), self.n_columns))
        for i, axis in enumerate(self.axes):
            positions = vectors[:, i]
            if axis.n_choices:
                rows[:, axis.columns] = (positions[:, None] == np.arange(axis.n_choices)) * math.sqrt(0.5)
            else:
                rows[:, axis.columns] = np.where(np.isnan(positions), NEUTRAL, positions)[:, None]
        return rows

    def snapped(self, vectors: Array) -> Array:
        """What :meth:`vector` gives for the configuration at each vector; shape as given.

        Whole numbers lie at their own positions, head counts at one that divides, and NaN stands where a condition fails.

        Args:
            vectors: shape ``(configurations, axes)``, without NaN.
        """
        snapped = vectors.copy()
        indices = {axis.name: i for i, axis in enumerate(self.axes)}
        there: dict[str, NDArray[np.bool_]] = {}
        for name, domain in self.space.domains.items():
            spec, active = self.space.specs[name], np.ones(len(vectors), dtype=np.bool_)
            for parent, values in spec.when.items():  # a parent stands before it, so it is snapped already
                active &= there[parent] & self._is_one_of(snapped, indices.get(parent), parent, values)
            there[name] = active
            if name not in indices:
                continue
            i = indices[name]
            if isinstance(domain, IntRange):
                snapped[:, i] = _at_whole_numbers(domain, vectors[:, i])
            if spec.divides is not None:
                axis = self.axes[i]
                for row in np.flatnonzero(active):
                    value = self.space.legal(name, axis.value(float(snapped[row, i])), _Decoded(self, snapped[row]))
                    snapped[row, i] = axis.position(value)
            snapped[~active, i] = math.nan
        return snapped

    def _is_one_of(
        self, vectors: Array, index: int | None, name: str, values: tuple[Scalar, ...]
    ) -> NDArray[np.bool_] | bool:
        """Whether a parameter has one of these values, shape ``(configurations,)``; one number for all where it has no axis."""
        if index is None:
            return any(self.space.domains[name].contains(value) for value in values)
        axis = self.axes[index]
        allowed = [axis.position(value) for value in values if axis.domain.contains(value)]
        return np.asarray(np.isclose(vectors[:, index, None], np.array(allowed)).any(axis=1), dtype=np.bool_)


class _Decoded(Mapping[str, Scalar]):
    """The values at one vector, each worked out when it is asked for."""

    def __init__(self, encoding: Encoding, vector: Array) -> None:
        self._fixed = {n: d.value for n, d in encoding.space.domains.items() if isinstance(d, Fixed)}
        self._axes = {axis.name: (i, axis) for i, axis in enumerate(encoding.axes)}
        self._vector = vector

    def __getitem__(self, name: str) -> Scalar:
        if name in self._fixed:
            return self._fixed[name]
        i, axis = self._axes[name]
        return axis.value(float(self._vector[i]))

    def __iter__(self) -> Iterator[str]:
        return iter([*self._fixed, *self._axes])

    def __len__(self) -> int:
        return len(self._fixed) + len(self._axes)


def _at_whole_numbers(domain: IntRange, positions: Array) -> Array:
    """What ``axis.position(axis.value(p))`` gives, for many positions at once."""
    start, end = _scale(domain.low - 0.5, domain.log), _scale(domain.high + 0.5, domain.log)
    numbers = start + positions * (end - start)
    whole = np.clip(np.rint(np.exp(numbers) if domain.log else numbers), domain.low, domain.high)
    return np.asarray(((np.log(whole) if domain.log else whole) - start) / (end - start))


def _scale(value: float, log: bool) -> float:
    return math.log(value) if log else float(value)
