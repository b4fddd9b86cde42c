"""The judgement: four grades that exclude each other, and its words."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.evaluation import Dependence, Grade, judge, paired_interval, score_interval, verdict_text
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.metrics import score as metric_score

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
    labels = (np.random.default_rng(1000).random(600) < 0.45).astype(np.int64)
    baselines = {"majority class": majority(labels), "logistic regression": forecaster(labels, theirs, 1)}
    return labels, forecaster(labels, ours, 0), baselines


@every_metric
@pytest.mark.parametrize(
    ("ours", "theirs", "grade"),
    [
        (0.75, 0.6, "better than every baseline"),
        (0.7, 0.95, "worse than a simple baseline"),
        (0.55, 0.8, "no better than chance"),
        (0.3, 0.8, "no better than chance"),
    ],
)
def test_the_grade_of_models_that_are_better_worse_or_by_chance(metric, ours, theirs, grade):
    judged = judge(metric, *case(ours, theirs), DATES)
    assert (judged.grade, judged.skill) == (grade, grade == Grade.BETTER)
    assert judged.best_baseline == "logistic regression"


@every_metric
def test_a_copy_of_the_best_baseline_is_as_good(metric):
    labels, _, baselines = case(0.65, 0.65)
    judged = judge(metric, labels, baselines["logistic regression"], baselines, DATES)
    assert (judged.grade, judged.skill, judged.against_best.difference) == (Grade.AS_GOOD, False, 0)


def like_the_best_only():
    """A model that beats a copy of itself with 20 more errors surely, and a stranger with 24 more, but not surely."""
    labels = (np.random.default_rng(5).random(600) < 0.5).astype(np.int64)
    ours = forecaster(labels, 0.66, 6)
    right = np.flatnonzero(ours.argmax(axis=1) == labels)
    near = ours.copy()
    near[right[::20]] = near[right[::20], ::-1]
    hits = np.random.default_rng(7).permutation(600) < len(right) - 24
    stranger = np.eye(2)[np.where(hits, labels, 1 - labels)] * 0.2 + 0.4
    return labels, ours, {"majority class": majority(labels), "near": near, "stranger": stranger}


def test_beating_the_best_baseline_is_not_enough_if_another_may_be_as_good():
    judged = judge("accuracy", *like_the_best_only(), Dependence.independent(600))
    better = {each.baseline: each.is_better for each in judged.comparisons}
    assert (judged.best_baseline, judged.grade) == ("near", Grade.AS_GOOD)
    assert (better["near"], better["stranger"]) == (True, False)
    assert "stranger" in verdict_text(judged)


@pytest.mark.parametrize("informed", [True, False])
def test_chance_is_any_constant_prediction_although_the_classes_drift(informed):
    """The share of class 1 is 0.2 or 0.8 for 60 dates in a row; a model with little skill, and a constant that got lucky."""
    rng = np.random.default_rng(3)
    dates = np.repeat(np.arange(420), 3)
    labels = (rng.random(1260) < np.where(dates // 60 % 2 == 0, 0.8, 0.2)).astype(np.int64)
    sure = 0.5 + 0.2 * rng.random((1260, 1))
    says = np.where(rng.random(1260) < 0.62, labels, 1 - labels) if informed else np.ones(1260, np.int64)
    dependence = Dependence.by_date(dates) if informed else Dependence.independent(1260)
    if not informed:
        labels[:900] = 1
    ours = np.where(np.eye(2)[says] > 0, sure, 1 - sure)
    judged = judge("accuracy", labels, ours, {"majority class": majority(labels)}, dependence)
    assert judged.comparisons[0].is_better is not informed
    assert judged.grade is (Grade.AS_GOOD if informed else Grade.CHANCE)


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
    dependence = {
        "windows": Dependence.independent(len(labels), horizon=horizon),
        "groups": Dependence.by_group(units, horizon=horizon),
        "dates": Dependence.by_date(units, horizon=horizon),
    }[kind]
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


def test_baselines_without_the_majority_class_are_refused():
    with pytest.raises(ValueError, match="majority class"):
        judge("accuracy", np.zeros(3, np.int64), np.ones((3, 2)), {}, Dependence.independent(3))


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
    ids=["one date", "nine dates", "long horizon", "four groups", "one window"],
)
def test_too_few_units_never_show_that_a_model_is_better(metric, dependence):
    """Not even a perfect model beside a baseline that is always wrong; the text names the reason."""
    labels = np.arange(dependence.n_windows) % 2
    perfect = np.eye(2)[labels] * 0.8 + 0.1
    judged = judge(metric, labels, perfect, {"majority class": 1 - perfect}, dependence)
    assert (judged.grade, judged.interval) == (Grade.CHANCE, None)
    assert judged.units.too_few in verdict_text(judged) or judged.score is None


# ---------------------------------------------------------------------- the text


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


def test_the_text_has_the_numbers_of_the_judgement_and_the_kind_of_the_windows():
    labels, ours, baselines = case(0.75, 0.6)
    for dependence, where in (
        (Dependence.independent(600), r"600 test windows\."),
        (Dependence.by_group(np.arange(600) % 12), r"600 test windows of 12 groups\."),
        (DATES, r"600 test windows of 200 dates\."),
    ):
        judged = judge("accuracy", labels, ours, baselines, dependence, model="model 1 (trial 7)")
        text, against = verdict_text(judged), judged.against_best
        assert text.startswith("Model 1 (trial 7) ")
        assert re.search(where, text)
        numbers = (judged.score, *judged.interval, against.score, against.difference)
        assert all(f"{100 * number:.1f}" in text for number in numbers)
        assert (f"{100 * against.interval.low:+.1f} to" in text) == (judged.grade is Grade.BETTER)
    loss = judge("log_loss", labels, ours, baselines, DATES)
    for number in (loss.score, loss.interval.low, loss.interval.high):
        assert f" {-number:.3f}" in verdict_text(loss)


DIFFERENCE = "(# % interval of the difference # to # points)"
CONTAINS = "(# % interval of the difference # to # points, which contains #)"
CHANCE = "its balanced accuracy is # points better than the # % of every constant prediction"


@pytest.mark.wording
@pytest.mark.parametrize(
    ("ours", "theirs", "text"),
    [
        (0.75, 0.6, f"It is better than every baseline: # points better than the best one, x with # % {DIFFERENCE}."),
        (
            0.7,
            0.95,
            f"It is better than chance: {CHANCE} {DIFFERENCE}. But it is worse than a simple baseline: # points worse than the"
            f" best one, x with # % {DIFFERENCE}.",
        ),
        (
            0.55,
            0.8,
            f"It is no better than chance: {CHANCE} {CONTAINS}. The best simple baseline is x with # % {DIFFERENCE}.",
        ),
        (
            0.65,
            0.65,
            f"It is better than chance: {CHANCE} {DIFFERENCE}. It is as good as the best simple baseline, x with # %"
            f" {CONTAINS}.",
        ),
    ],
)
def test_the_text_of_each_grade(ours, theirs, text):
    """With # for each number and x for logistic regression."""
    labels, model, baselines = case(ours, theirs)
    if ours == theirs:
        model = baselines["logistic regression"]
    found = verdict_text(judge("accuracy", labels, model, baselines, DATES))
    shape = re.sub(r"[+−]?\d[\d.]*\d|\d", "#", found.removeprefix("Model 1").replace("logistic regression", "x"))
    assert shape == f" has an accuracy of # % (# % interval # to # %) on # test windows of # dates. {text}"


def test_an_undefined_score_has_no_number():
    labels = np.ones(50, np.int64)
    dependence = Dependence.by_date(np.arange(50))
    judged = judge("auc", labels, forecaster(labels, 0.7, 0), {"majority class": majority(labels)}, dependence)
    assert (judged.score, judged.interval, judged.against_best.difference) == (None, None, None)
    assert judged.grade is Grade.CHANCE
    assert "nan" not in verdict_text(judged)
