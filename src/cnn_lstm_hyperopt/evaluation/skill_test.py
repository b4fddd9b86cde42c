"""Grade of a model from its comparison with simple baselines."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.evaluation.baselines.simple import MajorityClass
from cnn_lstm_hyperopt.evaluation.dependence import Dependence, Units
from cnn_lstm_hyperopt.evaluation.intervals import paired_interval, score_interval
from cnn_lstm_hyperopt.metrics import METRICS, as_scored, decided, if_defined, score
from cnn_lstm_hyperopt.metrics.accuracy import Accuracy
from cnn_lstm_hyperopt.metrics.proportions import Interval

CHANCE = MajorityClass.name
"""Name of the baseline that predicts the shares of the classes in training."""


class Grade(StrEnum):
    """Grade of a model.

    The grade depends on confidence intervals of differences: score of the model minus score of a baseline.
    """

    CHANCE = "no better than chance"
    """The interval of the difference from constant predictions is not entirely above 0, or is unknown; see :class:`Judgement`."""
    WORSE = "worse than a simple baseline"
    """The model beats chance, but the interval of the difference from the best baseline is entirely below 0."""
    AS_GOOD = "as good as the best simple baseline"
    """The model beats chance.

    The model is not surely worse than the best baseline and not surely better than every baseline.
    """
    BETTER = "better than every baseline"
    """The model beats chance, and the interval of the difference from each baseline is entirely above 0."""

    @property
    def place(self) -> int:
        """Position in the order of grades, from 0 for the worst grade."""
        return list(Grade).index(self)


@dataclass(frozen=True)
class Comparison:
    """Comparison of a model with one baseline on the same windows.

    Attributes:
        baseline: name of the baseline.
        score: score of the baseline, where larger is better; None if undefined.
        difference: score of the model minus score of the baseline; None if one of the scores is undefined.
        interval: paired confidence interval of the difference; None if unknown.
    """

    baseline: str
    score: float | None
    difference: float | None
    interval: Interval | None

    @property
    def is_better(self) -> bool:
        """True if the interval of the difference is entirely above 0."""
        return self.interval is not None and self.interval.low > 0

    @property
    def is_worse(self) -> bool:
        """True if the interval of the difference is entirely below 0."""
        return self.interval is not None and self.interval.high < 0


@dataclass(frozen=True)
class Judgement:
    """Comparison of one model with all baselines. This comparison decides the grade of the model.

    Attributes:
        model: name of the model.
        metric: name in :data:`~cnn_lstm_hyperopt.metrics.METRICS`. Larger scores are better, so a log loss is negated.
        score: score of the model; None if undefined.
        interval: confidence interval of the score; None if unknown.
        comparisons: comparisons with each baseline, including the majority class.
        chance_metric: metric by which the model is compared with constant predictions.
        against_chance: comparison with the best constant prediction, measured by ``chance_metric``.
        best_baseline: name of the baseline with the best score on the same windows. This baseline is chosen with knowledge of
            the labels, so it is harder to beat.
        units: units of the windows, see :class:`.Units`.
        level: confidence level of all intervals.
        mean_confidence: mean probability of the predicted class.
        accuracy: judgement of the same model by accuracy; None if ``metric`` is accuracy.
    """

    model: str
    metric: str
    score: float | None
    interval: Interval | None
    comparisons: tuple[Comparison, ...]
    chance_metric: str
    against_chance: Comparison
    best_baseline: str
    units: Units
    level: float
    mean_confidence: float
    accuracy: "Judgement | None" = None

    @property
    def against_best(self) -> Comparison:
        """Comparison of the model with the best baseline."""
        return next(each for each in self.comparisons if each.baseline == self.best_baseline)

    @property
    def grade(self) -> Grade:
        """Grade of the model.

        A model that beats the best baseline may still have a lower grade than BETTER. The difference from another baseline
        may have a wider interval, which contains 0.
        """
        if not self.against_chance.is_better:
            return Grade.CHANCE
        if all(each.is_better for each in self.comparisons):
            return Grade.BETTER
        return Grade.WORSE if self.against_best.is_worse else Grade.AS_GOOD

    @property
    def skill(self) -> bool:
        """True if the model is surely better than every baseline."""
        return self.grade is Grade.BETTER

    @property
    def weakest(self) -> Comparison | None:
        """Comparison with the lowest interval, among the baselines that the model does not surely beat.

        The result is None if the model surely beats every baseline.
        """
        unsure = [each for each in self.comparisons if not each.is_better]
        return min(unsure, key=lambda each: -math.inf if each.interval is None else each.interval.low, default=None)

    @property
    def preferred_baseline(self) -> str | None:
        """Name of the baseline that is recommended instead of the model: it is cheaper and the model is not surely better.

        The result is None if the model does not beat chance, or if it beats every baseline.
        """
        if self.grade in (Grade.CHANCE, Grade.BETTER) or self.weakest is None:
            return None
        return self.weakest.baseline if self.against_best.is_better else self.best_baseline

    @property
    def is_overconfident(self) -> bool:
        """True if the model's mean confidence is above the confidence interval of its accuracy."""
        accuracy = self.accuracy or self
        return accuracy.interval is not None and self.mean_confidence > accuracy.interval.high


