"""Log loss, in nats. Intervals: Student's t of its logit; of a difference (Diebold & Mariano 1995) on the scale of artanh."""

import math
from collections.abc import Sequence

import numpy as np

from cnn_lstm_hyperopt.metrics.base import NO_VARIANCE, Dependence, Floats, Labels, Metric, Probabilities, ratio
from cnn_lstm_hyperopt.metrics.proportions import Interval, wilson

MIN_PROBABILITY = 1e-7
"""Lower bound of probabilities before the logarithm; float32 can't distinguish smaller ones from 0."""
MAX_LOSS = -math.log(MIN_PROBABILITY)


class LogLoss(Metric):
    """Mean log probability (nats) of the true class: the negated log loss."""

    name, place = "log_loss", 4
    description = "negated log loss: mean log probability of the true class, in nats"
    label = "log loss"
    score_range = (-MAX_LOSS, 0.0)
    small_gain = 0.0008
    """ln 2 minus the entropy of p = 0.52."""
    lower_is_better = True
    fixed_error = False
    measured = "log probability"

    def scores(self, labels: Labels, probabilities: Probabilities, weights: Floats) -> Floats:
        return np.asarray(ratio(weights @ self.of_windows(labels, probabilities), weights.sum(axis=-1)))

    def at_chance(self, counts: Floats, overlap: float) -> tuple[float, float]:
        """Return minus the entropy of the base rates, and 1/n.

        Logits of the base rates plus noise of spread u (see :meth:`standard_error`) gain −u²/2 on average, with a standard
        deviation of u/√n. A gain of δ is most probable at u = √(2δ), √(2 δ n) standard deviations above the mean. δ = 2/n is two
        of them, which makes two "standard errors" of 1/n. This holds for any base rates and number of classes; for two balanced
        classes, u is half the spread of the logit.
        """
        p = counts / counts.sum()
        return float((p * np.log(p)).sum()), float(overlap / counts.sum())

    def mean_error(self, errors: Sequence[float]) -> float:
        """Return the mean error; 1/n behaves like a variance, not like its root."""
        return sum(errors) / len(errors) ** 2

    def standard_error(self, score: float, chance: float, n: float) -> float:
        """Return √(2 g / n), with g the distance from chance.

        Logits that differ by ε from those of the base rates b change the log probability of the true class by a standard
        deviation u, u² = ε' (diag b − b b') ε. To second order, a model with correct ε gains u²/2 on average, and noise loses as
        much; so g determines u. The lower bound is 1/n, from g = 1/(2n): the expected gain of one fitted parameter without skill
        (Wilks 1938: 2 n g is χ² with one degree of freedom). It is the error of the gain over the best constant, since all trials
        have the same windows.
        """
        gap = max(abs(score - chance), 1 / (2 * n))
        return math.sqrt(2 * gap / n)

    def counted_range(self, chance: float) -> tuple[float, float]:
        """Return (2 × chance, 0): a log loss has no upper bound, and one diverging model would determine the scale of all others.

        A model at the lower end is as far below the best constant as a perfect one is above it.
        """
        low, high = self.score_range
        return max(low, 2 * chance), high

    def of_windows(self, labels: Labels, probabilities: Probabilities) -> Floats:
        """Return the log probability of the true class, ``(windows,)``, in nats."""
        true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
        return np.asarray(np.log(np.maximum(true, MIN_PROBABILITY)))

    def interval(
        self, labels: Labels, probabilities: Probabilities, estimate: float, dependence: Dependence
    ) -> Interval:
        """See the base class; within (log of the min. probability, 0)."""
        logs = self.of_windows(labels, probabilities)
        loss, found = -float(logs.mean()), dependence.variance(logs)
        if loss <= 0 or loss >= MAX_LOSS:
            share, _ = dependence.effective_share(logs)
            at_end = wilson(min(max(loss / MAX_LOSS, 0.0), 1.0), share * len(logs), found.reach)
            return Interval(-MAX_LOSS * at_end.high, -MAX_LOSS * at_end.low)
        # Adds half a window as bad as the worst, since rare bad windows may be missing.
        variance = found.value + 0.5 * float(logs.min() / len(logs)) ** 2
        odds = loss / (MAX_LOSS - loss)
        factor = math.exp(min(700.0, found.reach * math.sqrt(variance) * MAX_LOSS / (loss * (MAX_LOSS - loss))))
        low, high = (MAX_LOSS * each / (1 + each) for each in (odds / factor, odds * factor))
        return Interval(-high, -low)

    def paired_interval(
        self, labels: Labels, ours: Probabilities, theirs: Probabilities, dependence: Dependence
    ) -> Interval | None:
        """Return None if the difference is a constant other than 0, which has no estimable error."""
        gain = self.of_windows(labels, ours) - self.of_windows(labels, theirs)
        mean, variance = float(gain.mean()), dependence.variance(gain)
        if variance.value <= NO_VARIANCE:
            return Interval(0.0, 0.0) if abs(mean) < 1e-12 else None
        share = mean / MAX_LOSS
        reach = variance.reach * math.sqrt(variance.value) / MAX_LOSS / (1 - share**2)
        middle = math.atanh(share)
        return Interval(MAX_LOSS * math.tanh(middle - reach), MAX_LOSS * math.tanh(middle + reach))
