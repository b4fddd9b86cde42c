"""Two-sample tests on several features, with control of the false discovery rate."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def kolmogorov_smirnov(reference: Floats, recent: Floats) -> Floats:
    """Return the p-value of each feature: the exact two-sided test of Kolmogorov and Smirnov for two samples, ``(features,)``.

    Args:
        reference: (samples, features) independent samples of an earlier period.
        recent: (samples, features) independent samples of a later period.
    """
    from scipy.stats import ks_2samp  # imports in 0.3 s

    pairs = zip(reference.T, recent.T, strict=True)
    return np.array([ks_2samp(earlier, later, method="exact").pvalue for earlier, later in pairs])


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