def judge(
    metric: str,
    labels: NDArray[np.int64],
    ours: NDArray[np.floating],
    baselines: Mapping[str, NDArray[np.floating]],
    dependence: Dependence,
    *,
    model: str = "model 1",
    decision_weights: NDArray[np.floating] | None = None,
) -> Judgement:
    """Compare one model with baselines on the same windows.

    Args:
        metric: name in :data:`~cnn_lstm_hyperopt.metrics.METRICS`.
        labels: ``(windows,)`` true classes.
        ours: ``(windows, classes)`` probabilities of the model.
        baselines: probabilities ``(windows, classes)`` of each baseline, by name. The majority class must be included.
        dependence: dependence between the windows (overlapping labels, same group or date), and the confidence level.
        model: name of the model.
        decision_weights: ``(classes,)`` decision rule of the model, which the baselines also have, see
            :func:`cnn_lstm_hyperopt.metrics.as_scored`; None: the most probable class is predicted.

    Raises:
        ValueError: the majority class is not among the baselines.
    """
    if CHANCE not in baselines:
        raise ValueError(f"baselines must include {CHANCE}")
    scored = as_scored(metric, ours, decision_weights)
    own = METRICS[metric].score(labels, scored)
    comparisons = []
    for name, each in baselines.items():
        theirs = as_scored(metric, each, decision_weights)
        other = METRICS[metric].score(labels, theirs)
        difference = own - other
        interval = paired_interval(metric, labels, scored, theirs, dependence)
        comparisons.append(Comparison(name, if_defined(other), if_defined(difference), interval))
    best = max(comparisons, key=lambda each: -math.inf if each.score is None else each.score)
    chance_metric = METRICS[metric].chance_metric
    constant = next(each for each in comparisons if each.baseline == CHANCE)
    return Judgement(
        model=model,
        metric=metric,
        score=if_defined(own),
        interval=score_interval(metric, labels, scored, dependence),
        comparisons=tuple(comparisons),
        chance_metric=chance_metric or metric,
        against_chance=constant
        if chance_metric is None
        else _against_any_constant(chance_metric, labels, as_scored(chance_metric, ours, decision_weights), dependence),
        best_baseline=best.baseline,
        units=dependence.units,
        level=dependence.level,
        mean_confidence=_mean_confidence(ours, decision_weights),
        accuracy=None
        if metric == Accuracy.name
        else judge(Accuracy.name, labels, ours, baselines, dependence, model=model, decision_weights=decision_weights),
    )


def _mean_confidence(probabilities: NDArray[np.floating], decision_weights: NDArray[np.floating] | None) -> float:
    """Return the mean probability of the predicted class."""
    predicted = decided(probabilities, decision_weights).argmax(axis=1)
    return float(np.take_along_axis(probabilities, predicted[:, None], axis=1).mean())


def _against_any_constant(
    metric: str, labels: NDArray[np.int64], ours: NDArray[np.floating], dependence: Dependence
) -> Comparison:
    """Compare a model with chance by a metric that has the same value for all constant predictions."""
    counts = np.bincount(labels).astype(np.float64)
    chance, _ = METRICS[metric].at_chance(counts[counts > 0], 1.0)
    difference = score(metric, labels, ours) - chance
    interval = score_interval(metric, labels, ours, dependence)
    if interval is not None:
        interval = Interval(interval.low - chance, interval.high - chance)
    return Comparison(CHANCE, chance, if_defined(difference), interval)
