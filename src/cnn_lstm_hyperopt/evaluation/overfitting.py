"""Effect of selecting the best of many trials: the probability of backtest overfitting, and the deflated Sharpe ratio."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from cnn_lstm_hyperopt.metrics.base import means_of_blocks

Floats = NDArray[np.float64]

BLOCKS = 16
MIN_TRIALS = 10
"""Minimum number of trials. With fewer trials the probability of overfitting is not informative."""
LOW = 0.3
"""A probability of overfitting below this limit shows an order of the trials: on noise it is 0.5 ± 0.2."""
_CHUNK = 2_000_000
"""Maximum number of sums (combinations × trials × statistics) in memory at a time (16 MB)."""


def overfitting_meaning(probability: float) -> str:
    """Return sentences that explain a probability of backtest overfitting."""
    if probability < LOW:
        return "Trials that are good in one half of the validation data are also good in the other half."
    return (
        "The order of the trials on validation is mostly chance (pure noise gives 0.5 ± 0.2). The verdict does not use this"
        " order: it compares model 1 with the baselines on the test set."
    )


@dataclass(frozen=True)
class Overfitting:
    """Probability of backtest overfitting (PBO), estimated by combinatorially symmetric cross-validation.

    Attributes:
        probability: share of the combinations in which the best trial of one half is not better than the median trial in the
            other half. The probability is about 0.5 if all trials are equally good, near 0 if one trial is truly better, and
            None if unknown.
        n_trials: number of trials.
        n_units: number of units (dates, groups or windows).
        n_combinations: number of ways to divide the blocks into two halves.
        unit: kind of the units: dates, groups or windows.
        in_sample: score of the best trial in the half in which it was selected, averaged over the combinations.
        out_of_sample: score of the same trial in the other half, averaged over the combinations.
        reason: reason why the probability is unknown; None if it is known.
    """

    probability: float | None
    n_trials: int
    n_units: int
    unit: str
    n_combinations: int
    in_sample: float | None
    out_of_sample: float | None
    reason: str | None

    def unknown(self, reason: str) -> "Overfitting":
        """Return a copy without the probability, with a reason why it is unknown. An earlier reason is kept."""
        if self.probability is None:
            return self
        return replace(self, probability=None, in_sample=None, out_of_sample=None, reason=reason)


def probability_of_backtest_overfitting(
    sums: NDArray[np.floating],
    counts: NDArray[np.floating] | None = None,
    *,
    n_blocks: int = BLOCKS,
    unit: str = "dates",
) -> Overfitting:
    """Return the probability of backtest overfitting, estimated by combinatorially symmetric cross-validation.

    Bailey, Borwein, López de Prado & Zhu 2017, "The probability of backtest overfitting". The dates are divided into S
    blocks. There are C(S, S/2) ways to choose half of the blocks as in-sample blocks. For each way, the best in-sample trial
    of N trials has the relative rank ω = rank / (N + 1) out of sample, and the logit λ = ln(ω / (1 − ω)). The result is the
    share of ways with λ ≤ 0, which means ω ≤ ½. Trials with equal scores get their mean rank. If several trials are best
    in-sample, ω is the mean of their relative ranks.

    Args:
        sums: ``(dates, trials)`` sums of a score (hits, log probabilities or returns) over the windows of each date, in time
            order. Pass independent units in random order.
        counts: ``(dates,)`` number of windows of each date; None if each date has one window.
        n_blocks: number S of blocks, an even number.
        unit: kind of the rows of ``sums``: dates, groups or windows.

    Raises:
        ValueError: a sum is not finite, or ``n_blocks`` is odd or below 2.
    """
    n_units, n_trials = sums.shape
    if n_blocks < 2 or n_blocks % 2:
        raise ValueError(f"n_blocks must be even and at least 2, but got {n_blocks}")
    if not np.isfinite(sums).all():
        raise ValueError(
            f"every trial needs a finite sum for all {unit}; omit trials that were not scored on all of them"
        )

    weights = np.ones(n_units) if counts is None else counts.astype(np.float64)
    of_block = np.eye(n_blocks)[blocks_of(n_units, n_blocks)]
    statistics = np.stack([sums.T @ of_block, np.broadcast_to(weights @ of_block, (n_trials, n_blocks))], axis=-1)
    return overfitting_of_blocks(means_of_blocks, statistics, n_units, unit=unit)


def blocks_of(n_units: int, n_blocks: int = BLOCKS) -> NDArray[np.int64]:
    """Return the number of each unit's block, ``(units,)``.

    A block has consecutive units. The sizes of blocks differ by at most 1.
    """
    ends = np.linspace(0, n_units, n_blocks + 1).astype(np.int64)[1:]
    return np.searchsorted(ends, np.arange(n_units), side="right")


def overfitting_of_blocks(
    block_scores: Callable[[Floats, Floats], Floats], statistics: Floats, n_units: int, *, unit: str
) -> Overfitting:
    """Return the probability of backtest overfitting for scores that are computed from the statistics of blocks.

    Args:
        block_scores: function such as :meth:`.Metric.block_scores`. The arguments of the function are statistics (trials,
            blocks, …) and chosen blocks (combinations, blocks). The function returns scores (combinations, trials).
        statistics: ``(trials, blocks, …)`` statistics of each trial in each block.
        n_units: number of units in all blocks.
        unit: kind of the units.
    """
    n_trials, n_blocks = statistics.shape[:2]

    def unknown(reason: str) -> Overfitting:
        return Overfitting(None, n_trials, n_units, unit, 0, None, None, reason)

    if n_trials < MIN_TRIALS:
        return unknown(f"too few trials: {n_trials}, and at least {MIN_TRIALS} are needed")
    if n_units < 2 * n_blocks:
        return unknown(f"{n_blocks} blocks need at least {2 * n_blocks} {unit}, but there are {n_units}")
    halves = _all_halves(n_blocks)
    rows = max(1, _CHUNK // statistics[:, 0].size)
    parts = [
        _best_of_half(block_scores, statistics, halves[first : first + rows]) for first in range(0, len(halves), rows)
    ]
    ranks, inside, outside, differ = (np.concatenate(each) for each in zip(*parts, strict=True))
    if not len(ranks):
        return unknown("a class is missing in one half of all combinations")
    if not differ.any():
        return unknown(f"all {n_trials} trials have the same scores")
    return Overfitting(
        probability=float((2 * ranks <= n_trials + 1).mean()),
        n_trials=n_trials,
        n_units=n_units,
        unit=unit,
        n_combinations=len(ranks),
        in_sample=float(inside.mean()),
        out_of_sample=float(outside.mean()),
        reason=None,
    )


def _all_halves(n_blocks: int) -> NDArray[np.float64]:
    """Return all ways to choose half of the blocks, ``(combinations, blocks)``.

    A number is 1 if the block is chosen, else 0.
    """
    halves = np.zeros((math.comb(n_blocks, n_blocks // 2), n_blocks))
    for row, chosen in enumerate(itertools.combinations(range(n_blocks), n_blocks // 2)):
        halves[row, list(chosen)] = 1.0
    return halves


def _best_of_half(
    block_scores: Callable[[Floats, Floats], Floats], statistics: Floats, halves: Floats
) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Return facts about the best in-sample trial for one batch of combinations. ``halves`` is ``(combinations, blocks)``.

    Returns:
        Four arrays ``(combinations,)``: rank out of sample, score in sample, score out of sample, and a mask that is true if
        the trials' scores differ. Combinations with an undefined score are left out.
    """
    inside, outside = block_scores(statistics, halves).round(12), block_scores(statistics, 1 - halves).round(12)
    known = np.isfinite(inside).all(axis=1) & np.isfinite(outside).all(axis=1)  # rounded: ties stay ties
    inside, outside = inside[known], outside[known]
    best = inside == inside.max(axis=1, keepdims=True)
    n_best = best.sum(axis=1)
    ranks = pd.DataFrame(outside).rank(axis=1).to_numpy()
    mean_rank = np.where(best, ranks, 0.0).sum(axis=1) / n_best
    return mean_rank, inside.max(axis=1), np.where(best, outside, 0.0).sum(axis=1) / n_best, np.ptp(inside, axis=1) > 0


