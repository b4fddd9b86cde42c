"""Interface of the metrics. A metric scores class probabilities against labels and defines errors, intervals and texts."""

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
"""Variances below this value count as zero."""
_BATCH = 256
"""Number of scores that the jackknife computes in one call, each without one of the windows."""


class Dependence(Protocol):
    """Interface of the dependence between windows, from which the width of intervals is computed."""

    def variance(self, influence: Floats) -> Variance:
        """Return the variance of an estimate that varies like the mean of ``influence``, shape ``(windows,)``."""

    def effective_share(self, influence: Floats) -> tuple[float, float]:
        """Return the number of independent windows that a window counts as, and an interval's half-width in standard errors."""


class Bounded(NamedTuple):
    """Interval of a score, with the values that are needed to combine it with the interval of another score.

    Attributes:
        interval: interval of the score.
        influence: ``(windows,)`` influence of each window on the score.
        unlike: amount subtracted from the correlation between the errors of both scores.
    """

    interval: Interval
    influence: Floats
    unlike: float = 0.0


class Metric(abc.ABC):
    """A metric, which scores predictions. Larger scores are better; the score of a loss is its negative.

    To add a metric, add a file with a subclass that defines its name, texts, :meth:`scores` and :meth:`at_chance`. The other
    methods have defaults; the default intervals use the jackknife.

    Attributes:
        name: name of the metric in settings and files.
        place: position of the metric in lists of metrics.
        description: description of the metric in one line.
        label: name of the value that users see.
        article: indefinite article of the label.
        score_range: worst and best possible score.
        small_gain: gain in score of a prediction with 52 % instead of 50 % correct, for two balanced classes. This gain
            converts constants that were tuned on accuracies to other metrics.
        per_cent: whether values are shown in per cent, and differences in percentage points.
        lower_is_better: whether the displayed value is a loss, the negative of the score.
        needs_two_classes: whether the score is undefined on windows of a single class.
        fixed_error: whether the standard error at chance is used for all scores.
        chance_varies: whether the best constant prediction is the majority class of the same windows. If so, slow changes of the
            labels raise the score of chance above the score of guesses.
        constant: words for the best constant prediction, in a sentence.
        superlative: adjective for the trial with the best score.
        chance_metric: name of the metric that compares a model with constant predictions; None if this metric does.
        balances_classes: whether all classes count equally, however rare, so that training with class weights helps.
        measured: name of the score by which :meth:`block_scores` compares trials.
        header: header of the metric's column in tables; None if the label is the header.
        digits: number format of the metric's column in tables.
        result_key: key of the metric's test value in ``results.json``; None if the key is ``test_`` and the name.
        hub_name, hub_label: name and label in the front matter of model cards; None if they are ``name`` and ``label``.
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
    chance_varies: ClassVar[bool] = False
    constant: ClassVar[str] = "the best constant prediction"
    superlative: ClassVar[str] = "best"
    chance_metric: ClassVar[str | None] = None
    measured: ClassVar[str] = "accuracy"
    balances_classes: ClassVar[bool] = False
    header: ClassVar[str | None] = None
    digits: ClassVar[str] = ".4f"
    result_key: ClassVar[str | None] = None
    hub_name: ClassVar[str | None] = None
    hub_label: ClassVar[str | None] = None

    @abc.abstractmethod
    def scores(self, labels: Labels, probabilities: Probabilities, weights: Floats) -> Floats:
        """Return the score of predictions under each of several sets of weights; a window with weight 2 counts twice.

        Implementations need at most three times the memory of the weights.

        Args:
            labels: ``(windows,)`` true classes.
            probabilities: ``(windows, classes)`` predicted probabilities.
            weights: ``(…, windows)`` sets of weights.

        Returns:
            ``(…)`` one score for each set of weights; NaN where the score is undefined.
        """

    @abc.abstractmethod
    def at_chance(self, counts: Floats, overlap: float) -> tuple[float, float]:
        """Return the score of the best constant prediction, and the standard error of the score of random guesses.

        Args:
            counts: ``(classes,)`` number of windows of each class that occurs.
            overlap: number of windows that count as one independent window.
        """

    def score(self, labels: Labels, probabilities: Probabilities) -> float:
        """Return the score of predictions on equally weighted windows; NaN if the score is undefined."""
        return float(self.scores(labels, probabilities, np.ones(len(labels))))

    def mean_error(self, errors: Sequence[float]) -> float:
        """Return the standard error of the mean score over folds, from the standard error of each fold's score."""
        return math.sqrt(sum(error**2 for error in errors)) / len(errors)

    def standard_error(self, score: float, chance: float, n: float) -> float:
        """Return the standard error of a score on ``n`` independent windows.

        Raises:
            ValueError: the metric has a fixed error.
        """
        raise ValueError(f"{self.label} has a fixed standard error")

    def counted_range(self, chance: float) -> tuple[float, float]:
        """Return the range to which samplers and pruners clip scores."""
        return self.score_range

    def block_statistics(
        self, labels: Labels, probabilities: Probabilities, block: NDArray[np.int64], n_blocks: int
    ) -> Floats:
        """Return the numbers from which :meth:`block_scores` computes scores.

        The statistics of several folds may be added up. The default is for the accuracy: the number of correct windows and of all
        windows in each block, ``(blocks, 2)``.

        Args:
            labels: ``(windows,)`` true classes.
            probabilities: ``(windows, classes)`` predicted probabilities.
            block: ``(windows,)`` number of each window's block.
            n_blocks: number of blocks.
        """
        return block_means(hits(labels, probabilities), block, n_blocks)

    def block_scores(self, statistics: Floats, chosen: Floats) -> Floats:
        """Return the score ``measured`` of several predictions on several sets of blocks, ``(sets, predictions)``.

        Args:
            statistics: ``(predictions, blocks, …)`` result of :meth:`block_statistics` for each prediction.
            chosen: ``(sets, blocks)`` 1 for the blocks of a set, else 0.
        """
        return means_of_blocks(statistics, chosen)

    def influence(self, labels: Labels, probabilities: Probabilities) -> Floats:
        """Return the influence of each window on the score, ``(windows,)``; the score varies like the mean of the influences.

        The default is the jackknife (Efron & Stein 1981): with n windows, the influence is n − 1 times the difference (score of
        all windows − score without this window).
        """
        n, whole, lost = len(labels), self.score(labels, probabilities), []
        for start in range(0, n, _BATCH):
            left_out = np.arange(start, min(start + _BATCH, n))
            weights = np.ones((len(left_out), n))
            weights[np.arange(len(left_out)), left_out] = 0.0
            lost.append(whole - self.scores(labels, probabilities, weights))
        return np.asarray((n - 1) * np.nan_to_num(np.concatenate(lost)))

    def n_windows(self, labels: Labels) -> float:
        """Return the number of windows on which a proportion has the same standard error as this score."""
        return len(labels)

    def bounded(self, labels: Labels, probabilities: Probabilities, estimate: float, dependence: Dependence) -> Bounded:
        """Return Wilson's interval of the score, with the number of windows on which a proportion has the score's variance."""
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
        """Return the interval of a defined score. For a constant prediction, both bounds are the score."""
        return self._bounded(labels, probabilities, estimate, dependence).interval

    def paired_interval(
        self, labels: Labels, ours: Probabilities, theirs: Probabilities, dependence: Dependence
    ) -> Interval | None:
        """Return the interval of the score of ``ours`` minus the score of ``theirs``; None if the interval is unknown.

        Both scores must be defined and use the same windows. By default, MOVER (Zou & Donner 2008) combines the intervals of both
        scores, with the correlation of their errors.
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

    @property
    def objective(self) -> str:
        """Name of the maximised objective."""
        return f"negative_{self.name}" if self.lower_is_better else self.name

    @property
    def words(self) -> str:
        """Name of the maximised objective as used within a sentence, such as ``balanced accuracy``."""
        return self.objective.replace("_", " ")

    @property
    def key(self) -> str:
        """Key of the metric's test value in ``results.json``."""
        return self.result_key or f"test_{self.name}"

    @property
    def column(self) -> str:
        """Header of the metric's column in tables."""
        return self.header or self.label

    def shown(self, score: float) -> float:
        """Return the displayed value: the score, or the loss with its positive sign."""
        return -score if self.lower_is_better else score

    def cell(self, value: float | None) -> str:
        """Return a value as the text of a table cell; None becomes a dash."""
        return "–" if value is None else f"{value:{self.digits}}"

    def difference(self, difference: float) -> str:
        """Return the absolute value of a difference of scores as text: ``4.1 points``, ``0.041``, ``less than 0.001``."""
        if not self.per_cent:
            return "less than 0.001" if 0 < abs(difference) < 0.0005 else f"{abs(difference):.3f}"
        return "less than 0.1 points" if 0 < abs(difference) < 0.0005 else f"{100 * abs(difference):.1f} points"

    def threshold_text(self, chance: float, threshold: float) -> str:
        """Return the beginning of a sentence that states the validation score of chance and the skill threshold."""
        return f"Chance on validation: {self.words} {chance:.4g}; above {threshold:.4g}"


