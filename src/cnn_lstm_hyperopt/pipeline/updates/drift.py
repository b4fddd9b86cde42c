"""Drift as advice: changes of the features since the training, and changes of the error rate."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.problems import date_text
from cnn_lstm_hyperopt.data.splits import Integers
from cnn_lstm_hyperopt.data.window_table import WindowTable
from cnn_lstm_hyperopt.evaluation.dependence import autoregression
from cnn_lstm_hyperopt.evaluation.drift.adwin import adwin
from cnn_lstm_hyperopt.evaluation.drift.two_sample import benjamini_hochberg, kolmogorov_smirnov, spent_level

FEATURE_LEVEL = 0.05
"""Bound on the probability that features seem to have changed in any update of a version, if no feature has changed."""
ERROR_CONFIDENCE = 0.05
"""δ of ADWIN. benchmarks/updates.py measures false alarms and delays."""
MIN_RECENT, MIN_REFERENCE = 4, 8
"""Minimum numbers of samples after and before, of which a test can find a change."""
MAX_DATES = 2_500
"""Number of newest dates whose errors ADWIN reads."""

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

    Samples are means over windows that do not overlap, averaged over the symbols of a date, because overlapping windows and
    symbols of one date are dependent.

    Args:
        table: unscaled windows.
        reference: positions of the windows on which the present version was trained.
        recent: positions of the windows that it has not seen.
        lookback: number of bars in a window.
        names: names of the features.
        test: number of this test since the present version was trained, from 1.
    """
    earlier, later = (_samples(table, chosen, lookback) for chosen in (reference, recent))
    level = spent_level(FEATURE_LEVEL, test)
    found: dict[str, Any] = {"level": level, "reference": len(earlier), "recent": len(later), "changed": None}
    if len(earlier) < MIN_REFERENCE or len(later) < MIN_RECENT:
        return found
    p_values = kolmogorov_smirnov(earlier, later)
    rejected = benjamini_hochberg(p_values, level)
    order = np.argsort(p_values, kind="stable")
    found["changed"] = [{"feature": names[place], "p": float(p_values[place])} for place in order if rejected[place]]
    return found


def _samples(table: WindowTable, chosen: Integers, lookback: int) -> Floats:
    """Return the mean features of windows that do not overlap, (samples, features)."""
    kept = np.unique(table.dates[chosen])[::lookback]
    windows = chosen[np.isin(table.dates[chosen], kept)]
    if not len(windows):
        return np.empty((0, table.features.shape[1]))
    means = np.stack([table.features[start : start + lookback].mean(axis=0) for start in table.starts[windows]])
    _, place = np.unique(table.dates[windows], return_inverse=True)
    totals = np.zeros((place.max() + 1, means.shape[1]))
    np.add.at(totals, place, means)
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
    """Return the factor (1 + φ) / (1 − φ) by which an autoregression with the coefficient φ increases the variance of a mean.

    A change of the mean looks like autocorrelation. So φ is estimated after subtracting the mean of each part between the changes
    that ADWIN finds if dates are taken to be independent.
    """
    parts = np.split(rates, sorted({change.cut for change in adwin(rates, ERROR_CONFIDENCE)}))
    coefficient = autoregression(np.concatenate([part - part.mean() for part in parts if len(part)] or [rates]))
    return (1 + coefficient) / (1 - coefficient)


def errors_of(dates: NDArray[Any], errors: Floats) -> list[tuple[str, float]]:
    """Return date and error rate as values for strict JSON."""
    return [(date_text(date), float(error)) for date, error in zip(dates, errors, strict=True)]