def sharpe(returns: Floats) -> float | None:
    """Return the Sharpe ratio of returns: mean / sample standard deviation, not annualised.

    None if the returns are constant or there are fewer than 2.
    """
    if len(returns) < 2:
        return None
    deviation = float(returns.std(ddof=1))
    return float(returns.mean()) / deviation if deviation > 1e-12 else None


def sharpe_confidence(observed: float, benchmark: float, *, n: int, skewness: float, kurtosis: float) -> float | None:
    """Return the probability that the true Sharpe ratio exceeds ``benchmark``, computed from the moments of the returns.

    Bailey & López de Prado 2012, "The Sharpe ratio efficient frontier" (probabilistic Sharpe ratio, PSR).

    Args:
        observed: measured Sharpe ratio, not annualised.
        benchmark: Sharpe ratio to exceed, not annualised.
        n: number of returns.
        skewness: skewness of the returns.
        kurtosis: kurtosis of the returns, which is 3 for a normal distribution.

    Returns:
        The probability, or None if the moments give no positive variance of the ratio, or if there are fewer than 2 returns.
    """
    spread = 1 - skewness * observed + (kurtosis - 1) / 4 * observed**2
    if n < 2 or spread <= 0:
        return None
    return float(ndtr((observed - benchmark) * math.sqrt(n - 1) / math.sqrt(spread)))


