"""The judgement: four grades that exclude each other, and its words."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss

from cnn_lstm_hyperopt.evaluation import Dependence, Grade, judge, paired_interval, score_interval, verdict_text
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.metrics import score as metric_score
from cnn_lstm_hyperopt.metrics.log_loss import MAX_LOSS

DATES = Dependence.by_date(np.repeat(np.arange(200), 3))
every_metric = pytest.mark.parametrize("metric", METRICS)


def forecaster(labels, share: float, seed: int):
    """Right in ``share`` of the windows, with that confidence, at least 60 %."""
    rng = np.random.default_rng(seed)
    classes = np.where(rng.random(len(labels)) < share, labels, 1 - labels)
    sure = max(share, 0.6)
    return np.eye(2)[classes] * (2 * sure - 1) + (1 - sure)


def majority(labels, rate: float = 0.55):
    return np.tile([rate, 1 - rate], (len(labels), 1))


def case(ours: float, theirs: float):
    """The labels, the model and two baselines; a model as good as the second one is a copy of it."""
    labels = (np.random.default_rng(1000).random(600) < 0.45).astype(np.int64)
    baselines = {"majority class": majority(labels), "logistic regression": forecaster(labels, theirs, 1)}
    return labels, forecaster(labels, ours, 0 if ours != theirs else 1), baselines


DIFFERENCE = "(# % interval of the difference # to # points)"
CONTAINS = "(# % interval of the difference # to # points, which contains #)"
CHANCE = "its balanced accuracy is # points better than the # % of every constant prediction"
BEATS_CHANCE = f"It is better than chance: {CHANCE} {DIFFERENCE}."
WORSE = "But it is worse than a simple baseline: # points worse than the best one"
PREFER = "Prefer the simple baseline, x: it is cheaper, and"
CASES = [
    (
        0.75,
        0.6,
        Grade.BETTER,
        f"It is better than every baseline: # points better than the best one, x with # % {DIFFERENCE}.",
    ),
    (0.7, 0.95, Grade.WORSE, f"{BEATS_CHANCE} {WORSE}, x with # % {DIFFERENCE}. {PREFER} better."),
    (
        0.65,
        0.65,
        Grade.AS_GOOD,
        f"{BEATS_CHANCE} It is as good as the best simple baseline, x with # % {CONTAINS}. {PREFER} the test does not show"
        " that the model is better.",
    ),
    (
        0.55,
        0.8,
        Grade.CHANCE,
        f"It is no better than chance: {CHANCE} {CONTAINS}. The best simple baseline is x with # % {DIFFERENCE}.",
    ),
]


@every_metric
@pytest.mark.parametrize(("ours", "theirs", "grade", "_"), CASES)
def test_the_grade_of_models_that_are_better_worse_as_good_or_by_chance(metric, ours, theirs, grade, _):
    judged = judge(metric, *case(ours, theirs), DATES)
    assert (judged.grade, judged.skill, judged.best_baseline) == (grade, grade == Grade.BETTER, "logistic regression")
    assert (judged.against_best.difference == 0) == (grade is Grade.AS_GOOD)


@pytest.mark.wording
@pytest.mark.parametrize(("ours", "theirs", "_", "text"), CASES)
def test_the_text_of_each_grade(ours, theirs, _, text):
    """With # for each number and x for logistic regression."""
    found = verdict_text(judge("accuracy", *case(ours, theirs), DATES))
    shape = re.sub(r"[+−]?\d[\d.]*\d|\d", "#", found.removeprefix("Model 1").replace("logistic regression", "x"))
    assert shape == f" has an accuracy of # % (# % interval # to # %) on # test windows of # dates. {text}"


def test_the_text_has_the_numbers_of_the_judgement():
    judged = judge("accuracy", *case(0.75, 0.6), DATES, model="model 1 (trial 7)")
    text, against = verdict_text(judged), judged.against_best
    assert text.startswith("Model 1 (trial 7) ")
    numbers = (judged.score, *judged.interval, against.score, against.difference, *against.interval)
    assert all(f"{100 * number:.1f}" in text for number in numbers)
    loss = judge("log_loss", *case(0.75, 0.6), DATES)
    assert all(f" {-number:.3f}" in verdict_text(loss) for number in (loss.score, *loss.interval))


