"""The judgement: four grades that exclude each other, and what the text says."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.evaluation import Dependence, Grade, judge, paired_interval, score_interval, verdict_text
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.metrics import score as metric_score

DATES = Dependence.by_date(np.repeat(np.arange(200), 3))


def forecaster(labels, share: float, seed: int):
    """Right in ``share`` of the windows, and as sure as that, at least 60 %."""
    rng = np.random.default_rng(seed)
    classes = np.where(rng.random(len(labels)) < share, labels, 1 - labels)
    sure = max(share, 0.6)
    return np.eye(2)[classes] * (2 * sure - 1) + (1 - sure)


def majority(labels, rate: float = 0.55):
    return np.tile([rate, 1 - rate], (len(labels), 1))


def case(ours: float, theirs: float, seed: int = 0):
    labels = (np.random.default_rng(1000 + seed).random(600) < 0.45).astype(np.int64)
    baselines = {"majority class": majority(labels), "logistic regression": forecaster(labels, theirs, seed + 1)}
    return labels, forecaster(labels, ours, seed), baselines


# ---------------------------------------------------------------------- grades


def test_a_perfect_model_on_40_windows_sorted_by_class_is_better_than_every_baseline():
    """Right in 40 of 40; the best baseline in 31, with all its errors in one class."""
    labels = np.repeat([0, 1], 20)
    perfect = np.eye(2)[labels] * 0.9 + 0.05
    near = np.eye(2)[np.where(np.arange(40) >= 31, 0, labels)] * 0.9 + 0.05
    baselines = {"majority class": majority(labels), "logistic regression": near}
    judged = judge("accuracy", labels, perfect, baselines, Dependence.independent(40))
    assert judged.grade is Grade.BETTER
    assert judged.skill
    assert judged.interval.low > 0.9
    low, high = judged.against_best.interval
    assert 0.1 < low < 0.225 < high < 0.4
    text = verdict_text(judged)
    assert text.startswith("Model 1 has an accuracy of 100.0 % (95 % interval 91.2 to 100.0 %) on 40 test windows.")
    assert "better than every baseline: 22.5 points better than the best one, logistic regression with 77.5 %" in text
    assert "date" not in text


@pytest.mark.parametrize("metric", METRICS)
def test_a_model_that_is_far_better(metric):
    judged = judge(metric, *case(0.75, 0.6), DATES)
    assert (judged.grade, judged.skill) == ("better than every baseline", True)
    assert judged.best_baseline == "logistic regression"


@pytest.mark.parametrize("metric", METRICS)
def test_a_model_that_equals_the_best_baseline(metric):
    labels, _, baselines = case(0.65, 0.65)
    judged = judge(metric, labels, baselines["logistic regression"], baselines, DATES)
    assert (judged.grade, judged.skill) == ("as good as the best simple baseline", False)
    assert judged.against_best.difference == 0
    text = verdict_text(judged)
    assert "It is as good as the best simple baseline, logistic regression with " in text
    assert "which contains 0" in text
    assert "It is better than chance: " in text


@pytest.mark.parametrize("metric", METRICS)
def test_a_model_that_beats_chance_and_is_worse_than_a_baseline(metric):
    judged = judge(metric, *case(0.7, 0.95), DATES)
    assert (judged.grade, judged.skill) == ("worse than a simple baseline", False)
    text = verdict_text(judged)
    assert "It is better than chance: " in text
    assert re.search(r" worse than the best one, logistic regression with .* of the difference −", text)
    assert "no better than chance" not in text


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("share", [0.55, 0.3])
def test_a_model_that_does_not_beat_chance(metric, share):
    judged = judge(metric, *case(share, 0.8), DATES)
    assert (judged.grade, judged.skill) == ("no better than chance", False)
    text = verdict_text(judged)
    assert " It is no better than chance: " in text
    assert "The best simple baseline is logistic regression with " in text


def like_the_best_only():
    """A model that a copy of itself with 20 errors more is behind of, surely; a stranger with 24 more, but not surely."""
    labels = (np.random.default_rng(5).random(600) < 0.5).astype(np.int64)
    ours = forecaster(labels, 0.66, 6)
    right = np.flatnonzero(ours.argmax(axis=1) == labels)
    near = ours.copy()
    near[right[::20]] = near[right[::20], ::-1]
    hits = np.random.default_rng(7).permutation(600) < len(right) - 24
    stranger = np.eye(2)[np.where(hits, labels, 1 - labels)] * 0.2 + 0.4
    return labels, ours, {"majority class": majority(labels), "near": near, "stranger": stranger}


def test_to_beat_the_best_baseline_surely_and_another_not_surely_is_not_better_than_every_one():
    judged = judge("accuracy", *like_the_best_only(), Dependence.independent(600))
    by_name = {each.baseline: each for each in judged.comparisons}
    assert judged.best_baseline == "near"
    assert by_name["near"].is_better
    assert not by_name["stranger"].is_better
    assert judged.grade is Grade.AS_GOOD
    assert re.search(
        r"points better than the best simple baseline, near with .*; but not surely better than every baseline: stranger with"
        r" .*, which contains 0\)\.",
        verdict_text(judged),
    )


def drifting(informed: bool):
    """Dates whose share of class 1 is 0.2 or 0.8 for 60 dates in a row, and a model; three windows a date.

    The model knows a little in both, or says class 1 always, which is the more frequent class there by luck.
    """
    rng = np.random.default_rng(3)
    dates = np.repeat(np.arange(420), 3)
    labels = (rng.random(1260) < np.where(dates // 60 % 2 == 0, 0.8, 0.2)).astype(np.int64)
    sure = 0.5 + 0.2 * rng.random((1260, 1))
    says = np.where(rng.random(1260) < 0.62, labels, 1 - labels) if informed else np.ones(1260, np.int64)
    return labels, np.where(np.eye(2)[says] > 0, sure, 1 - sure), Dependence.by_date(dates)


def test_a_model_that_knows_a_little_beats_chance_although_the_classes_drift():
    labels, ours, dependence = drifting(informed=True)
    judged = judge("accuracy", labels, ours, {"majority class": majority(labels)}, dependence)
    assert not judged.comparisons[0].is_better
    assert judged.grade is Grade.AS_GOOD
    assert re.search(
        r"better than chance: its balanced accuracy is \d+\.\d points better than the 50\.0 % of every constant prediction",
        verdict_text(judged),
    )


def test_a_constant_class_does_not_beat_chance_although_it_became_the_more_frequent_one():
    labels, ours, _ = drifting(informed=False)
    labels[:900] = 1
    judged = judge("accuracy", labels, ours, {"majority class": majority(labels)}, Dependence.independent(1260))
    assert judged.comparisons[0].is_better
    assert judged.grade is Grade.CHANCE


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
def test_every_judgement_has_exactly_one_grade_and_no_interval_contradicts_it(
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
    text = verdict_text(judged)
    assert text.startswith("Model 1 has ")
    assert "No skill" not in text
    assert "\n" not in text


def test_without_the_majority_class_there_is_nothing_to_judge_against():
    with pytest.raises(ValueError, match="baselines must include"):
        judge("accuracy", np.zeros(3, np.int64), np.ones((3, 2)), {}, Dependence.independent(3))


# ---------------------------------------------------------------------- the text


def test_the_text_names_everything():
    labels, ours, baselines = case(0.75, 0.6)
    judged = judge("accuracy", labels, ours, baselines, DATES, model="model 1 (trial 7)")
    assert re.fullmatch(
        r"Model 1 \(trial 7\) has an accuracy of \d\d\.\d % \(95 % interval \d\d\.\d to \d\d\.\d %\) on 600 test windows of"
        r" 200 dates\. It is better than every baseline: \d\d\.\d points better than the best one, logistic regression with"
        r" \d\d\.\d % \(95 % interval of the difference \+\d+\.\d to \+\d\d\.\d points\)\.",
        verdict_text(judged),
    )
    value, best, gain = (
        metric_score("accuracy", labels, ours),
        judged.against_best.score,
        judged.against_best.difference,
    )
    for told in (f"of {100 * value:.1f} %", f"with {100 * best:.1f} %", f"{100 * gain:.1f} points better"):
        assert told in verdict_text(judged)
    assert gain == pytest.approx(value - best)


@pytest.mark.parametrize(
    ("dependence", "where"),
    [
        (Dependence.independent(600), "on 600 test windows. "),
        (Dependence.by_group(np.arange(600) % 12), "on 600 test windows of 12 groups. "),
        (DATES, "on 600 test windows of 200 dates. "),
    ],
    ids=["windows", "groups", "dates"],
)
def test_the_text_speaks_of_what_the_windows_are(dependence, where):
    text = verdict_text(judge("accuracy", *case(0.75, 0.6), dependence))
    assert where in text
    assert ("date" in text) == (dependence.kind == "dates")
    assert ("windows as independent" in text) == (dependence.kind == "windows")


def test_a_log_loss_is_told_as_a_loss():
    labels, ours, baselines = case(0.75, 0.6)
    judged = judge("log_loss", labels, ours, baselines, DATES)
    loss = -metric_score("log_loss", labels, ours)
    assert (
        f"a log loss of {loss:.3f} (95 % interval {-judged.interval.high:.3f} to {-judged.interval.low:.3f})"
        in verdict_text(judged)
    )
    assert re.search(r"0\.\d{3} better than the best one, .* with 0\.\d{3} ", verdict_text(judged))


def test_the_best_baseline_is_chosen_by_the_metric_on_these_windows():
    """A sure forecaster has the better accuracy, a modest one the better log loss."""
    labels = (np.random.default_rng(0).random(600) < 0.5).astype(np.int64)
    sharp = forecaster(labels, 0.65, 1)
    baselines = {"boasting": np.where(sharp > 0.5, 0.999, 0.001), "majority class": majority(labels, 0.501)}
    found = {metric: judge(metric, labels, sharp, baselines, DATES) for metric in ("accuracy", "log_loss")}
    assert (found["accuracy"].best_baseline, found["log_loss"].best_baseline) == ("boasting", "majority class")
    assert [each.baseline for each in found["accuracy"].comparisons] == ["boasting", "majority class"]


def test_a_tiny_gain_that_is_sure_is_not_told_as_zero():
    """Better by 0.05 points, of which a part is sure, would read +0.0 with one digit."""
    n = 40_000
    labels = np.arange(n) % 2
    theirs = np.eye(2)[np.where(np.arange(n) % 9 < 3, 1 - labels, labels)]
    ours = theirs.copy()
    better = np.arange(0, n - 9, 2000) // 9 * 9 + np.arange(20) % 3
    ours[better] = np.eye(2)[labels[better]]
    judged = judge("accuracy", labels, ours, {"majority class": theirs}, Dependence.by_date(np.arange(n)))
    assert judged.skill
    assert not re.search(r"difference \+0\.0+ ", verdict_text(judged))


def test_a_horizon_that_is_too_long_for_the_dates_is_named_as_the_reason():
    labels = np.arange(240) % 2
    said = {"majority class": majority(labels)}
    dependence = Dependence.by_date(np.arange(240) // 2, horizon=60)
    judged = judge("accuracy", labels, forecaster(labels, 0.9, 0), said, dependence)
    assert judged.grade is Grade.CHANCE
    assert verdict_text(judged).endswith(
        "(a horizon of 60 bars leaves too few independent stretches in 120 dates for an interval)."
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("labels", "dependence"),
    [
        (np.arange(60) % 2, Dependence.by_date(np.zeros(60))),
        (np.arange(60) % 2, Dependence.by_date(np.arange(60) % 9)),
        (np.arange(60) % 2, Dependence.by_group(np.arange(60) % 4)),
        (np.array([1]), Dependence.independent(1)),
    ],
    ids=["one date", "nine dates", "four groups", "one window"],
)
def test_too_few_units_never_show_that_a_model_is_better(metric, labels, dependence):
    """Not even for a perfect model beside a baseline that is always wrong."""
    perfect = np.eye(2)[labels] * 0.8 + 0.1
    judged = judge(metric, labels, perfect, {"majority class": 1 - perfect}, dependence)
    assert judged.grade is Grade.CHANCE
    assert judged.interval is None


def test_too_few_dates_are_named_as_the_reason():
    labels = np.arange(20) % 2
    said = {"majority class": majority(labels)}
    judged = judge("accuracy", labels, forecaster(labels, 0.9, 0), said, Dependence.by_date(np.arange(20) // 4))
    assert verdict_text(judged).endswith("(fewer than 10 dates give no interval).")


def test_what_is_not_defined_is_told():
    labels = np.ones(50, np.int64)
    said = forecaster(labels, 0.7, 0)
    judged = judge("auc", labels, said, {"majority class": majority(labels)}, Dependence.by_date(np.arange(50)))
    assert (judged.score, judged.interval, judged.against_best.difference) == (None, None, None)
    assert judged.grade is Grade.CHANCE
    assert verdict_text(judged) == "Model 1 has no score on 50 test windows of 50 dates: an AUC is not defined there."
