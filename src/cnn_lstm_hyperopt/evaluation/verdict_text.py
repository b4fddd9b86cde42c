"""Sentences of a verdict about the model's score, its comparison with baselines, and the limits of the comparison."""

from cnn_lstm_hyperopt.evaluation.baselines.base import is_own
from cnn_lstm_hyperopt.evaluation.skill_test import CHANCE, Comparison, Grade, Judgement
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.metrics.log_loss import LogLoss
from cnn_lstm_hyperopt.metrics.proportions import Interval


def verdict_text(judged: Judgement) -> str:
    """Return the sentences of a verdict about score, comparison with baselines and limits.

    The text starts with the model's name.
    """
    model = judged.model[:1].upper() + judged.model[1:]
    where = f"on {judged.units.text}"
    if judged.score is None:
        return f"{model} has no score {where}: {_name(judged.metric)} is not defined there."
    achieved = (
        f"{model} has {_name(judged.metric)} of {_value(judged.metric, judged.score)}"
        f"{_value_interval(judged.metric, judged.interval, judged.level)} {where}."
    )
    return " ".join(
        [achieved, *_COMPARED[judged.grade](judged), *_by_accuracy(judged), *_limits(judged), *_preference(judged)]
    )


def recommendation_text(judged: Judgement, *, prefers_baseline: bool) -> str:
    """Return the sentences that recommend a model because confirmation does not separate the finalists.

    If the verdict prefers a simple baseline, the model is recommended only to users who want a network nevertheless.
    """
    compared = _compared(judged, judged.against_best, "the best simple baseline")
    has = "" if judged.score is None else f" ({_name(judged.metric)} of {_value(judged.metric, judged.score)})"
    advice = "If you use a network nevertheless, use" if prefers_baseline else "So use"
    return (
        f"Validation does not separate the finalists. {advice} the {judged.model}{has} instead of a single model: it is"
        f" {compared}."
    )


def level_text(level: float) -> str:
    """Return a confidence level as text, such as ``95 %`` or ``97.5 %``."""
    return f"{100 * level:.4g} %"


def _no_better_than_chance(judged: Judgement) -> list[str]:
    best = judged.against_best
    sentences = [f"It is {judged.grade}: {_against_chance(judged)}."]
    if best.baseline != CHANCE:
        sentences.append(f"The best simple baseline is {_compared_with(judged, best)}.")
    return sentences


def _worse(judged: Judgement) -> list[str]:
    return [
        f"{_above_chance(judged)}. But it is {judged.grade}: {_compared(judged, judged.against_best, 'the best one')}."
    ]


def _as_good(judged: Judgement) -> list[str]:
    best = judged.against_best
    text = f"{_above_chance(judged)}. It is "
    if not best.is_better:
        return [f"{text}{judged.grade}, {_compared_with(judged, best)}."]
    unsure = "" if judged.weakest is None else f": {_compared_with(judged, judged.weakest)}"
    return [
        f"{text}{_compared(judged, best, 'the best simple baseline')}; but not surely better than every baseline{unsure}."
    ]


def _better(judged: Judgement) -> list[str]:
    return [f"It is {judged.grade}: {_compared(judged, judged.against_best, 'the best one')}."]


_COMPARED = {Grade.CHANCE: _no_better_than_chance, Grade.WORSE: _worse, Grade.AS_GOOD: _as_good, Grade.BETTER: _better}


def _by_accuracy(judged: Judgement) -> list[str]:
    """Return sentences about the accuracy of the model, if another metric decides the grade."""
    accuracy = judged.accuracy
    if accuracy is None or accuracy.score is None:
        return []
    value = f"Its accuracy is {_value(accuracy.metric, accuracy.score)}"
    value += _value_interval(accuracy.metric, accuracy.interval, accuracy.level)
    if accuracy.against_best.interval is None:
        return [f"{value}."]
    sentences = [f"{value}, {_compared(accuracy, accuracy.against_best, 'the best baseline by accuracy')}."]
    if accuracy.grade.place > judged.grade.place:
        sentences.append(f"By accuracy it is {accuracy.grade}.")
        if judged.metric == LogLoss.name and judged.is_overconfident:
            sentences.append(
                "Its probabilities are overconfident, which increases the log loss: mean confidence"
                f" {100 * judged.mean_confidence:.1f} %, correct {100 * accuracy.score:.1f} %."
            )
    return sentences


def _preference(judged: Judgement) -> list[str]:
    name = judged.preferred_baseline
    if name is None:
        return []
    reason = "better" if judged.grade is Grade.WORSE else "the test does not show that the model is better"
    if is_own(name):
        return [f"Prefer your own baseline, {name}: {'it is better' if reason == 'better' else reason}."]
    return [f"Prefer the simple baseline, {name}: it is cheaper, and {reason}."]


