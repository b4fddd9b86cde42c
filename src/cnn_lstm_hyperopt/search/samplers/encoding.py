"""Encoding of configurations as points of the unit cube, for numerical samplers."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import Choices, Domain, Fixed, FloatRange, IntRange, Params, SearchSpace
from cnn_lstm_hyperopt.space.domains import Scalar

Array = NDArray[np.float64]

NEUTRAL = 0.5
"""Coordinate of an inactive numerical parameter in the features."""
SAME = 1e-8
"""Positions of the same value differ by less than this number, because of rounding."""


@dataclass(frozen=True)
class Axis:
    """Axis of the unit cube: a searched parameter.

    Attributes:
        name: name of the parameter.
        domain: domain of the parameter, a range or choices.
        columns: columns of the parameter in the feature matrix. A number has one column. A parameter with choices has one column
            for each choice.
    """

    name: str
    domain: Domain
    columns: slice

    @property
    def n_choices(self) -> int:
        """Number of choices of the parameter; 0 for a number."""
        return len(self.domain.values) if isinstance(self.domain, Choices) else 0

    def position(self, value: Scalar) -> float:
        """Return the index of a choice, or the relative position of a number in its range, from 0 to 1.

        For a log domain, this is the position of the number's logarithm.
        """
        match self.domain:
            case Choices(values):
                return float(values.index(value))
            case IntRange(log=log) | FloatRange(log=log):
                start, end = _ends(self.domain)
                return (_scale(float(value), log) - start) / (end - start)
            case Fixed():
                raise ValueError(f"{self.name} is fixed and has no axis")

    def value(self, position: float) -> Scalar:
        """Return the number at a position in [0, 1], or the choice with an index; this inverts :meth:`position`."""
        return self.values([position])[0]

    def values(self, positions: Sequence[float]) -> list[Scalar]:
        """Return the value at each position; see :meth:`value`."""
        match self.domain:
            case Choices(values):
                return [values[int(position)] for position in positions]
            case IntRange(low, high, log) | FloatRange(low, high, log):
                start, end = _ends(self.domain)
                numbers = [start + position * (end - start) for position in positions]
                numbers = [math.exp(number) for number in numbers] if log else numbers
                if isinstance(self.domain, IntRange):
                    return [min(max(round(number), low), high) for number in numbers]
                return [min(max(number, low), high) for number in numbers]
            case Fixed():
                raise ValueError(f"{self.name} is fixed and has no axis")


class Encoding:
    """Encoder of configurations as points of the unit cube. Each searched parameter of the space is an axis.

    A configuration has two encodings:

    - *vector*, shape ``(axes,)``: a number has its position in the range, a choice has its index, an inactive parameter is NaN.
    - *features*, shape ``(columns,)``: a number has its position in the range. Choices have one-hot columns times √½, so that two
      choices are as far apart as the two ends of a range. An inactive number has the feature :data:`NEUTRAL`; all features of an
      inactive parameter with choices are 0.
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
        self._by_name = {axis.name: (i, axis) for i, axis in enumerate(self.axes)}
        self._fixed = {name: domain.value for name, domain in space.domains.items() if isinstance(domain, Fixed)}
        self.axis_of_column = np.repeat(
            np.arange(len(self.axes)), [axis.columns.stop - axis.columns.start for axis in self.axes]
        )

    def vector(self, params: Params) -> Array:
        """Return the vector of a configuration, shape ``(axes,)``; NaN for inactive parameters."""
        return np.array(
            [axis.position(params[axis.name]) if axis.name in params else math.nan for axis in self.axes], dtype=float
        )

    def vectors(self, many: Sequence[Params]) -> Array:
        """Return the vectors of configurations, shape ``(configurations, axes)``."""
        return np.array([self.vector(params) for params in many], dtype=float).reshape(len(many), len(self.axes))

    def params(self, vector: Array, fill: Array) -> dict[str, Scalar]:
        """Return the searched, active parameters of the configuration that a vector encodes.

        Args:
            vector: shape ``(axes,)``; a NaN is replaced by the element of ``fill`` on the same axis.
            fill: shape ``(axes,)``, without NaN.
        """
        return self.searched(self.configuration(np.where(np.isnan(vector), fill, vector)))

    def configuration(self, vector: Array) -> dict[str, Scalar]:
        """Return the full configuration that a vector ``(axes,)`` encodes, with fixed parameters; inactive axes may be NaN."""
        positions: list[float] = vector.tolist()
        params: dict[str, Scalar] = {}
        for name in self.space.active(params):
            found = self._by_name.get(name)
            if found is None:
                params[name] = self._fixed[name]
            else:
                i, axis = found
                params[name] = self.space.legal(name, axis.value(positions[i]), params)
        return params

    def configurations(self, vectors: Array) -> list[dict[str, Scalar]]:
        """Return the full configurations that snapped vectors encode; the same as :meth:`configuration`, in less time.

        Args:
            vectors: shape ``(configurations, axes)``, from :meth:`snapped`.
        """
        found: list[dict[str, Scalar]] = [{} for _ in vectors]
        for name, active in self._activity(vectors):
            rows = np.flatnonzero(active)
            if not len(rows):
                continue
            if name in self._by_name:
                i, axis = self._by_name[name]
                values = axis.values(vectors[rows, i].tolist())
            else:
                values = [self._fixed[name]] * len(rows)
            for row, value in zip(rows.tolist(), values, strict=True):
                found[row][name] = value
        return found

    def searched(self, configuration: Params) -> dict[str, Scalar]:
        """Return ``configuration`` without the fixed parameters."""
        return {name: value for name, value in configuration.items() if name in self._by_name}

    def features(self, vectors: Array) -> Array:
        """Return the features of configurations, shape ``(configurations, columns)``, which are the inputs of a kernel."""
        rows = np.empty((len(vectors), self.n_columns))
        for i, axis in enumerate(self.axes):
            positions = vectors[:, i]
            if axis.n_choices:
                rows[:, axis.columns] = (positions[:, None] == np.arange(axis.n_choices)) * math.sqrt(0.5)
            else:
                rows[:, axis.columns] = np.where(np.isnan(positions), NEUTRAL, positions)[:, None]
        return rows

    def snapped(self, vectors: Array) -> Array:
        """Replace each vector by the exact vector of the configuration that the vector encodes; the shape stays the same.

        Integers move to the position of the nearest integer. Numbers of attention heads move to a number that divides the width.
        Inactive parameters become NaN.

        Args:
            vectors: shape ``(configurations, axes)``, without NaN.
        """
        snapped = vectors.copy()
        for name, active in self._activity(snapped):  # parents come first, so they are already snapped
            if name not in self._by_name:
                continue
            i, axis = self._by_name[name]
            if isinstance(axis.domain, IntRange):
                snapped[:, i] = _at_whole_numbers(axis.domain, vectors[:, i])
            if self.space.specs[name].divides is not None:
                for row in np.flatnonzero(active):
                    value = self.space.legal(name, axis.value(float(snapped[row, i])), _Decoded(self, snapped[row]))
                    snapped[row, i] = axis.position(value)
            snapped[~active, i] = math.nan
        return snapped

    def _activity(self, vectors: Array) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Yield the name of each parameter, and a mask of the configurations in which it is active, ``(configurations,)``.

        The iterator is lazy: the caller may change a column of ``vectors`` before the caller requests the next name.
        """
        exists: dict[str, NDArray[np.bool_]] = {}
        for name in self.space.domains:
            active = np.ones(len(vectors), dtype=np.bool_)
            for parent in self.space.specs[name].when:
                active &= exists[parent] & self._has_parent_value(vectors, name, parent)
            exists[name] = active
            yield name, active

    def _has_parent_value(self, vectors: Array, name: str, parent: str) -> NDArray[np.bool_] | bool:
        """Return a mask of the configurations in which a parent has a value with which the parameter is active.

        For a parent without an axis (a fixed one), return a single bool for all configurations.
        """
        values = self.space.specs[name].when[parent]
        if parent not in self._by_name:
            return any(self.space.domains[parent].contains(value) for value in values)
        i, axis = self._by_name[parent]
        mask = np.zeros(len(vectors), dtype=np.bool_)
        for value in values:
            if axis.domain.contains(value):
                mask |= np.abs(vectors[:, i] - axis.position(value)) < SAME
        return mask


class _Decoded(Mapping[str, Scalar]):
    """Mapping of parameter names to the values that one vector encodes. Each value is decoded at its first use."""

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
    """Return, for each position in [0, 1], the position of the nearest integer of the domain."""
    start, end = _ends(domain)
    numbers = start + positions * (end - start)
    whole = np.clip(np.rint(np.exp(numbers) if domain.log else numbers), domain.low, domain.high)
    return np.asarray(((np.log(whole) if domain.log else whole) - start) / (end - start))


def _ends(domain: IntRange | FloatRange) -> tuple[float, float]:
    """Return the numbers at positions 0 and 1.

    For a domain of real numbers, positions 0 and 1 are the bounds of the domain. For a domain of integers, positions 0 and 1 are
    half a unit beyond the bounds. For a log domain, the logarithms of these numbers are returned.
    """
    half = 0.5 if isinstance(domain, IntRange) else 0.0
    return _scale(domain.low - half, domain.log), _scale(domain.high + half, domain.log)


def _scale(value: float, log: bool) -> float:
    return math.log(value) if log else float(value)