def expected_grade(chance, intervals, best):
    """The definitions, one after the other."""
    if chance is None or chance <= 0:
        return Grade.CHANCE
    if all(interval is not None and interval.low > 0 for interval in intervals.values()):
        return Grade.BETTER
    return Grade.WORSE if intervals[best] is not None and intervals[best].high < 0 else Grade.AS_GOOD


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(METRICS)),
    st.integers(0, 10_000),
    st.floats(0.3, 1.0),
    st.floats(0.3, 1.0),
    st.integers(4, 40),
    st.integers(1, 6),
    st.sampled_from(["windows", "groups", "dates"]),
)
def test_every_judgement_has_one_grade_and_no_interval_contradicts_it(
    metric, seed, share, other, n_units, horizon, kind
):
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=2 * n_units)
    units = np.repeat(np.arange(n_units), 2)
    make = {"groups": Dependence.by_group, "dates": Dependence.by_date}.get(kind)
    dependence = make(units, horizon=horizon) if make else Dependence.independent(len(labels), horizon=horizon)
    ours = forecaster(labels, share, seed)
    baselines = {
        "majority class": majority(labels),
        "coin": rng.dirichlet([5, 5], size=len(labels)),
        "other": forecaster(labels, other, seed + 1),
        "near": np.where(rng.random((len(labels), 1)) < 0.2, ours[:, ::-1], ours),
    }
    judged = judge(metric, labels, ours, baselines, dependence)
    intervals = {name: paired_interval(metric, labels, ours, said, dependence) for name, said in baselines.items()}
    scores = {name: metric_score(metric, labels, said) for name, said in baselines.items()}
    assert {each.baseline: each.interval for each in judged.comparisons} == intervals
    chance = None if intervals["majority class"] is None else intervals["majority class"].low
    if metric == "accuracy":
        balanced = score_interval("balanced_accuracy", labels, ours, dependence)
        chance = None if balanced is None else balanced.low - 1 / len(set(labels.tolist()))
    assert judged.grade is expected_grade(chance, intervals, judged.best_baseline)
    assert judged.skill is (judged.grade is Grade.BETTER)
    if all(np.isfinite(value) for value in scores.values()):
        assert scores[judged.best_baseline] == max(scores.values())
        for comparison in judged.comparisons:
            if comparison.interval is not None:
                assert comparison.interval.low <= comparison.difference <= comparison.interval.high
    assert "\n" not in verdict_text(judged)


@every_metric
@pytest.mark.parametrize(
    "dependence",
    [
        Dependence.by_date(np.zeros(60)),
        Dependence.by_date(np.arange(60) % 9),
        Dependence.by_date(np.arange(60) // 2, horizon=15),
        Dependence.by_group(np.arange(60) % 4),
        Dependence.independent(1),
    ],
)
def test_too_few_units_never_show_that_a_model_is_better(metric, dependence):
    """Not even a perfect model beside a baseline that is always wrong; the text names the reason."""
    labels = np.arange(dependence.n_windows) % 2
    perfect = np.eye(2)[labels] * 0.8 + 0.1
    judged = judge(metric, labels, perfect, {"majority class": 1 - perfect}, dependence)
    assert (judged.grade, judged.interval) == (Grade.CHANCE, None)
    assert judged.units.too_few in verdict_text(judged) or judged.score is None
    assert "nan" not in verdict_text(judged)


def test_a_tiny_gain_that_is_sure_is_not_shown_as_zero():
    """Better by 0.05 points; one digit would show +0.0."""
    n = 40_000
    labels = np.arange(n) % 2
    theirs = np.eye(2)[np.where(np.arange(n) % 9 < 3, 1 - labels, labels)]
    ours = theirs.copy()
    better = np.arange(0, n - 9, 2000) // 9 * 9 + np.arange(20) % 3
    ours[better] = np.eye(2)[labels[better]]
    judged = judge("accuracy", labels, ours, {"majority class": theirs}, Dependence.by_date(np.arange(n)))
    assert judged.skill
    assert not re.search(r"\+0\.0+ ", verdict_text(judged))


def test_overconfident_probabilities_cost_the_grade_by_log_loss_and_the_text_says_so():
    """Right in 72 % of the windows with a confidence of 99 %: a skill in classes alone."""
    labels, _, baselines = case(0.6, 0.55)
    sure = np.eye(2)[forecaster(labels, 0.72, 0).argmax(axis=1)] * 0.98 + 0.01
    judged = judge("log_loss", labels, sure, baselines, DATES)
    assert (judged.grade, judged.accuracy.grade) == (Grade.CHANCE, Grade.BETTER)
    assert judged.accuracy == judge("accuracy", labels, sure, baselines, DATES)
    assert (judged.is_overconfident, judged.preferred_baseline) == (True, None)
    share = (sure.argmax(axis=1) == labels).mean()
    assert f"overconfident, which increases the log loss: mean confidence 99.0 %, correct {100 * share:.1f} %" in (
        verdict_text(judged)
    )
    calibrated = judge("log_loss", labels, forecaster(labels, 0.72, 0), baselines, DATES)
    assert (calibrated.is_overconfident, "overconfident" in verdict_text(calibrated)) == (False, False)


@pytest.mark.parametrize(("ours", "theirs", "grade", "_"), CASES)
def test_a_baseline_is_preferred_where_the_model_beats_chance_but_not_this_baseline(ours, theirs, grade, _):
    judged = judge("log_loss", *case(ours, theirs), DATES)
    expected = "logistic regression" if grade in (Grade.WORSE, Grade.AS_GOOD) else None
    assert (judged.grade, judged.preferred_baseline) == (grade, expected)
    assert ("Prefer the simple baseline, logistic" in verdict_text(judged)) is (expected is not None)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 50), st.integers(1, 4), st.sampled_from(["windows", "groups", "dates"]))
