"""The line between trials that have learnt something and those that have not."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.metrics.base import SCORE_RANGES, SMALL_GAINS, best_constant, objective_name, objective_words

Labels = NDArray[np.int64]
Counts = NDArray[np.float64]


@dataclass(frozen=True)
class SkillGate:
    """A score beyond what the best constant prediction reaches by luck.

    A model that always says the majority class is small and fast, so it is never dominated: without a gate such trials fill the
    front and are safe from every pruner.

    Attributes:
        chance: what the best constant prediction scores on validation: of an accuracy, the share of the majority class.
        n_validation: validation windows.
        overlap: so many windows count as one: the horizon, over which labels look at the same bars, times the design effect of
            labels that come in groups.
        metric: of the score.
        error: standard error of a score at chance, taken for all scores; None: it follows from the score and ``n_validation``.
    """

    chance: float
    n_validation: int
    overlap: float = 1
    metric: str = "accuracy"
    error: float | None = None

    def __post_init__(self) -> None:
        if self.error is None and self.metric in _FIXED_ERRORS:
            raise ValueError(
                f"a gate of {self.metric} needs an error, which depends on the labels: make it with SkillGate.on"
            )

    @classmethod
    def on(
        cls, metric: str, folds: Sequence[Labels], *, overlap: float = 1, n_windows: int | None = None
    ) -> "SkillGate":
        """The gate of a study whose score is the mean over folds.

        A mean of K readings, each on n_k windows, varies as one on K² / Σ 1/n_k windows does; with folds of one size these are
        all of them. Windows that several folds validate on (combinatorial folds) are no new readings.

        Args:
            metric: the study's.
            folds: validation labels of each fold, each ``(windows,)``.
            overlap: so many windows count as one.
            n_windows: different windows among them; None: all are.

        Raises:
            ValueError: the metric is not defined on a fold, see :func:`undefined_in`.
        """
        sizes = [len(labels) for labels in folds]
        repeats = 1.0 if n_windows is None else sum(sizes) / n_windows
        alike = len(folds) ** 2 / sum(1 / size for size in sizes)
        chance, error = no_skill(metric, folds, overlap * repeats)
        fixed = error if metric in _FIXED_ERRORS else None
        return cls(chance, max(1, round(alike / repeats)), overlap, metric, fixed)

    @property
    def n_effective(self) -> float:
        """Independent readings among the validation windows."""
        return max(1.0, self.n_validation / self.overlap)

    @property
    def threshold(self) -> float:
        """Chance plus two standard errors."""
        return self.chance + 2 * self.standard_error(self.chance)

    @property
    def score_range(self) -> tuple[float, float]:
        """The worst and the best score that count as such.

        A log loss knows no worst: one diverging model would set the scale for all others. A model twice as bad as the best
        constant is as far below it as a perfect one is above, and what is worse still counts as bad as that.
        """
        low, high = SCORE_RANGES[self.metric]
        return (max(low, 2 * self.chance), high) if self.metric == "log_loss" else (low, high)

    @property
    def small_gain(self) -> float:
        """A difference in score that is small, but worth having."""
        return SMALL_GAINS[self.metric]

    @property
    def objective(self) -> str:
        """Name of the maximised objective."""
        return objective_name(self.metric)

    @property
    def words(self) -> str:
        """The same in a sentence."""
        return objective_words(self.metric)

    @property
    def to_beat(self) -> str:
        """What a trial must be better than to have learnt something, in a sentence."""
        return best_constant(self.metric)

    def standard_error(self, score: float) -> float:
        """Of a score as read on validation.

        - accuracy p: √(p (1 − p) / n).
        - log loss: √(2 g / n), with g its distance from chance. Logits that differ by ε from those of the base rates b change the
          log probability of what happens by a standard deviation u, u² = ε' (diag b − b b') ε. A model whose ε is right gains
          u²/2 on average, one whose ε is noise loses as much (both to second order): so g tells u. Not below 1/n, which is what
          g = 1/(2n) gives: so much a single fitted number gains by luck (Wilks 1938: 2 n g is χ² with one degree of freedom).
          It is the error of the gain over the best constant: what the windows are like, all trials have in common.
        - others: ``error``.
        """
        if self.error is not None:
            return self.error
        if self.metric == "log_loss":
            gap = max(abs(score - self.chance), 1 / (2 * self.n_effective))
            return math.sqrt(2 * gap / self.n_effective)
        p = min(max(score, 0.0), 1.0)
        return math.sqrt(p * (1 - p) / self.n_effective)

    def passes(self, score: float) -> bool:
        """Whether a model of this score has learnt more than a constant prediction."""
        return score > self.threshold

    def shortfall(self, score: float) -> float:
        """What the score lacks to pass, as a constraint has it: above 0 exactly where it does not pass."""
        lacks = self.threshold - score
        return lacks if self.passes(score) else max(lacks, math.ulp(0.0))


def no_skill(metric: str, folds: Sequence[Labels], overlap: float = 1.0) -> tuple[float, float]:
    """(chance, standard error): what a model that has learnt nothing scores at best, and how far luck carries one.

    Of the mean over folds; all are of a guess that does not depend on the label.

    - accuracy: the majority's share p, √(p (1 − p) / n).
    - balanced accuracy: 1/C; each class is guessed with q = 1/C: √(Σ q (1 − q) / n_c) / C.
    - MCC: 0, 1/√n: a correlation of independent variables. With more than two classes it varies less, never more.
    - AUC: 1/2, √((n₁ + n₀ + 1) / (12 n₁ n₀)) (Mann & Whitney 1947). With more classes the mean of the errors of each against
      the rest, as if these were one and the same: never too small.
    - log loss: minus the entropy of the base rates, and 1/n. Logits that are the base rates' and noise of spread u (see
      :meth:`SkillGate.standard_error`) gain −u²/2 on average with a standard deviation of u/√n. That they gain δ is likeliest at
      u = √(2δ), where δ is √(2 δ n) standard deviations away from the mean: two of them at δ = 2/n, thus two "standard errors"
      of 1/n. It holds for any base rates and any number of classes; of two even ones, u is half the spread of their logit.

    Args:
        metric: the study's.
        folds: validation labels of each fold, each ``(windows,)``.
        overlap: so many windows are one reading.

    Raises:
        ValueError: the metric is not defined on a fold, see :func:`undefined_in`.
    """
    if (fold := undefined_in(metric, folds)) is not None:
        raise ValueError(f"{metric} is not defined on fold {fold}, whose labels are all alike")
    chances, errors = zip(*(_NO_SKILL[metric](_counts(labels), overlap) for labels in folds), strict=True)
    squares = sum(error**2 for error in errors)
    # 1/n stands for a variance, not for its root
    error = sum(errors) / len(folds) ** 2 if metric == "log_loss" else math.sqrt(squares) / len(folds)
    return sum(chances) / len(folds), error


def undefined_in(metric: str, folds: Sequence[Labels]) -> int | None:
    """The first fold, from 0, on which the metric says nothing of a model: AUC and MCC need two classes. None: there is none."""
    if metric not in ("auc", "mcc"):
        return None
    return next((fold for fold, labels in enumerate(folds) if len(_counts(labels)) < 2), None)


def _counts(labels: Labels) -> Counts:
    """Windows of each class that occurs, shape ``(classes,)``."""
    counts = np.bincount(labels).astype(np.float64)
    return counts[counts > 0]


def _accuracy(counts: Counts, overlap: float) -> tuple[float, float]:
    n, p = counts.sum(), counts.max() / counts.sum()
    return float(p), math.sqrt(p * (1 - p) * overlap / n)


def _balanced_accuracy(counts: Counts, overlap: float) -> tuple[float, float]:
    q = 1 / len(counts)
    return q, q * math.sqrt(float((q * (1 - q) * overlap / counts).sum()))


def _mcc(counts: Counts, overlap: float) -> tuple[float, float]:
    return 0.0, math.sqrt(overlap / counts.sum())


def _auc(counts: Counts, overlap: float) -> tuple[float, float]:
    rest = counts.sum() - counts
    errors = np.sqrt((counts + rest + 1) * overlap / (12 * counts * rest))
    return 0.5, float(errors.mean())


def _log_loss(counts: Counts, overlap: float) -> tuple[float, float]:
    p = counts / counts.sum()
    return float((p * np.log(p)).sum()), float(overlap / counts.sum())


_NO_SKILL: dict[str, Callable[[Counts, float], tuple[float, float]]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "mcc": _mcc,
    "auc": _auc,
    "log_loss": _log_loss,
}
"""(chance, standard error) on the validation windows of one fold."""
_FIXED_ERRORS = ("balanced_accuracy", "mcc", "auc")
"""Metrics whose standard error is taken to be that at chance."""
