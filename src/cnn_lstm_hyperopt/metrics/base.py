"""What a metric is: a score of class probabilities against labels, its statistics, and how it is written."""

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
"""A variance up to this is none."""
_AT_ONCE = 256
"""Windows that are left out in one call."""


class Dependence(Protocol):
    """Which windows depend on each other: what intervals need to know of it."""

    def variance(self, influence: Floats) -> Variance:
        """Variance of an estimate that varies as the mean of ``influence`` (windows,) does."""

    def effective_share(self, influence: Floats) -> tuple[float, float]:
        """So much of each window counts as if all were independent; and the standard errors that an interval reaches."""


class Bounded(NamedTuple):
    """A score's interval, what each window adds to it, (windows,), and how much less its error correlates with another's."""

    interval: Interval
    influence: Floats
    unlike: float = 0.0


class Metric(abc.ABC):
    """A metric. Scores are larger for better models: of a loss they are its negative.

    A new metric is a new file with a subclass: its name, its texts, :meth:`scores` and :meth:`at_chance`. What it does not
    define is taken from here; intervals then come from leaving out each window once.

    Attributes:
        name: in settings and files.
        place: in the order of the metrics.
        description: one line for the documentation.
        label: as people call the value that is shown.
        article: of the label.
        score_range: the worst and the best score that there can be.
        small_gain: what being right in 52 of 100 instead of 50 is worth, for two even classes. By it, what is tuned in
            accuracies fits all metrics.
        per_cent: whether it is shown in per cent, and its differences in points.
        lower_is_better: whether what is shown is a loss: the negative of the score.
        needs_two_classes: whether it is not defined on windows of a single class.
        fixed_error: whether the standard error of any score is taken to be that at chance.
        constant: the best constant prediction, in a sentence.
        superlative: of the best trial.
        chance_metric: the metric by which a model is compared with constant predictions; None: this one.
        measured: what :meth:`of_windows` returns.
        header, digits: of its column in tables, and the format of its values there.
        result_key: of its value on the test period in ``results.json``; None: ``test_`` and its name.
        hub_name, hub_label: in the front matter of model cards; None: its name and its label.
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
        """Score under one set of weights or many at once; a window that weighs 2 counts as two.

        It needs at most three times the memory of the weights.

        Args:
            labels: ``(windows,)`` classes.
            probabilities: ``(windows, classes)``.
            weights: ``(…, windows)``.

        Returns:
            ``(…)``; NaN where it is not defined.
        """

    @abc.abstractmethod
    def at_chance(self, counts: Floats, overlap: float) -> tuple[float, float]:
        """(chance, standard error): what the best constant prediction scores, and how far luck carries a guess.

        Args:
            counts: ``(classes,)`` windows of each class that occurs.
            overlap: so many windows are one measurement.
        """

    def score(self, labels: Labels, probabilities: Probabilities) -> float:
        """Score of windows of the same weight; NaN where it is not defined."""
        return float(self.scores(labels, probabilities, np.ones(len(labels))))

    # ------------------------------------------------------------------ statistics

    def mean_error(self, errors: Sequence[float]) -> float:
        """Standard error of the mean over folds, from those of each fold."""
        return math.sqrt(sum(error**2 for error in errors)) / len(errors)

    def standard_error(self, score: float, chance: float, n: float) -> float:
        """Standard error of a score on ``n`` independent windows.

        Raises:
            NotImplementedError: it is taken to be that at chance.
        """
        raise NotImplementedError(f"the standard error of {self.label} is taken to be that at chance")

    def counted_range(self, chance: float) -> tuple[float, float]:
        """The worst and the best score that count as such: scores beyond are as bad, or as good, as these."""
        return self.score_range

    def of_windows(self, labels: Labels, probabilities: Probabilities) -> Floats:
        """What is summed by date, group or window where trials are compared, ``(windows,)``: 1 for right, 0 for wrong."""
        return hits(labels, probabilities)

    def influence(self, labels: Labels, probabilities: Probabilities) -> Floats:
        """What each window adds to the score, ``(windows,)``: the estimate varies as their mean does.

        Here: n − 1 times what the score loses without the window (the jackknife, Efron & Stein 1981).
        """
        n, whole, lost = len(labels), self.score(labels, probabilities), []
        for start in range(0, n, _AT_ONCE):
            left_out = np.arange(start, min(start + _AT_ONCE, n))
            weights = np.ones((len(left_out), n))
            weights[np.arange(len(left_out)), left_out] = 0.0
            lost.append(whole - self.scores(labels, probabilities, weights))
        return np.asarray((n - 1) * np.nan_to_num(np.concatenate(lost)))

    def n_windows(self, labels: Labels) -> float:
        """Number of windows of a share whose error is as large as that of this score."""
        return len(labels)

    def bounded(self, labels: Labels, probabilities: Probabilities, estimate: float, dependence: Dependence) -> Bounded:
        """Wilson's interval of the score on a scale from 0 to 1, by the number of windows that its variance speaks of."""
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
        """Interval of a score that is defined. That of a constant prediction does not depend on the windows."""
        return self._bounded(labels, probabilities, estimate, dependence).interval

    def paired_interval(
        self, labels: Labels, ours: Probabilities, theirs: Probabilities, dependence: Dependence
    ) -> Interval | None:
        """Interval of the difference of two scores that are defined, on the same windows; None where there is none.

        Here: MOVER of both, with the correlation of their errors (Zou & Donner 2008).
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
        """Name of what is maximised, in the names of a study's objectives."""
        return f"negative_{self.name}" if self.lower_is_better else self.name

    @property
    def words(self) -> str:
        """The same in a sentence."""
        return self.objective.replace("_", " ")

    @property
    def key(self) -> str:
        """Of its value on the test period in ``results.json``."""
        return self.result_key or f"test_{self.name}"

    @property
    def column(self) -> str:
        """Header of its column in tables."""
        return self.header or self.label

    def shown(self, score: float) -> float:
        """The value that people read: a loss has its sign turned back."""
        return -score if self.lower_is_better else score

    def cell(self, value: float | None) -> str:
        """A value in its column."""
        return "–" if value is None else f"{value:{self.digits}}"

    def difference(self, difference: float) -> str:
        """Size of a difference of scores: ``4.1 points``, ``0.041``."""
        return f"{100 * abs(difference):.1f} points" if self.per_cent else f"{abs(difference):.3f}"

    def threshold_text(self, chance: float, threshold: float) -> str:
        """What chance is on validation and what beats it, as the beginning of a sentence."""
        return f"Chance on validation: {self.words} {chance:.4g}; above {threshold:.4g}"


