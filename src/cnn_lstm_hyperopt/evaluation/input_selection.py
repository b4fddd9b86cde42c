"""Selection of inputs: which groups of inputs are more important than shadows, permuted copies of the inputs.

A group is kept if its importance is above that of the best shadow and the confidence interval of its importance is above 0. The
comparison with the best of all shadows limits the number of irrelevant groups that are kept by chance (Boruta, Kursa & Rudnicki
2010).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.evaluation.bootstrap import stationary_sums
from cnn_lstm_hyperopt.evaluation.dependence import automatic_length
from cnn_lstm_hyperopt.metrics.proportions import CONFIDENCE, Interval
from cnn_lstm_hyperopt.utils.rng import stream

Floats = NDArray[np.float64]
N_TRIALS = 3
"""Maximum number of trials whose networks are examined."""
TRAININGS = 3 * N_TRIALS
"""Maximum number of trainings: of each trial with shadows, with all groups, and with the recommended groups."""
RESAMPLES = 1_000
MIN_UNITS = 10
"""Minimum number of dates, groups or windows for intervals."""
_STATIONARY = (2 / 3) ** (1 / 3)  # see :mod:`.bootstrap`
_LONGEST = 1 / 8
"""Maximum mean length of a block of the bootstrap, as a share of all units."""


@dataclass(frozen=True)
class GroupImportance:
    """Importance of a group of inputs.

    Attributes:
        mean: mean increase of the log loss on validation, in nats, when values of other dates replace the inputs of the group.
        interval: confidence interval of the mean.
        shadow: mean increase for the group's shadow; None: the group has no shadow, because it is always used.
        kept: whether the group is recommended.
    """

    mean: float
    interval: Interval
    shadow: float | None
    kept: bool


def mean_intervals(values: Mapping[str, Floats], units: NDArray[np.int64], *, in_time: bool) -> dict[str, Interval]:
    """Return the confidence interval of the mean of each series; all series are resampled together (basic bootstrap).

    Args:
        values: ``(windows,)`` values of each series.
        units: ``(windows,)`` number of each window's date or group, from 0.
        in_time: True if the units are in order of time. Then the resamples consist of blocks of consecutive units; their mean
            length is the longest automatic length of all series.

    Raises:
        ValueError: there are fewer than :data:`MIN_UNITS` units.
    """
    n_units = int(units.max()) + 1 if len(units) else 0
    if n_units < MIN_UNITS:
        raise ValueError(f"{n_units} units are too few for intervals; {MIN_UNITS} are needed")
    counts = np.bincount(units, minlength=n_units).astype(np.float64)
    sums = np.stack([np.bincount(units, weights=each, minlength=n_units) for each in values.values()], axis=1)
    means = sums.sum(axis=0) / counts.sum()
    length = 1.0
    if in_time:
        residuals = sums - means * counts[:, None]
        longest = max(automatic_length(column) for column in residuals.T)
        length = max(1.0, min(_STATIONARY * longest, _LONGEST * n_units))
    totals = stationary_sums(
        np.concatenate([sums, counts[:, None]], axis=1), length, RESAMPLES, stream(0, 0, "input importance")
    )
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(totals[:, :-1] / totals[:, -1:], [tail, 1 - tail], axis=0)
    return {
        name: Interval(float(2 * mean - top), float(2 * mean - bottom))
        for name, mean, bottom, top in zip(values, means, low, high, strict=True)
    }


def importances(
    increases: Mapping[str, Floats],
    shadows: Mapping[str, Floats],
    units: NDArray[np.int64],
    *,
    in_time: bool,
) -> dict[str, GroupImportance]:
    """Return the importance of each group of inputs, and whether the group beats all shadows.

    Args:
        increases: ``(windows,)`` increases of the log loss for each group.
        shadows: ``(windows,)`` increases of the log loss for the shadow of each group that has one.
        units, in_time: see :func:`mean_intervals`.
    """
    intervals = mean_intervals(increases, units, in_time=in_time)
    of_shadows = {group: float(values.mean()) for group, values in shadows.items()}
    threshold = best_shadow(of_shadows.values())
    return {
        group: GroupImportance(
            mean=float(values.mean()),
            interval=intervals[group],
            shadow=of_shadows.get(group),
            kept=group not in of_shadows or (float(values.mean()) > threshold and intervals[group].low > 0),
        )
        for group, values in increases.items()
    }


def best_shadow(importances: Iterable[float]) -> float:
    """Return the importance that a group must exceed: that of the best shadow, but at least 0."""
    return max((0.0, *importances))
