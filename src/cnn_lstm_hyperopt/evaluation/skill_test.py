"""The grade of a model against simple baselines, in one of four, and the numbers behind it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.evaluation.baselines import MajorityClass
from cnn_lstm_hyperopt.evaluation.dependence import Dependence, Units
from cnn_lstm_hyperopt.evaluation.intervals import paired_interval, score_interval
from cnn_lstm_hyperopt.metrics import METRICS, score
from cnn_lstm_hyperopt.metrics.proportions import Interval

CHANCE = MajorityClass.name
"""The baseline that is the best constant prediction of the training windows."""


class Grade(StrEnum):
    """What a model is worth; each judgement has exactly one grade. Intervals are those of paired differences."""

    CHANCE = "no better than chance"
    """The interval to what constant predictions score does not lie above 0, or there is none: see :class:`Judgement`."""
    WORSE = "worse than a simple baseline"
    """Better than chance; the interval to the best baseline lies below 0."""
    AS_GOOD = "as good as the best simple baseline"
    """Better than chance, and neither worse nor better: an interval contains 0."""
    BETTER = "better than every baseline"
    """The interval to each baseline lies above 0."""


@dataclass(frozen=True)
class Comparison:
    """A model against one baseline, on the same windows.

    Attributes:
        baseline: its name.
        score: the baseline's, larger is better; None: not defined.
        difference: the model's score − the baseline's; None: not defined.
        interval: of the difference, paired; None: not known.
    """

    baseline: str
    score: float | None
    difference: float | None
    interval: Interval | None

    @property
    def is_better(self) -> bool:
        """Whether the whole interval of the difference lies above 0."""
        return self.interval is not None and self.interval.low > 0

    @property
    def is_worse(self) -> bool:
        """Whether the whole interval of the difference lies below 0."""
        return self.interval is not None and self.interval.high < 0


@dataclass(frozen=True)
class Judgement:
    """What can be said of one model.

    Attributes:
        model: its name.
        metric: what is compared; scores are those of :data:`~cnn_lstm_hyperopt.metrics.METRICS`, so larger is better and
            the log loss has its sign turned.
        score: the model's; None: not defined.
        interval: of the score; None: not known.
        comparisons: to each baseline, in their order; that to the majority class is among them.
        chance_metric: by which the model is compared with constant predictions.
        against_chance: the comparison with the best constant prediction by that metric.
        best_baseline: name of the baseline with the best score on these very windows: chosen in hindsight, which makes it harder
            to beat, never easier.
        units: what the windows consist of.
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

    @property
    def against_best(self) -> Comparison:
        """The comparison to the best baseline."""
        return next(each for each in self.comparisons if each.baseline == self.best_baseline)

    @property
    def grade(self) -> Grade:
        """See :class:`Grade`.

        To beat the best baseline alone is not enough for the best grade: predictions unlike the model's may have the wider
        interval against a baseline a little lower.
        """
        if not self.against_chance.is_better:
            return Grade.CHANCE
        if all(each.is_better for each in self.comparisons):
            return Grade.BETTER
        return Grade.WORSE if self.against_best.is_worse else Grade.AS_GOOD

    @property
    def skill(self) -> bool:
        """Whether the model is better than every baseline."""
        return self.grade is Grade.BETTER


def judge(
    metric: str,
    labels: NDArray[np.int64],
    ours: NDArray[np.floating],
    baselines: Mapping[str, NDArray[np.floating]],
    dependence: Dependence,
    *,
    model: str = "model 1",
) -> Judgement:
    """Compare one model with baselines on the same windows.

    Args:
        metric: of :data:`~cnn_lstm_hyperopt.metrics.METRICS`.
        labels: ``(windows,)`` classes.
        ours: ``(windows, classes)`` the model's probabilities.
        baselines: name → ``(windows, classes)`` probabilities; the majority class is among them.
        dependence: of the windows.
        model: what the model is called.

    Raises:
        ValueError: the majority class is not among the baselines.
    """
    if CHANCE not in baselines:
        raise ValueError(f"there is no {CHANCE} to compare with; give at least that as a baseline")
    own = score(metric, labels, ours)
    comparisons = []
    for name, theirs in baselines.items():
        other = score(metric, labels, theirs)
        difference = own - other
        interval = paired_interval(metric, labels, ours, theirs, dependence)
        comparisons.append(Comparison(name, _known(other), _known(difference), interval))
    best = max(comparisons, key=lambda each: -math.inf if each.score is None else each.score)
    chance_metric = METRICS[metric].chance_metric
    constant = next(each for each in comparisons if each.baseline == CHANCE)
    return Judgement(
        model=model,
        metric=metric,
        score=_known(own),
        interval=score_interval(metric, labels, ours, dependence),
        comparisons=tuple(comparisons),
        chance_metric=chance_metric or metric,
        against_chance=constant
        if chance_metric is None
        else _against_any_constant(chance_metric, labels, ours, dependence),
        best_baseline=best.baseline,
        units=dependence.units,
    )


def _against_any_constant(
    metric: str, labels: NDArray[np.int64], ours: NDArray[np.floating], dependence: Dependence
) -> Comparison:
    """Compare the score with chance, by a metric that is the same for all constant predictions."""
    counts = np.bincount(labels).astype(np.float64)
    chance, _ = METRICS[metric].at_chance(counts[counts > 0], 1.0)
    difference = score(metric, labels, ours) - chance
    interval = score_interval(metric, labels, ours, dependence)
    if interval is not None:
        interval = Interval(interval.low - chance, interval.high - chance)
    return Comparison(CHANCE, chance, _known(difference), interval)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