def ratio(top: Floats, bottom: Floats) -> Floats:
    """NaN where ``bottom`` is 0."""
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), np.nan)


def mean_of_known(of_classes: Floats) -> Floats:
    """Mean over the last axis of what is not NaN."""
    there = ~np.isnan(of_classes)
    return np.asarray(ratio(np.where(there, of_classes, 0.0).sum(axis=-1), there.sum(axis=-1)))


def hits(labels: Labels, probabilities: Probabilities) -> Floats:
    """Whether each window's most probable class is right, ``(windows,)`` 0 or 1."""
    return np.asarray(probabilities.argmax(axis=1) == labels, dtype=np.float64)


def confusion_cells(labels: Labels, probabilities: Probabilities) -> NDArray[np.int64]:
    """Cell ``(windows,)`` of each window in the confusion matrix, read row by row: class × classes + predicted class."""
    return np.asarray(labels * probabilities.shape[1] + probabilities.argmax(axis=1), dtype=np.int64)


def confusion(labels: Labels, probabilities: Probabilities, weights: Floats) -> Floats:
    """Weight of each pair (class, predicted class), ``(…, classes, classes)``."""
    n_classes = probabilities.shape[1]
    cells = np.zeros((len(labels), n_classes * n_classes))
    cells[np.arange(len(labels)), confusion_cells(labels, probabilities)] = 1.0
    return np.asarray((weights @ cells).reshape(*weights.shape[:-1], n_classes, n_classes))


def gain_interval(gain: Floats, share: float, reach: float) -> Interval:
    """Of the mean of ``gain`` (windows,) −1, 0 or 1, each of which counts as ``share`` windows (Tango 1998)."""
    more, fewer = (float(np.count_nonzero(gain == side)) for side in (1, -1))
    return paired_difference(share * more, share * fewer, share * len(gain), reach)


def _correlation(first: Floats, second: Floats, dependence: Dependence) -> float:
    """Of the errors of two scores; 0 where one of them has none."""
    own, other, both = (dependence.variance(each).value for each in (first, second, first - second))
    if min(own, other) <= NO_VARIANCE:
        return 0.0
    return min(1.0, max(-1.0, (own + other - both) / (2 * math.sqrt(own * other))))
