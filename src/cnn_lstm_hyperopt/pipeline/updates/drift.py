"""Drift as advice: changes of the features since the training, and changes of the error rate."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.problems import date_text
from cnn_lstm_hyperopt.data.splits import Integers
from cnn_lstm_hyperopt.data.window_table import WindowTable
from cnn_lstm_hyperopt.evaluation.dependence import variance_factor
from cnn_lstm_hyperopt.evaluation.drift.adwin import adwin
from cnn_lstm_hyperopt.evaluation.drift.two_sample import (
    benjamini_hochberg,
    independent_spacing,
    kolmogorov_smirnov,
    spent_level,
)

FEATURE_LEVEL = 0.05
"""Bound on the probability that features seem to have changed in any update of a version, if no feature has changed."""
ERROR_CONFIDENCE = 0.05
"""δ of ADWIN. benchmarks/updates.py measures false alarms and delays."""
MIN_RECENT, MIN_REFERENCE = 4, 8
"""Minimum numbers of samples after and before, of which a test can find a change."""
MIN_SIDE = 20
"""Minimum number of dates on each side of the cut around which the dependence of errors is estimated."""
MAX_DATES = 2_500
"""Number of newest dates whose errors ADWIN reads."""
_PART = 4_096
"""Number of windows whose means are computed at a time."""

Floats = NDArray[np.float64]


def feature_drift(
    table: WindowTable,
    reference: Integers,
    recent: Integers,
    *,
    lookback: int,
    names: Sequence[str],
    test: int,
) -> dict[str, Any]:
    """Return which features have changed between two sets of windows.

    Samples are means over windows, averaged over the symbols of a date, because symbols of one date are dependent. The samples of
    a feature are so far apart that they do not overlap and that their autocorrelation is negligible: an average over 14 bars,
    say, depends on bars before the window, too. A feature with too few such samples is not tested.

    Args:
        table: unscaled windows.
        reference: positions of the windows on which the present version was trained.
        recent: positions of the windows that it has not seen.
        lookback: number of bars in a window.
        names: names of the features.
        test: number of this test since the present version was trained, from 1.
    """
    earlier, later = (_means_by_date(table, chosen, lookback) for chosen in (reference, recent))
    spacings = [independent_spacing(series, lookback) for series in earlier.T]
    samples = [
        (before[::spacing], after[::spacing])
        for spacing, before, after in zip(spacings, earlier.T, later.T, strict=True)
    ]
    tested = [
        place
        for place, (before, after) in enumerate(samples)
        if len(before) >= MIN_REFERENCE and len(after) >= MIN_RECENT
    ]
    level = spent_level(FEATURE_LEVEL, test)
    p_values = np.array([kolmogorov_smirnov(*samples[place]) for place in tested])
    rejected = benjamini_hochberg(p_values, level)
    changed = [
        {"feature": names[tested[order]], "p": float(p_values[order])}
        for order in np.argsort(p_values, kind="stable")
        if rejected[order]
    ]
    return {
        "level": level,
        "reference": max((len(before) for before, _ in samples), default=0),
        "recent": max((len(after) for _, after in samples), default=0),
        "changed": changed if tested else None,
        "not_tested": [name for place, name in enumerate(names) if place not in tested],
    }


def _means_by_date(table: WindowTable, chosen: Integers, lookback: int) -> Floats:
    """Return the mean features of the windows of each date, (dates, features), in order of time."""
    if not len(chosen):
        return np.empty((0, table.features.shape[1]))
    dates, place = np.unique(table.dates[chosen], return_inverse=True)
    windows = sliding_window_view(table.features, lookback, axis=0)  # (windows, features, bars), a view
    totals = np.zeros((len(dates), table.features.shape[1]))
    for first in range(0, len(chosen), _PART):
        part = slice(first, first + _PART)
        np.add.at(totals, place[part], windows[table.starts[chosen[part]]].mean(axis=-1))
    return np.asarray(totals / np.bincount(place)[:, None])


def earlier_errors(events: Sequence[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """Return the error rate of each date that earlier updates measured, in order of time."""
    return [(date, error) for each in events for date, error in each.get("errors") or ()]


def error_drift(errors: Sequence[tuple[str, float]], new: int) -> dict[str, Any]:
    """Return the changes of the error rate that are found at one of the last ``new`` dates.

    The symbols of one date are dependent, so ADWIN reads the mean error of each date. The errors of neighbouring dates are
    dependent, too, for example if labels overlap.

    Args:
        errors: date and error rate, in order of time.
        new: number of dates since the last update.
    """
    kept = errors[-MAX_DATES:]
    rates = np.array([error for _, error in kept], dtype=np.float64)
    changes = adwin(rates, ERROR_CONFIDENCE, dependence=_dependence(rates))
    return {
        "dates": len(kept),
        "changes": [
            {"found": kept[each.found_at][0], "since": kept[each.cut][0], "before": each.before, "after": each.after}
            for each in changes
            if each.found_at >= len(kept) - new
        ],
    }


def _dependence(rates: Floats) -> float:
    """Return the factor by which dependence between neighbouring dates increases the variance of a mean.

    A change of the mean looks like dependence. So the factor is estimated after subtracting the mean of each side of the most
    likely cut, that with the largest standardised difference of means. With several changes, the factor is too large.
    """
    n = len(rates)
    cuts = np.arange(MIN_SIDE, n - MIN_SIDE + 1)
    if not len(cuts):
        return 1.0
    surplus = np.cumsum(rates)[cuts - 1] - cuts / n * rates.sum()
    cut = int(cuts[np.argmax(np.abs(surplus) / np.sqrt(cuts * (n - cuts)))])
    return variance_factor(np.concatenate([part - part.mean() for part in (rates[:cut], rates[cut:])]))


def errors_of(dates: NDArray[Any], errors: Floats) -> list[tuple[str, float]]:
    """Return date and error rate as values for strict JSON."""
    return [(date_text(date), float(error)) for date, error in zip(dates, errors, strict=True)]