def probabilistic_sharpe(returns: Floats, benchmark: float = 0.0) -> float | None:
    """Return the probability that the true Sharpe ratio of ``returns (periods,)`` exceeds ``benchmark``.

    Both Sharpe ratios are not annualised; see :func:`sharpe_confidence`. The result is None if the returns are constant or if
    there are fewer than 2 returns.
    """
    from scipy.stats import kurtosis, skew  # half a second

    observed = sharpe(returns)
    if observed is None:
        return None
    return sharpe_confidence(
        observed,
        benchmark,
        n=len(returns),
        skewness=float(skew(returns)),
        kurtosis=float(kurtosis(returns, fisher=False)),
    )


def expected_maximum_sharpe(variance: float, n_trials: int) -> float:
    """Return the expected maximum Sharpe ratio of ``n_trials`` trials without skill.

    Bailey & López de Prado 2014, "The deflated Sharpe ratio", eq. 1: √V ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e))), with γ the
    constant of Euler and Mascheroni. The result is 0 for a single trial, because no trial was selected.

    Args:
        variance: variance V of the trials' Sharpe ratios.
        n_trials: number N ≥ 1 of all trials.
    """
    if n_trials < 2:
        return 0.0
    tails = ndtri(1 - 1 / n_trials), ndtri(1 - 1 / (n_trials * math.e))
    return math.sqrt(variance) * float((1 - np.euler_gamma) * tails[0] + np.euler_gamma * tails[1])


def deflated_sharpe(returns: Floats, trial_sharpes: Sequence[float], n_trials: int) -> float | None:
    """Return the deflated Sharpe ratio of the selected strategy.

    The deflated Sharpe ratio is the probability that the true Sharpe ratio exceeds the expected maximum of trials without
    skill.

    Bailey & López de Prado 2014, eq. 2. Similar trials count as independent, which makes the probability lower.

    Args:
        returns: ``(periods,)`` returns of the selected strategy.
        trial_sharpes: Sharpe ratios of the trials, for periods of the same length. The variance between trials is estimated
            from them.
        n_trials: number of all trials, which is at least the number of ``trial_sharpes``.

    Returns:
        The probability, or None if the returns are constant, or if there are several trials but fewer than two Sharpe ratios.
    """
    if n_trials > 1 and len(trial_sharpes) < 2:
        return None
    variance = float(np.var(np.asarray(trial_sharpes), ddof=1)) if len(trial_sharpes) > 1 else 0.0
    return probabilistic_sharpe(returns, expected_maximum_sharpe(variance, n_trials))
