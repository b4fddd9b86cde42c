"""Log loss, in nats. The interval of the score is a Student's t interval on the scale of the logit.

The interval of a difference of two scores (Diebold & Mariano 1995) is a Student's t interval on the scale of artanh.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.metrics.base import (
    NO_VARIANCE,
    Dependence,
    Floats,
    Labels,
    Metric,
    Probabilities,
    block_means,
    ratio,
)
from cnn_lstm_hyperopt.metrics.proportions import Interval, wilson

MIN_PROBABILITY = 1e-7
"""Lower bound to which probabilities are raised before the logarithm; float32 can't distinguish smaller probabilities from 0."""
MAX_LOSS = -math.log(MIN_PROBABILITY)


class LogLoss(Metric):
    """Mean log probability (in nats) of the true class, which is the negated log loss."""

    name, place = "log_loss", 4
    description = "negated log loss: mean log probability of the true class, in nats"
    label = "log loss"
    score_range = (-MAX_LOSS, 0.0)
    small_gain = 0.0008
    """Gain of p = 52 % correct predictions: ln 2 minus the entropy (in nats) of an event with probability 0.52."""
    lower_is_better = True
    fixed_error = False
    measured = "log probability"

    def scores(self, labels: Labels, probabilities: Probabilities, weights: Floats) -> Floats:
        return np.asarray(ratio(weights @ self.of_windows(labels, probabilities), weights.sum(axis=-1)))

    def at_chance(self, counts: Floats, overlap: float) -> tuple[float, float]:
        """Return the expected score of predicting the base rates (minus their entropy) and its standard error 1/n (n windows).

        Consider a forecast without skill: the logits of the base rates plus noise that changes the log probability of the true
        class by a standard deviation u (see :meth:`standard_error`). Compared with the score of the base rates, its score changes
        by −u²/2 on average, with a standard deviation of u/√n. A gain of δ or more is most probable for u = √(2δ), where δ is √(2
        δ n) standard deviations above the mean. This distance is two standard deviations if δ = 2/n. So two "standard errors" are
        2/n, and one "standard error" is 1/n. This result holds for any base rates and number of classes. For two balanced
        classes, u is half the standard deviation of the noise in the logit.
        """
        p = counts / counts.sum()
        return float((p * np.log(p)).sum()), float(overlap / counts.sum())

    def mean_error(self, errors: Sequence[float]) -> float:
        """Return the standard error of the mean over folds; errors of the form 1/n are combined like variances."""
        return sum(errors) / len(errors) ** 2

    def standard_error(self, score: float, chance: float, n: float) -> float:
        """Return the standard error √(2 g / n) of a score on n windows, with g the distance of the score from chance.

        This is the error of the gain over the best constant prediction, since all trials have the same windows. Logits that
        differ by ε from the logits of the base rates b change the log probability of the true class by a standard deviation u,
        with u² = ε' (diag b − b b') ε. To second order, correct differences ε gain u²/2 on average, and random differences ε lose
        u²/2. So g determines u. The lower bound of g is 1/(2n), which gives an error of 1/n. This bound is the expected gain of
        one fitted parameter without skill (Wilks 1938: 2 n g is χ² with one degree of freedom).
        """
        gap = max(abs(score - chance), 1 / (2 * n))
        return math.sqrt(2 * gap / n)

    def counted_range(self, chance: float) -> tuple[float, float]:
        """Return (2 × chance, 0), so that the very large loss of a diverging model does not determine the scale of all scores.

        A score at the lower end is as far below chance as the score of a perfect model is above chance.
        """
        low, high = self.score_range
        return max(low, 2 * chance), high

    def of_windows(self, labels: Labels, probabilities: Probabilities) -> Floats:
        """Return the log probability of the true class, ``(windows,)``, in nats."""
        true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
        return np.asarray(np.log(np.maximum(true, MIN_PROBABILITY)))

    def block_statistics(
        self, labels: Labels, probabilities: Probabilities, block: NDArray[np.int64], n_blocks: int
    ) -> Floats:
        return block_means(self.of_windows(labels, probabilities), block, n_blocks)

    def interval(
        self, labels: Labels, probabilities: Probabilities, estimate: float, dependence: Dependence
    ) -> Interval:
        """Return the interval of the score, limited to values between the logarithm of the minimum probability and 0."""
        logs = self.of_windows(labels, probabilities)
        loss, found = -float(logs.mean()), dependence.variance(logs)
        if loss <= 0 or loss >= MAX_LOSS:
            share, _ = dependence.effective_share(logs)
            at_end = wilson(min(max(loss / MAX_LOSS, 0.0), 1.0), share * len(logs), found.reach)
            return Interval(-MAX_LOSS * at_end.high, -MAX_LOSS * at_end.low)
        # Adds the variance of half a window with the worst loss, since the data may have none of the rare bad windows.
        variance = found.value + 0.5 * float(logs.min() / len(logs)) ** 2
        odds = loss / (MAX_LOSS - loss)
        factor = math.exp(min(700.0, found.reach * math.sqrt(variance) * MAX_LOSS / (loss * (MAX_LOSS - loss))))
        low, high = (MAX_LOSS * each / (1 + each) for each in (odds / factor, odds * factor))
        return Interval(-high, -low)

    def paired_interval(
        self, labels: Labels, ours: Probabilities, theirs: Probabilities, dependence: Dependence
    ) -> Interval | None:
        """Return the interval of the difference of two scores; None if the difference is the same non-zero number in all windows.

        The error of a difference that is the same in all windows can't be estimated.
        """
        gain = self.of_windows(labels, ours) - self.of_windows(labels, theirs)
        mean, variance = float(gain.mean()), dependence.variance(gain)
        if variance.value <= NO_VARIANCE:
            return Interval(0.0, 0.0) if abs(mean) < 1e-12 else None
        share = mean / MAX_LOSS
        reach = variance.reach * math.sqrt(variance.value) / MAX_LOSS / (1 - share**2)
        middle = math.atanh(share)
        return Interval(MAX_LOSS * math.tanh(middle - reach), MAX_LOSS * math.tanh(middle + reach))
