"""Log loss, in nats. Intervals: Student's t of its logit; of a difference (Diebold & Mariano 1995) on the scale of artanh."""

import math
from collections.abc import Sequence

import numpy as np

from cnn_lstm_hyperopt.metrics.base import NO_VARIANCE, Dependence, Floats, Labels, Metric, Probabilities, ratio
from cnn_lstm_hyperopt.metrics.proportions import Interval, wilson

LEAST_PROBABILITY = 1e-7
"""Probabilities are lifted to it before their logarithm: float32 can't tell smaller ones from 0."""
LARGEST_LOSS = -math.log(LEAST_PROBABILITY)


class LogLoss(Metric):
    """Mean log probability (nats) of the true class: the log loss with its sign turned."""

    name, place = "log_loss", 4
    description = "negated log loss: mean log probability of the true class, in nats"
    label = "log loss"
    score_range = (-LARGEST_LOSS, 0.0)
    small_gain = 0.0008
    """ln 2 less the entropy of p = 0.52."""
    lower_is_better = True
    fixed_error = False
    measured = "log probability"

    def scores(self, labels: Labels, probabilities: Probabilities, weights: Floats) -> Floats:
        """See the base class."""
        return np.asarray(ratio(weights @ self.of_windows(labels, probabilities), weights.sum(axis=-1)))

    def at_chance(self, counts: Floats, overlap: float) -> tuple[float, float]:
        """Minus the entropy of the base rates, and 1/n.

        Logits that are the base rates' and noise of spread u (see :meth:`standard_error`) gain −u²/2 on average with a standard
        deviation of u/√n. That they gain δ is likeliest at u = √(2δ), where δ is √(2 δ n) standard deviations away from the
        mean: two of them at δ = 2/n, thus two "standard errors" of 1/n. It holds for any base rates and any number of classes;
        of two even ones, u is half the spread of their logit.
        """
        p = counts / counts.sum()
        return float((p * np.log(p)).sum()), float(overlap / counts.sum())

    def mean_error(self, errors: Sequence[float]) -> float:
        """1/n stands for a variance, not for its root."""
        return sum(errors) / len(errors) ** 2

    def standard_error(self, score: float, chance: float, n: float) -> float:
        """√(2 g / n), with g the distance from chance.

        Logits that differ by ε from those of the base rates b change the log probability of the true class by a standard
        deviation u, u² = ε' (diag b − b b') ε. A model whose ε is right gains u²/2 on average, one whose ε is noise loses as
        much (both to second order): so g tells u. Not below 1/n, which is what g = 1/(2n) gives: so much a single fitted number
        gains by luck (Wilks 1938: 2 n g is χ² with one degree of freedom). It is the error of the gain over the best constant:
        what the windows are like, all trials have in common.
        """
        gap = max(abs(score - chance), 1 / (2 * n))
        return math.sqrt(2 * gap / n)

    def counted_range(self, chance: float) -> tuple[float, float]:
        """A log loss knows no worst: one diverging model would set the scale for all others.

        A model twice as bad as the best constant is as far below it as a perfect one is above, and what is worse still counts as
        bad as that.
        """
        low, high = self.score_range
        return max(low, 2 * chance), high

    def of_windows(self, labels: Labels, probabilities: Probabilities) -> Floats:
        """Log probability of the true class, ``(windows,)`` nats."""
        true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
        return np.asarray(np.log(np.maximum(true, LEAST_PROBABILITY)))

    def interval(
        self, labels: Labels, probabilities: Probabilities, estimate: float, dependence: Dependence
    ) -> Interval:
        """See the base class; within (log of the smallest probability, 0)."""
        logs = self.of_windows(labels, probabilities)
        loss, found = -float(logs.mean()), dependence.variance(logs)
        if loss <= 0 or loss >= LARGEST_LOSS:
            share, _ = dependence.effective_share(logs)
            at_end = wilson(min(max(loss / LARGEST_LOSS, 0.0), 1.0), share * len(logs), found.reach)
            return Interval(-LARGEST_LOSS * at_end.high, -LARGEST_LOSS * at_end.low)
        # half a window as bad as the worst: rare ones may be missing
        variance = found.value + 0.5 * float(logs.min() / len(logs)) ** 2
        odds = loss / (LARGEST_LOSS - loss)
        factor = math.exp(min(700.0, found.reach * math.sqrt(variance) * LARGEST_LOSS / (loss * (LARGEST_LOSS - loss))))
        low, high = (LARGEST_LOSS * each / (1 + each) for each in (odds / factor, odds * factor))
        return Interval(-high, -low)

    def paired_interval(
        self, labels: Labels, ours: Probabilities, theirs: Probabilities, dependence: Dependence
    ) -> Interval | None:
        """None where the difference is the same for all windows without being 0: what never varies shows no error."""
        gain = self.of_windows(labels, ours) - self.of_windows(labels, theirs)
        mean, variance = float(gain.mean()), dependence.variance(gain)
        if variance.value <= NO_VARIANCE:
            return Interval(0.0, 0.0) if abs(mean) < 1e-12 else None
        share = mean / LARGEST_LOSS
        reach = variance.reach * math.sqrt(variance.value) / LARGEST_LOSS / (1 - share**2)
        middle = math.atanh(share)
        return Interval(LARGEST_LOSS * math.tanh(middle - reach), LARGEST_LOSS * math.tanh(middle + reach))
