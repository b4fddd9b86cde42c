"""Baseline with ridge regression: a linear forecast of the value and of the classes.

A logistic regression gives probabilities.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import product

import numpy as np
from threadpoolctl import threadpool_limits

from cnn_lstm_hyperopt.data.market_history import N_RANGES
from cnn_lstm_hyperopt.evaluation.baselines.base import Baseline, Floats, Sample, base_rates
from cnn_lstm_hyperopt.evaluation.baselines.linear_form import LinearForm, of_means
from cnn_lstm_hyperopt.evaluation.baselines.probability_map import ProbabilityMap
from cnn_lstm_hyperopt.evaluation.baselines.summaries import means
from cnn_lstm_hyperopt.metrics import score
from cnn_lstm_hyperopt.models.inputs import CLIP

PENALTIES = np.logspace(-6, 4, 11)
"""Strengths of the L2 penalty per window for standardised columns.

The smallest has almost no effect; the largest gives coefficients near 0.
"""
MAX_BASIS = 2_000_000
"""Maximum product of the columns and the rank of a regression.

The maximum allows 1,414 columns, or more if there are fewer windows than columns. A fit on 50,000 windows with 1,320 columns
takes 8 s on a core.
"""
_AT_ONCE = 1_000_000
"""Maximum number of values (windows × columns) that are computed in one step (8 MB)."""

Columns = Callable[[Sample], Floats]
"""Type of a function of windows that returns the columns of a regression, ``(windows, columns)``."""


@dataclass(frozen=True, eq=False)
class RidgePath:
    """Ridge regressions with the same columns and targets that differ in their penalty.

    Attributes:
        coefficients: ``(penalties, columns, targets)`` coefficients of the regressions.
        intercepts: ``(penalties, targets)`` intercepts of the regressions.
        left_out: ``(penalties, windows, targets)`` forecast for each training window by the regression without this window.
            The mean is that of all windows.
    """

    coefficients: Floats
    intercepts: Floats
    left_out: Floats

    def forecasts(self, parts: Iterable[Floats]) -> Floats:
        """Return the forecasts ``(penalties, windows, targets)`` for windows with the given columns."""
        found = [part @ self.coefficients for part in parts]
        return np.concatenate(found, axis=1) + self.intercepts[:, None]


def ridge_path(parts: Callable[[], Iterable[Floats]], targets: Floats, penalties: Floats) -> RidgePath:
    """Fit ridge regressions of the targets on standardised columns, one for each penalty. The intercept is not penalised.

    The forecasts for left-out windows are exact if columns and targets keep the mean and scale of all windows (Golub, Heath &
    Wahba 1979). These forecasts use the mean of all windows. The mean without the left-out window is low exactly where its
    target is high, so even a forecast without information would correlate with the target.

    Args:
        parts: function that returns the columns part by part, each ``(windows of the part, columns)``.
        targets: ``(windows, targets)`` numbers that the regressions forecast.
        penalties: ``(penalties,)`` strengths. A regression minimises the mean squared error plus penalty × Σ coefficient².
    """
    n, middle = len(targets), targets.mean(axis=0)
    mean = _sum(part.sum(axis=0) for part in parts()) / n
    variance = _sum(np.square(part - mean).sum(axis=0) for part in parts()) / n
    constant = variance <= 1e-12 * np.maximum(1.0, mean**2)
    scale = np.where(constant, np.inf, np.sqrt(np.where(constant, 1.0, variance)))
    if n < len(mean):
        _, roots, directions = np.linalg.svd((np.concatenate(list(parts())) - mean) / scale, full_matrices=False)
        strengths, basis = np.square(roots), directions.T
    else:
        scaled = ((part - mean) / scale for part in parts())
        strengths, basis = np.linalg.eigh(_sum(part.T @ part for part in scaled))
    basis = basis / scale[:, None]
    shrunk = 1 / (np.maximum(strengths, 0.0) + n * penalties[:, None])  # (penalties, rank)
    against = basis.T @ _sum((part - mean).T @ (targets[rows] - middle) for part, rows in _placed(parts()))
    inner = shrunk[:, :, None] * against  # (penalties, rank, targets)
    left_out = np.empty((len(penalties), *targets.shape))
    for part, rows in _placed(parts()):
        rotated = (part - mean) @ basis
        others = np.maximum(1 - shrunk @ np.square(rotated).T, 1e-9)  # (penalties, windows), 1 − leverage
        left_out[:, rows] = targets[rows] - (targets[rows] - middle - rotated @ inner) / others[:, :, None]
    coefficients = basis @ inner
    return RidgePath(coefficients, middle - mean @ coefficients, left_out)


@dataclass(frozen=True, eq=False)
class _Regression:
    """Regression that was chosen on validation.

    Attributes:
        columns: function of windows that returns the columns of the regression.
        coefficients, intercepts: ``(columns, targets)`` and ``(targets,)``.
        to_classes: map from forecasts to class probabilities; None if the regression forecasts values.
    """

    columns: Columns
    coefficients: Floats
    intercepts: Floats
    to_classes: ProbabilityMap | None = None

    def forecasts(self, sample: Sample) -> Floats:
        """Return the forecasts ``(windows, targets)`` of the regression."""
        found = [part @ self.coefficients for part in _parts(sample, self.columns)]
        return np.concatenate(found) + self.intercepts

    def linear_form(self, steps: int) -> LinearForm | None:
        """Return the forecasts in windows of ``steps`` bars; None if the columns are not linear in the inputs of a window."""
        if self.columns is _means:
            return of_means(self.coefficients.T, self.intercepts, steps)
        return LinearForm(self.coefficients.T, self.intercepts) if self.columns is _all_inputs else None


def _means(sample: Sample) -> Floats:
    return means(sample.inputs)


def _all_inputs(sample: Sample) -> Floats:
    return sample.inputs.reshape(len(sample), -1).astype(np.float64)


class RidgeRegression(Baseline):
    """Ridge regression of the value and of the classes. A logistic regression maps the forecast to class probabilities.

    For windows of bars, three sets of columns are tried. The first has the mean log ranges over 1, 5, 22 and 60 bars (HAR,
    Corsi 2009). The second also has the returns over these numbers of bars, the sizes of these returns (Corsi & Renò 2012),
    and the means of :class:`.LogisticBaseline`. The third has all inputs of the window instead of the means. Value, ranges
    and returns are relative to the usual size of a move. For the target volatility, this size is the median range that
    separates the classes. For other windows, two sets of columns are tried: the means, and all inputs of the window.

    For the probabilities, the log loss on validation selects columns, target (value or classes) and penalty. For the forecast
    of the value, the squared error on validation selects columns and penalty. The logistic regression is fitted on
    leave-one-out forecasts for training windows, so many columns cause no overconfidence.
    """

    name = value_name = "ridge regression"

    def fit(self, train: Sample, validation: Sample, *, n_classes: int, seed: int) -> None:
        """See the base class."""
        self._rates = base_rates(train.labels, n_classes)
        self._probable: _Regression | None = None
        self._valued: _Regression | None = None
        self._lowest_loss = _log_loss(validation, np.tile(self._rates, (len(validation), 1)))
        self._lowest_error = np.inf
        with threadpool_limits(1):  # sums in one order: the same result on every machine
            for columns in _column_sets(train):
                self._try(columns, train, validation)

    def probabilities(self, sample: Sample) -> Floats:
        """See the base class."""
        if self._probable is None or self._probable.to_classes is None:
            return np.tile(self._rates, (len(sample), 1))
        with threadpool_limits(1):
            return self._probable.to_classes.probabilities(self._probable.forecasts(sample))

    def values(self, sample: Sample) -> Floats | None:
        """See the base class."""
        if self._valued is None:
            return None
        with threadpool_limits(1):
            return _absolute(self._valued.forecasts(sample)[:, 0], sample)

    def linear_form(self, steps: int) -> LinearForm | None:
        """Return the logits of the classes in windows of ``steps`` bars.

        Return None if a class has no training window, or if the baseline used bars outside of the windows.
        """
        chosen = self._probable
        logits = None if chosen is None or chosen.to_classes is None else chosen.to_classes.logits()
        form = None if chosen is None or logits is None else chosen.linear_form(steps)
        return None if form is None or logits is None else form.before(*logits)

    def linear_values(self, steps: int) -> LinearForm | None:
        """Return the forecast of the value in windows of ``steps`` bars; see :meth:`linear_form` for None."""
        return None if self._valued is None else self._valued.linear_form(steps)

    def _try(self, columns: Columns, train: Sample, validation: Sample) -> None:
        """Fit the regressions on one set of columns.

        Keep the regressions with the lowest loss and the lowest error on validation so far.
        """
        classes = np.unique(train.labels)[1:]  # the first class has the remaining probability
        targets, groups = 1.0 * (train.labels[:, None] == classes), [slice(0, len(classes))]
        if train.values is not None:
            targets = np.column_stack([targets, _relative(train.values, train)])
            groups.append(slice(len(classes), None))
        path = ridge_path(lambda: _parts(train, columns), targets, PENALTIES)
        held_out = path.forecasts(_parts(validation, columns))

        def regression(place: int, group: slice, to_classes: ProbabilityMap | None = None) -> _Regression:
            return _Regression(columns, path.coefficients[place][:, group], path.intercepts[place, group], to_classes)

        for place, group in product(range(len(PENALTIES)), groups if len(classes) else ()):
            to_classes = ProbabilityMap(path.left_out[place][:, group], train.labels, self._rates)
            loss = _log_loss(validation, to_classes.probabilities(held_out[place][:, group]))
            if loss < self._lowest_loss:
                self._lowest_loss, self._probable = loss, regression(place, group, to_classes)
        if validation.values is not None and train.values is not None:
            for place in range(len(PENALTIES)):
                forecasts = _absolute(held_out[place][:, -1], validation)
                error = float(np.mean((validation.values - forecasts) ** 2))
                if error < self._lowest_error:
                    self._lowest_error, self._valued = error, regression(place, groups[-1])


def _column_sets(train: Sample) -> list[Columns]:
    """Return the sets of columns to try. The set with all inputs of a window is left out if it has too many columns."""
    steps = train.inputs.shape[1] * train.inputs.shape[2]
    sets: list[Columns] = [_means]
    if steps * min(steps, len(train)) <= MAX_BASIS:
        sets.append(_all_inputs)
    if train.bars is None:
        return sets
    return [
        lambda sample: _market(sample)[:, :N_RANGES],
        *(lambda sample, inputs=inputs: np.column_stack([_market(sample), inputs(sample)]) for inputs in sets),
    ]


def _market(sample: Sample) -> Floats:
    """Return the ranges, the returns and the sizes of the returns, ``(windows, 12)``; no columns without bars.

    Each value is at most 10 usual moves.
    """
    if sample.bars is None:
        return np.empty((len(sample), 0))
    market, rows = sample.bars
    columns = np.clip(market.columns[rows].astype(np.float64), -CLIP, CLIP)
    return np.column_stack([columns, np.abs(columns[:, N_RANGES:])])


def _relative(values: Floats, sample: Sample) -> Floats:
    """Return values relative to the usual size of a move, at most 10 usual moves. Without bars, return the values unchanged."""
    return values if sample.bars is None else np.clip(sample.bars[0].relative(values, sample.bars[1]), -CLIP, CLIP)


def _absolute(values: Floats, sample: Sample) -> Floats:
    return values if sample.bars is None else sample.bars[0].absolute(values, sample.bars[1])


def _log_loss(sample: Sample, probabilities: Floats) -> float:
    return -score("log_loss", sample.labels, probabilities)


def _parts(sample: Sample, columns: Columns) -> Iterator[Floats]:
    """Yield the columns of the windows in parts, each for some windows."""
    at_once = max(1, _AT_ONCE // (sample.inputs.shape[1] * sample.inputs.shape[2]))
    for first in range(0, len(sample), at_once):
        yield columns(sample.part(slice(first, first + at_once)))


def _placed(parts: Iterable[Floats]) -> Iterator[tuple[Floats, slice]]:
    """Yield each part together with the range of its rows in the whole array."""
    first = 0
    for part in parts:
        yield part, slice(first, first + len(part))
        first += len(part)


def _sum(arrays: Iterable[Floats]) -> Floats:
    """Return the sum of arrays from an iterator, so that only one array is in memory at a time."""
    return reduce(np.add, arrays)
