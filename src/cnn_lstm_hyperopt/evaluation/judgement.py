"""One plain sentence on whether a model beats every baseline, and the numbers behind it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.evaluation.baselines import MajorityClass
from cnn_lstm_hyperopt.evaluation.bootstrap import Interval, paired_interval, score_interval, too_little
from cnn_lstm_hyperopt.metrics import score

_NAMES = {
    "accuracy": "an accuracy",
    "balanced_accuracy": "a balanced accuracy",
    "mcc": "an MCC",
    "auc": "an AUC",
    "log_loss": "a log loss",
}
_SHARES = ("accuracy", "balanced_accuracy")
"""Metrics that are told in per cent, and their differences in points."""


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


@dataclass(frozen=True)
class Judgement:
    """What can be said of one model.

    Attributes:
        model: its name.
        metric: what is compared; scores are those of :data:`~cnn_lstm_hyperopt.metrics.METRICS`, so larger is better and the log
            loss has its sign turned.
        score: the model's; None: not defined.
        interval: of the score; None: not known.
        comparisons: to each baseline, in their order.
        best_baseline: name of the baseline with the best score on these very windows: chosen in hindsight, which makes it harder
            to beat, never easier.
        n_windows, n_dates: judged on.
        horizon: bars that a label looks ahead.
    """

    model: str
    metric: str
    score: float | None
    interval: Interval | None
    comparisons: tuple[Comparison, ...]
    best_baseline: str
    n_windows: int
    n_dates: int
    horizon: int

    @property
    def against_best(self) -> Comparison:
        """The comparison to the best baseline."""
        return next(each for each in self.comparisons if each.baseline == self.best_baseline)

    @property
    def skill(self) -> bool:
        """Whether the interval of the difference to each of the baselines lies above 0 as a whole.

        To the best alone is not enough: predictions unlike it may have the wider interval against a baseline a little lower.
        """
        return all(each.is_better for each in self.comparisons)

    @property
    def sentence(self) -> str:
        """Begins with *Skill* or *No skill*; says against what, by how much and how sure that is."""
        return _sentence(self)


def judge(
    metric: str,
    labels: NDArray[np.int64],
    ours: NDArray[np.floating],
    baselines: Mapping[str, NDArray[np.floating]],
    dates: NDArray[Any],
    *,
    horizon: int,
    seed: int,
    model: str = "model 1",
) -> Judgement:
    """Compares one model with baselines on the same windows.

    Args:
        metric: of :data:`~cnn_lstm_hyperopt.metrics.METRICS`.
        labels: ``(windows,)`` classes.
        ours: ``(windows, classes)`` the model's probabilities.
        baselines: probabilities by name, at least one.
        dates: ``(windows,)`` decision dates.
        horizon: bars that a label looks ahead.
        seed: of the resampling.
        model: what the sentence calls it.

    Raises:
        ValueError: there is no baseline.
    """
    if not baselines:
        raise ValueError("a model is judged against baselines, but there are none; give at least the majority class")
    own = score(metric, labels, ours)

    def compare(name: str, theirs: NDArray[np.floating]) -> Comparison:
        value = score(metric, labels, theirs)
        interval = paired_interval(metric, labels, ours, theirs, dates, horizon=horizon, seed=seed)
        return Comparison(name, _known(value), _known(own - value), interval)

    comparisons = tuple(compare(name, theirs) for name, theirs in baselines.items())
    best = max(comparisons, key=lambda each: -math.inf if each.score is None else each.score)
    return Judgement(
        model=model,
        metric=metric,
        score=_known(own),
        interval=score_interval(metric, labels, ours, dates, horizon=horizon, seed=seed),
        comparisons=comparisons,
        best_baseline=best.baseline,
        n_windows=len(labels),
        n_dates=len(np.unique(dates)),
        horizon=horizon,
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _sentence(judged: Judgement) -> str:
    verdict = "Skill" if judged.skill else "No skill"
    where = f"on {judged.n_windows:,} windows of {judged.n_dates:,} dates"
    against = judged.against_best
    if judged.score is None or against.score is None or against.difference is None:
        return f"{verdict}: {_NAMES[judged.metric]} is not defined for {judged.model} and the baselines {where}."
    said = (
        f"{verdict}: {judged.model} has {_NAMES[judged.metric]} of {_value(judged.metric, judged.score)}"
        f"{_value_interval(judged.metric, judged.interval)} {where}, {_gain(judged.metric, against)} the best baseline,"
        f" {against.baseline} with {_value(judged.metric, against.score)}"
    )
    if against.interval is None:
        said += f"; {_why_unknown(judged)}"
    else:
        said += f" (95 % interval of the difference {_told(judged.metric, against.interval)})"
    if against.is_better and not judged.skill:
        said += f"; but {_least_sure(judged)}"
    majority = next((each for each in judged.comparisons if each.baseline == MajorityClass.name), None)
    if majority is not None and majority.is_better and not judged.skill and majority.interval is not None:
        said += (
            f"; it does beat the majority class, by {_units(judged.metric, majority.difference or 0.0)}"
            f" ({_gain_interval(judged.metric, majority.interval)})"
        )
    return said + "."


def _why_unknown(judged: Judgement) -> str:
    """Why there is no interval of a difference."""
    few = too_little(judged.n_dates, judged.horizon)
    return (
        "the difference never varies, so nothing tells its error"
        if few is None
        else f"{few} of the error of the difference"
    )


def _least_sure(judged: Judgement) -> str:
    """Against which baseline the difference is the least sure, and how unsure it is."""
    least = min(judged.comparisons, key=lambda each: -math.inf if each.interval is None else each.interval.low)
    if least.score is None or least.difference is None:
        return f"{_NAMES[judged.metric]} is not defined for {least.baseline}"
    said = f"it is not surely better than {least.baseline} with {_value(judged.metric, least.score)}"
    if least.interval is None:
        return f"{said}: {_why_unknown(judged)}"
    return f"{said} (95 % interval of the difference {_told(judged.metric, least.interval)})"


def _value(metric: str, value: float) -> str:
    if metric in _SHARES:
        return f"{100 * value:.1f} %"
    return _minus(f"{-value if metric == 'log_loss' else value:.3f}")


def _value_interval(metric: str, interval: Interval | None) -> str:
    if interval is None:
        return ""
    if metric in _SHARES:
        return f" (95 % interval {100 * interval.low:.1f} to {100 * interval.high:.1f} %)"
    low, high = (-interval.high, -interval.low) if metric == "log_loss" else interval
    return _minus(f" (95 % interval {low:.3f} to {high:.3f})")


def _units(metric: str, difference: float) -> str:
    return f"{100 * abs(difference):.1f} points" if metric in _SHARES else f"{abs(difference):.3f}"


def _gain(metric: str, against: Comparison) -> str:
    """``4.1 points better than``; a log loss that is lower is better, too."""
    if not against.difference:
        return "as good as"
    return f"{_units(metric, against.difference)} {'better' if against.difference > 0 else 'worse'} than"


def _told(metric: str, interval: Interval) -> str:
    luck = ", which contains 0" if interval.low <= 0 <= interval.high else ""
    return _gain_interval(metric, interval) + luck


def _gain_interval(metric: str, interval: Interval) -> str:
    """``+1.2 to +7.0 points``, with as many digits as it takes to see on which side of 0 it begins."""
    scale, digits, unit = (100, 1, " points") if metric in _SHARES else (1, 3, "")
    low, high = scale * interval.low, scale * interval.high
    while digits < 6 and low != 0 and round(low, digits) == 0:
        digits += 1
    return _minus(f"{low:+.{digits}f} to {high:+.{digits}f}{unit}")


def _minus(text: str) -> str:
    return text.replace("-", "−")