def ratio(top: Floats, bottom: Floats) -> Floats:
    """Return top / bottom; NaN where ``bottom`` is 0."""
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), np.nan)


def mean_of_known(of_classes: Floats) -> Floats:
    """Return the mean over the last axis of the values that are not NaN."""
    known = ~np.isnan(of_classes)
    return np.asarray(ratio(np.where(known, of_classes, 0.0).sum(axis=-1), known.sum(axis=-1)))


def hits(labels: Labels, probabilities: Probabilities) -> Floats:
    """Return 1 for each window whose most probable class is correct and 0 for each other window, ``(windows,)``."""
    return np.asarray(probabilities.argmax(axis=1) == labels, dtype=np.float64)


def confusion_cells(labels: Labels, probabilities: Probabilities) -> NDArray[np.int64]:
    """Return each window's cell of the confusion matrix: true class × number of classes + predicted class, ``(windows,)``."""
    return np.asarray(labels * probabilities.shape[1] + probabilities.argmax(axis=1), dtype=np.int64)


def confusion(labels: Labels, probabilities: Probabilities, weights: Floats) -> Floats:
    """Return the weighted confusion matrix, ``(…, classes, classes)``: rows are true classes, columns are predicted classes."""
    n_classes = probabilities.shape[1]
    cells = np.zeros((len(labels), n_classes * n_classes))
    cells[np.arange(len(labels)), confusion_cells(labels, probabilities)] = 1.0
    return np.asarray((weights @ cells).reshape(*weights.shape[:-1], n_classes, n_classes))