def _limits(judged: Judgement) -> list[str]:
    better = [each for each in judged.comparisons if each.is_worse and each.baseline != judged.best_baseline]
    sentences = [
        f"It is worse than {each.baseline} ({_of_difference(judged)} {_gain_interval(judged.metric, each.interval)})."
        for each in better
        if judged.grade is Grade.AS_GOOD and each.interval is not None
    ]
    if judged.units.kind == "windows":
        sentences.append("The intervals take windows as independent.")
    return sentences


def _above_chance(judged: Judgement) -> str:
    return f"It is better than chance: {_against_chance(judged)}"


def _against_chance(judged: Judgement) -> str:
    """Return the comparison with chance as text.

    Example: ``its balanced accuracy is 10.5 points better than the 50.0 % of every constant prediction (…)``.
    """
    chance, metric = judged.against_chance, judged.chance_metric
    if chance.score is None or chance.difference is None:
        return f"{_name(metric)} is not defined for a constant prediction"
    whose = "every constant prediction" if metric != judged.metric else f"the best constant prediction, {CHANCE}"
    return (
        f"its {METRICS[metric].label} is {_gain(metric, chance.difference)} the {_value(metric, chance.score)} of"
        f" {whose} ({_interval_or_reason(judged, chance, metric)})"
    )


def _compared(judged: Judgement, other: Comparison, words: str) -> str:
    """Return the comparison with the best baseline as text.

    Example: ``4.1 points better than the best one, logistic regression with 70.0 % (…)``.
    """
    name = words if words.endswith(other.baseline) else f"{words}, {other.baseline}"
    if other.score is None or other.difference is None:
        return f"{_name(judged.metric)} is not defined for {other.baseline}"
    return (
        f"{_gain(judged.metric, other.difference)} {name} with {_value(judged.metric, other.score)}"
        f" ({_interval_or_reason(judged, other)})"
    )


def _compared_with(judged: Judgement, other: Comparison) -> str:
    """Return a baseline and its score as text, such as ``logistic regression with 70.0 % (…)``."""
    if other.score is None:
        return f"{other.baseline}, for which {_name(judged.metric)} is not defined"
    value = _value(judged.metric, other.score)
    return f"{other.baseline} with {value} ({_interval_or_reason(judged, other)})"


def _interval_or_reason(judged: Judgement, other: Comparison, metric: str | None = None) -> str:
    if other.interval is None:
        few = judged.units.too_few
        return "the difference is constant, so its error is unknown" if few is None else few
    contains = ", which contains 0" if other.interval.low <= 0 <= other.interval.high else ""
    return f"{_of_difference(judged)} {_gain_interval(metric or judged.metric, other.interval)}{contains}"


def _of_difference(judged: Judgement) -> str:
    return f"{level_text(judged.level)} interval of the difference"


def _name(metric: str) -> str:
    """Return the name of a metric with its article, such as ``an accuracy``."""
    return f"{METRICS[metric].article} {METRICS[metric].label}"


def _value(metric: str, value: float) -> str:
    if METRICS[metric].per_cent:
        return f"{100 * value:.1f} %"
    return _minus(f"{METRICS[metric].shown(value):.3f}")


def _value_interval(metric: str, interval: Interval | None, level: float) -> str:
    if interval is None:
        return ""
    if METRICS[metric].per_cent:
        return f" ({level_text(level)} interval {100 * interval.low:.1f} to {100 * interval.high:.1f} %)"
    low, high = sorted(METRICS[metric].shown(end) for end in interval)
    return _minus(f" ({level_text(level)} interval {low:.3f} to {high:.3f})")


def _gain(metric: str, difference: float) -> str:
    """Return a difference as text, such as ``4.1 points better than``. A positive difference is better for every metric."""
    if not difference:
        return "as good as"
    return f"{METRICS[metric].difference(difference)} {'better' if difference > 0 else 'worse'} than"


def _gain_interval(metric: str, interval: Interval) -> str:
    """Return the interval of a difference as text, such as ``+1.2 to +7.0 points``. The digits show the sign of both ends."""
    scale, digits, unit = (100, 1, " points") if METRICS[metric].per_cent else (1, 3, "")
    low, high = scale * interval.low, scale * interval.high
    while digits < 6 and any(bound != 0 and round(bound, digits) == 0 for bound in (low, high)):
        digits += 1
    return _minus(f"{low:+.{digits}f} to {high:+.{digits}f}{unit}")


def _minus(text: str) -> str:
    return text.replace("-", "−")
