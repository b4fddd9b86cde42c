"""Interface of the metrics: score of class probabilities against labels, statistics and display."""

import abc
import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.metrics.proportions import Interval, Variance, combined, paired_difference, wilson

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Probabilities = NDArray[np.floating]

NO_VARIANCE = 1e-24
"""Smaller variances count as zero."""
_BATCH = 256
"""Number of windows that one jackknife call leaves out."""


class Dependence(Protocol):
    """Dependence between windows, as intervals use it."""

    def variance(self, influence: Floats) -> Variance:
        """Return the variance of an estimate that varies like the mean of ``influence`` (windows,)."""

    def effective_share(self, influence: Floats) -> tuple[float, float]:
        """Return (effective share of the windows that is independent, standard errors of an interval's half-width)."""


class Bounded(NamedTuple):
    """Interval of a score, influence of each window (windows,), and reduction of the error's correlation with another score."""

    interval: Interval
    influence: Floats
    unlike: float = 0.0


class Metric(abc.ABC):
    """A metric. Larger scores are better; the score of a loss is its negative.

    A new metric is a new file with a subclass that defines its name, texts, :meth:`scores` and :meth:`at_chance`. Other methods
    have defaults; intervals then use the jackknife.

    Attributes:
        name: in settings and files.
        place: position in lists of metrics.
        description: one line for the documentation.
        label: name of the displayed value.
        article: of the label.
        score_range: worst and best possible score.
        small_gain: score difference between 52 and 50 correct of 100, for two balanced classes. It converts constants tuned on
            accuracies to other metrics.
        per_cent: whether values are shown in per cent and differences in points.
        lower_is_better: whether the displayed value is a loss, the negative of the score.
        needs_two_classes: whether the score is undefined on windows of a single class.
        fixed_error: whether the standard error at chance is used for all scores.
        constant: the best constant prediction, in a sentence.
        superlative: of the best trial.
        chance_metric: metric that compares a model with constant predictions; None: this one.
        measured: name of the values of :meth:`of_windows`.
        header, digits: header and number format of its column in tables.
        result_key: key of its test value in ``results.json``; None: ``test_`` and its name.
        hub_name, hub_label: in the front matter of model cards; None: name and label.
    """

    name: ClassVar[str]
    place: ClassVar[int]
    description: ClassVar[str]
    label: ClassVar[str]
    article: ClassVar[str] = "a"
    score_range: ClassVar[tuple[float, float]]
    small_gain: ClassVar[float]
    per_cent: ClassVar[bool] = False
    lower_is_better: ClassVar[bool] = False
    needs_two_classes: ClassVar[bool] = False
    fixed_error: ClassVar[bool] = True
    constant: ClassVar[str] = "the best constant prediction"
    superlative: ClassVar[str] = "best"
    chance_metric: ClassVar[str | None] = None
    measured: ClassVar[str] = "accuracy"
    header: ClassVar[str | None] = None
    digits: ClassVar[str] = ".4f"
    result_key: ClassVar[str | None] = None
    hub_name: ClassVar[str | None] = None
    hub_label: ClassVar[str | None] = None

    @abc.abstractmethod
    def scores(self, labels: Labels, probabilities: Probabilities, weights: Floats) -> Floats:
        """Return the scores under one or many sets of weights; a window of weight 2 counts twice.

        Implementations need at most three times the memory of the weights.

        Args:
            labels: ``(windows,)`` classes.
            probabilities: ``(windows, classes)``.
            weights: ``(…, windows)``.

        Returns:
            ``(…)``; NaN if undefined.
        """

    @abc.abstractmethod
    def at_chance(self, counts: Floats, overlap: float) -> tuple[float, float]:
        """Return (chance, standard error): the score of the best constant prediction, and the error of random guesses.

        Args:
            counts: ``(classes,)`` windows of each class that occurs.
            overlap: number of windows that count as one independent window.
        """

    def score(self, labels: Labels, probabilities: Probabilities) -> float:
        """Return the score of equally weighted windows; NaN if undefined."""
        return float(self.scores(labels, probabilities, np.ones(len(labels))))

    # ------------------------------------------------------------------ statistics

    def mean_error(self, errors: Sequence[float]) -> float:
        """Return the standard error of the mean over folds, from the errors of the folds."""
        return math.sqrt(sum(error**2 for error in errors)) / len(errors)

    def standard_error(self, score: float, chance: float, n: float) -> float:
        """Return the standard error of a score on ``n`` independent windows.

        Raises:
            NotImplementedError: the metric has a fixed error.
        """
        raise NotImplementedError(f"{self.label} has a fixed standard error")

    def counted_range(self, chance: float) -> tuple[float, float]:
        """Return the range of scores; samplers and pruners clip scores to it."""
        return self.score_range

    def of_windows(self, labels: Labels, probabilities: Probabilities) -> Floats:
        """Return the value of each window for comparisons of trials, ``(windows,)``: 1 if correct, else 0."""
        return hits(labels, probabilities)

    def influence(self, labels: Labels, probabilities: Probabilities) -> Floats:
        """Return the influence of each window, ``(windows,)``; the estimate varies like their mean.

        Default: n − 1 times the loss of score without the window (jackknife, Efron & Stein 1981).
        """
        n, whole, lost = len(labels), self.score(labels, probabilities), []
        for start in range(0, n, _BATCH):
            left_out = np.arange(start, min(start + _BATCH, n))
            weights = np.ones((len(left_out), n))
            weights[np.arange(len(left_out)), left_out] = 0.0
            lost.append(whole - self.scores(labels, probabilities, weights))
        return np.asarray((n - 1) * np.nan_to_num(np.concatenate(lost)))

    def n_windows(self, labels: Labels) -> float:
        """Return the number of windows of a proportion with the same error as this score."""
        return len(labels)

    def bounded(self, labels: Labels, probabilities: Probabilities, estimate: float, dependence: Dependence) -> Bounded:
        """Return Wilson's interval of the score scaled to [0, 1], for the number of windows that matches its variance."""
        low, high = self.score_range
        influence = self.influence(labels, probabilities) / (high - low)
        variance, (share, _) = dependence.variance(influence), dependence.effective_share(influence)
        u, n = (estimate - low) / (high - low), share * self.n_windows(labels)
        if 0 < u < 1 and variance.value > NO_VARIANCE:
            n = min(2 * n, u * (1 - u) / variance.value)
        found = wilson(u, n, variance.reach)
        return Bounded(Interval(low + (high - low) * found.low, low + (high - low) * found.high), influence)

    def interval(
        self, labels: Labels, probabilities: Probabilities, estimate: float, dependence: Dependence
    ) -> Interval:
        """Return the interval of a defined score; of a constant prediction, the interval has length 0."""
        return self._bounded(labels, probabilities, estimate, dependence).interval

    def paired_interval(
        self, labels: Labels, ours: Probabilities, theirs: Probabilities, dependence: Dependence
    ) -> Interval | None:
        """Return the interval of the difference of two defined scores on the same windows; None if there is none.

        Default: MOVER of both intervals, with the correlation of their errors (Zou & Donner 2008).
        """
        own, other = self.score(labels, ours), self.score(labels, theirs)
        first = self._bounded(labels, ours, own, dependence)
        second = self._bounded(labels, theirs, other, dependence)
        turned = Interval(-second.interval.high, -second.interval.low)
        correlation = _correlation(first.influence, second.influence, dependence) - max(first.unlike, second.unlike)
        return combined((own, -other), (first.interval, turned), -max(-1.0, correlation))

    def _bounded(
        self, labels: Labels, probabilities: Probabilities, estimate: float, dependence: Dependence
    ) -> Bounded:
        if (probabilities == probabilities[0]).all():
            return Bounded(Interval(estimate, estimate), np.zeros(len(labels)))
        return self.bounded(labels, probabilities, estimate, dependence)

    # ------------------------------------------------------------------ texts

    @property
    def objective(self) -> str:
        """Name of the maximised objective."""
        return f"negative_{self.name}" if self.lower_is_better else self.name

    @property
    def words(self) -> str:
        """Name of the maximised objective, in a sentence."""
        return self.objective.replace("_", " ")

    @property
    def key(self) -> str:
        """Key of its test value in ``results.json``."""
        return self.result_key or f"test_{self.name}"

    @property
    def column(self) -> str:
        """Header of its column in tables."""
        return self.header or self.label

    def shown(self, score: float) -> float:
        """Return the displayed value: the score, or the loss with its positive sign."""
        return -score if self.lower_is_better else score

    def cell(self, value: float | None) -> str:
        """Return a value as text of its column."""
        return "–" if value is None else f"{value:{self.digits}}"

    def difference(self, difference: float) -> str:
        """Return the absolute difference of scores as text: ``4.1 points``, ``0.041``."""
        return f"{100 * abs(difference):.1f} points" if self.per_cent else f"{abs(difference):.3f}"

    def threshold_text(self, chance: float, threshold: float) -> str:
        """Return chance on validation and the skill threshold, as the beginning of a sentence."""
        return f"Chance on validation: {self.words} {chance:.4g}; above {threshold:.4g}"