def block_means(values: Floats, block: NDArray[np.int64], n_blocks: int) -> Floats:
    """Return the sum of ``values`` (windows,) and the number of windows in each block, ``(blocks, 2)``."""
    sums = np.bincount(block, weights=values, minlength=n_blocks)
    return np.stack([sums, np.bincount(block, minlength=n_blocks)], axis=1)


def means_of_blocks(statistics: Floats, chosen: Floats) -> Floats:
    """Return the mean over several sets of blocks, ``(sets, predictions)``.

    Args:
        statistics: ``(predictions, blocks, 2)`` sum and number of windows of each block, see :func:`block_means`.
        chosen: ``(sets, blocks)`` 1 for the blocks of a set, else 0.
    """
    totals = np.tensordot(chosen, statistics, axes=(1, 1))
    return ratio(totals[..., 0], totals[..., 1])


class ConfusionMetric(Metric):
    """A metric that depends only on the confusion matrix."""

    @abc.abstractmethod
    def of_confusion(self, cells: Floats) -> Floats:
        """Return the score of confusion matrices ``(…, classes, classes)``: rows are true classes, columns predicted classes."""

    def scores(self, labels: Labels, probabilities: Probabilities, weights: Floats) -> Floats:
        return self.of_confusion(confusion(labels, probabilities, weights))

    def block_statistics(
        self, labels: Labels, probabilities: Probabilities, block: NDArray[np.int64], n_blocks: int
    ) -> Floats:
        """Return the confusion matrix of each block, ``(blocks, classes, classes)``."""
        n_classes = probabilities.shape[1]
        cells = block * n_classes**2 + confusion_cells(labels, probabilities)
        counts = np.bincount(cells, minlength=n_blocks * n_classes**2).astype(np.float64)
        return counts.reshape(n_blocks, n_classes, n_classes)

    def block_scores(self, statistics: Floats, chosen: Floats) -> Floats:
        return self.of_confusion(np.tensordot(chosen, statistics, axes=(1, 1)))


def gain_interval(gain: Floats, share: float, reach: float) -> Interval:
    """Return Tango's interval (1998) of the mean of ``gain``.

    ``gain`` (windows,) has values −1, 0 or 1; each window counts as ``share`` independent windows.
    """
    more, fewer = (float(np.count_nonzero(gain == side)) for side in (1, -1))
    return paired_difference(share * more, share * fewer, share * len(gain), reach)


def _correlation(first: Floats, second: Floats, dependence: Dependence) -> float:
    """Return the correlation between the errors of two scores, from the windows' influences; 0 if one score has no error."""
    own, other, both = (dependence.variance(each).value for each in (first, second, first - second))
    if min(own, other) <= NO_VARIANCE:
        return 0.0
    return min(1.0, max(-1.0, (own + other - both) / (2 * math.sqrt(own * other))))
