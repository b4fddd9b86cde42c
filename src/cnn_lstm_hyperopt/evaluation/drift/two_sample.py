"""Two-sample tests on several features, with control of the false discovery rate."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def kolmogorov_smirnov(reference: Floats, recent: Floats) -> float:
    """Return the p-value of the exact two-sided test of Kolmogorov and Smirnov for two samples.

    Args:
        reference: (samples,) independent samples of an earlier period.
        recent: (samples,) independent samples of a later period.
    """
    from scipy.stats import ks_2samp  # imports in 0.3 s

    return float(ks_2samp(reference, recent, method="exact").pvalue)


def independent_spacing(series: Floats, step: int) -> int:
    """Return the smallest multiple of ``step`` at which the autocorrelation of a series is negligible.

    An autocorrelation of n values counts as negligible below 2 √(log₁₀ n / n), the bound of Politis & White 2004. The result is
    ``step`` for a constant series.

    Args:
        series: (n,) values in order of time.
        step: minimum spacing, at least 1.
    """
    n = len(series)
    if n < 2 or series.min() == series.max():
        return step
    centred = series - series.mean()
    negligible = 2 * math.sqrt(math.log10(n) / n) * float(centred @ centred)
    lags = range(step, n, step)
    return next((lag for lag in lags if float(centred[lag:] @ centred[:-lag]) < negligible), max(step, n))


def benjamini_hochberg(p_values: Floats, level: float) -> NDArray[np.bool_]:
    """Return which hypotheses are rejected so that the expected share of false rejections is at most ``level``, (hypotheses,).

    Source: Benjamini & Hochberg 1995. If no hypothesis is false, the probability of any rejection is at most ``level``.
    """
    order = np.argsort(p_values, kind="stable")
    passed = np.flatnonzero(p_values[order] <= level * np.arange(1, len(p_values) + 1) / len(p_values))
    rejected = np.zeros(len(p_values), dtype=bool)
    rejected[order[: passed[-1] + 1 if len(passed) else 0]] = True
    return rejected


def spent_level(level: float, test: int) -> float:
    """Return the level of test number ``test`` (from 1) of a series whose levels add up to ``level``: level · 6 / (π test)²."""
    return level * 6 / (math.pi * test) ** 2