def ratio(top: Floats, bottom: Floats) -> Floats:
    """Return top / bottom; NaN where ``bottom`` is 0."""
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), np.nan)


def mean_of_known(of_classes: Floats) -> Floats:
    """Return the mean over the last axis without NaN."""
    known = ~np.isnan(of_classes)
    return np.asarray(ratio(np.where(known, of_classes, 0.0).sum(axis=-1), known.sum(axis=-1)))


def hits(labels: Labels, probabilities: Probabilities) -> Floats:
    """Return whether the most probable class of each window is correct, ``(windows,)``, 0 or 1."""
    return np.asarray(probabilities.argmax(axis=1) == labels, dtype=np.float64)


def confusion_cells(labels: Labels, probabilities: Probabilities) -> NDArray[np.int64]:
    """Return the cell of each window in the confusion matrix, ``(windows,)``: class × classes + predicted class."""
    return np.asarray(labels * probabilities.shape[1] + probabilities.argmax(axis=1), dtype=np.int64)


def confusion(labels: Labels, probabilities: Probabilities, weights: Floats) -> Floats:
    """Return the weight of each pair (class, predicted class), ``(…, classes, classes)``."""
    n_classes = probabilities.shape[1]
    cells = np.zeros((len(labels), n_classes * n_classes))
    cells[np.arange(len(labels)), confusion_cells(labels, probabilities)] = 1.0
    return np.asarray((weights @ cells).reshape(*weights.shape[:-1], n_classes, n_classes))


def gain_interval(gain: Floats, share: float, reach: float) -> Interval:
    """Return the interval of the mean of ``gain`` (windows,) −1, 0 or 1; each counts as ``share`` windows (Tango 1998)."""
    more, fewer = (float(np.count_nonzero(gain == side)) for side in (1, -1))
    return paired_difference(share * more, share * fewer, share * len(gain), reach)


def _correlation(first: Floats, second: Floats, dependence: Dependence) -> float:
    """Return the correlation of the errors of two scores; 0 if one has no error."""
    own, other, both = (dependence.variance(each).value for each in (first, second, first - second))
    if min(own, other) <= NO_VARIANCE:
        return 0.0
    return min(1.0, max(-1.0, (own + other - both) / (2 * math.sqrt(own * other))))