def test_each_further_evaluation_widens_the_intervals_to_its_quantile_of_students_t(seed, number, horizon, kind):
    rng = np.random.default_rng(seed)
    labels, units = rng.integers(2, size=200), np.repeat(np.arange(50), 4)
    once = {"groups": Dependence.by_group, "dates": Dependence.by_date}.get(
        kind, lambda units, horizon: Dependence.independent(len(units), horizon=horizon)
    )(units, horizon=horizon)
    ours, theirs = (forecaster(labels, share, seed + k) * 0.9 + 0.05 for k, share in enumerate((0.6, 0.7)))
    again = once.for_evaluation(number)
    for metric in METRICS:
        first, later = (paired_interval(metric, labels, ours, theirs, each) for each in (once, again))
        assert later.low <= first.low <= first.high <= later.high
        assert later != first or first.low == first.high
    gain = (np.log(ours) - np.log(theirs))[np.arange(200), labels]
    variance = once.variance(gain)
    half = student.ppf(1 - 0.025 / number, min(variance.freedom, 1e9)) * np.sqrt(variance.value)
    middle, worst = gain.mean(), MAX_LOSS  # student's t on the scale of artanh
    ends = np.arctanh(middle / worst) + np.array([-1, 1]) * half / worst / (1 - (middle / worst) ** 2)
    assert paired_interval("log_loss", labels, ours, theirs, again) == pytest.approx(tuple(worst * np.tanh(ends)))
    assert once.for_evaluation(1).level == pytest.approx(0.95)


@every_metric
def test_accuracy_and_chance_have_the_decision_rule_of_the_model_by_every_verdict_metric(metric):
    """By scikit-learn, for a rare class that is never the most probable one."""
    rng = np.random.default_rng(0)
    labels, weights = (rng.random(400) < 0.2).astype(np.int64), np.array([0.625, 2.5])
    up = np.clip(0.2 + 0.15 * labels + rng.normal(0, 0.08, 400), 0.01, 0.49)
    ours, chance = np.column_stack([1 - up, up]), np.tile([0.8, 0.2], (400, 1))
    found = judge(
        metric, labels, ours, {"majority class": chance}, Dependence.independent(400), decision_weights=weights
    )
    decided = (ours * weights).argmax(axis=1)
    accuracy = found.accuracy or found
    assert accuracy.score == pytest.approx(accuracy_score(labels, decided))
    assert accuracy.against_chance.difference + 0.5 == pytest.approx(balanced_accuracy_score(labels, decided))
    assert found.mean_confidence == pytest.approx(ours[np.arange(400), decided].mean())
    if metric == "log_loss":  # the probabilities themselves are scored
        assert found.score == pytest.approx(-log_loss(labels, ours))
