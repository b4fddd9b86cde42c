"""Confidence intervals of proportions and of paired differences of proportions.

Each interval is within the range of possible values. Counts may be fractional, because a dependent window counts less than 1.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

CONFIDENCE = 0.95
"""Default level of confidence intervals."""


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


class Variance(NamedTuple):
    """Variance of an estimate.

    Attributes:
        value: variance of the estimate, in squared units of the score.
        freedom: degrees of freedom with which the variance is estimated.
        level: confidence level of the estimate's interval, such as 0.95.
    """

    value: float
    freedom: float
    level: float = CONFIDENCE

    @property
    def reach(self) -> float:
        """Half-width of the estimate's interval, in standard errors."""
        return standard_errors(self.freedom, self.level)


def standard_errors(freedom: float, level: float = CONFIDENCE) -> float:
    """Return the two-sided quantile of Student's t for a confidence level, with these degrees of freedom."""
    from scipy.special import stdtrit  # lazy: takes 0.1 s

    return float(stdtrit(min(freedom, 1e9), (1 + level) / 2))


def wilson(share: float, n: float, reach: float) -> Interval:
    """Return Wilson's interval (1927) of a proportion, which contains all p with ``|share − p| ≤ reach √(p (1 − p) / n)``.

    Args:
        share: observed proportion, in [0, 1].
        n: effective number of windows, > 0.
        reach: half-width of the interval in standard errors.
    """
    square = reach**2 / n
    middle = (share + square / 2) / (1 + square)
    half = math.sqrt(square) * math.sqrt(max(0.0, share * (1 - share) + square / 4)) / (1 + square)
    return Interval(
        0.0 if share <= 0 else max(0.0, middle - half),
        1.0 if share >= 1 else min(1.0, middle + half),
    )


def paired_difference(gains: float, losses: float, n: float, reach: float) -> Interval:
    """Return Tango's score interval (1998) of the paired difference of two proportions, (gains − losses) / n.

    The interval excludes 0 exactly if McNemar's test without continuity correction is significant: |gains − losses| > reach
    √(gains + losses). Fagerland, Lydersen & Laake 2014 recommend this interval.

    Args:
        gains: effective number of windows that only the first model classifies correctly.
        losses: effective number of windows that only the second model classifies correctly.
        n: effective number of all windows, ≥ gains + losses.
        reach: half-width of the interval in standard errors.
    """
    return Interval(-_highest_difference(losses, gains, n, reach), _highest_difference(gains, losses, n, reach))


def _highest_difference(gains: float, losses: float, n: float, reach: float) -> float:
    """Return the largest difference d for which the test statistic ``(n d − (gains − losses)) / √variance`` is ≤ ``reach``."""
    from scipy.optimize import brentq  # lazy: takes 0.1 s

    estimate = (gains - losses) / n

    def score(difference: float) -> float:
        # Tango 1998, eq. 3.4: maximum likelihood estimate of the share of losses under this difference
        linear = -gains - losses + (2 * n - gains + losses) * difference
        constant = -losses * difference * (1 - difference)
        root = math.sqrt(max(0.0, linear**2 - 8 * n * constant))
        share = max(0.0, (root - linear) / (4 * n))
        variance = n * (2 * share + difference * (1 - difference))
        away = n * (difference - estimate)
        if variance <= 0:
            return math.inf if away > 0 else 0.0
        return away / math.sqrt(variance)

    if estimate >= 1 or score(1 - 1e-12) <= reach:
        return 1.0
    return float(brentq(lambda difference: score(difference) - reach, estimate, 1 - 1e-12, xtol=1e-12))


def combined(estimates: Sequence[float], intervals: Sequence[Interval], correlation: float = 0.0) -> Interval:
    """Return the interval of a sum of estimates, from the interval of each estimate (MOVER, Zou & Donner 2008).

    The lower end is at least the sum of the intervals' lower ends; the upper end is at most the sum of their upper ends.

    Args:
        estimates: estimates that are summed.
        intervals: interval of each estimate, which contains the estimate.
        correlation: correlation between the errors of two estimates; must be 0 if there are not exactly two estimates.
    """
    below = [estimate - interval.low for estimate, interval in zip(estimates, intervals, strict=True)]
    above = [interval.high - estimate for estimate, interval in zip(estimates, intervals, strict=True)]
    total = sum(estimates)
    return Interval(total - _length(below, correlation), total + _length(above, correlation))


def _length(parts: Sequence[float], correlation: float) -> float:
    square = sum(part**2 for part in parts)
    if len(parts) == 2:
        square += 2 * correlation * parts[0] * parts[1]
    return math.sqrt(max(0.0, square))
