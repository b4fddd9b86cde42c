"""The judgement: what is called skill, what never is, and what the sentence says."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.evaluation import judge, paired_interval
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.metrics import score as metric_score

DATES = np.repeat(np.arange(200), 3)


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


@pytest.mark.parametrize("metric", METRICS)
def test_a_model_that_is_far_better_has_skill(metric):
    judged = judge(metric, *case(0.75, 0.6), DATES, horizon=1, seed=0)
    assert judged.skill
    assert judged.best_baseline == "logistic regression"
    assert judged.sentence.startswith("Skill: model 1 has a")
    assert "logistic regression" in judged.sentence


@pytest.mark.parametrize("metric", METRICS)
def test_a_model_as_good_as_the_best_baseline_has_none(metric):
    labels, _, baselines = case(0.65, 0.65)
    judged = judge(metric, labels, baselines["logistic regression"], baselines, DATES, horizon=1, seed=0)
    assert not judged.skill
    assert judged.against_best.interval == (0, 0)
    assert "as good as the best baseline, logistic regression" in judged.sentence
    assert "; it does beat the majority class, by " in judged.sentence


def test_the_sentence_of_skill_names_everything():
    labels, ours, baselines = case(0.75, 0.6)
    judged = judge("accuracy", labels, ours, baselines, DATES, horizon=1, seed=0, model="model 1 (trial 7)")
    assert re.fullmatch(
        r"Skill: model 1 \(trial 7\) has an accuracy of \d\d\.\d % \(95 % interval \d\d\.\d to \d\d\.\d %\) on 600 windows of"
        r" 200 dates, \d\d\.\d points better than the best baseline, logistic regression with \d\d\.\d % \(95 % interval of the"
        r" difference \+\d+\.\d to \+\d\d\.\d points\)\.",
        judged.sentence,
    )
    value, best, gain = (
        metric_score("accuracy", labels, ours),
        judged.against_best.score,
        judged.against_best.difference,
    )
    for told in (f"of {100 * value:.1f} %", f"with {100 * best:.1f} %", f"{100 * gain:.1f} points better"):
        assert told in judged.sentence
    assert gain == pytest.approx(value - best)


def test_the_sentence_without_skill_says_that_luck_is_enough():
    judged = judge("accuracy", *case(0.65, 0.64, seed=3), DATES, horizon=1, seed=0)
    assert not judged.skill
    assert re.search(
        r"difference −\d+\.\d to \+\d+\.\d points, which contains 0\); it does beat the majority", judged.sentence
    )


def test_a_log_loss_is_told_as_a_loss():
    labels, ours, baselines = case(0.75, 0.6)
    judged = judge("log_loss", labels, ours, baselines, DATES, horizon=1, seed=0)
    loss = -metric_score("log_loss", labels, ours)
    assert (
        f"a log loss of {loss:.3f} (95 % interval {-judged.interval.high:.3f} to {-judged.interval.low:.3f})"
        in judged.sentence
    )
    assert re.search(r"0\.\d{3} better than the best baseline, .* with 0\.\d{3} ", judged.sentence)


def test_a_model_that_is_worse_is_told_so_and_does_not_beat_the_majority():
    judged = judge("accuracy", *case(0.4, 0.7), DATES, horizon=1, seed=0)
    assert " points worse than the best baseline" in judged.sentence
    assert "contains 0" not in judged.sentence
    assert "majority" not in judged.sentence


def test_the_best_baseline_is_chosen_by_the_metric_on_these_windows():
    """A sure forecaster has the better accuracy, a modest one the better log loss."""
    labels = (np.random.default_rng(0).random(600) < 0.5).astype(np.int64)
    sharp = forecaster(labels, 0.65, 1)
    baselines = {"boasting": np.where(sharp > 0.5, 0.999, 0.001), "modest": majority(labels, 0.501)}
    found = {
        metric: judge(metric, labels, sharp, baselines, DATES, horizon=1, seed=0) for metric in ("accuracy", "log_loss")
    }
    assert (found["accuracy"].best_baseline, found["log_loss"].best_baseline) == ("boasting", "modest")
    assert [each.baseline for each in found["accuracy"].comparisons] == ["boasting", "modest"]


def test_a_tiny_gain_that_is_sure_is_not_told_as_zero():
    """Skill by 0.05 points, of which a part is sure, would read +0.0 with one digit."""
    n = 40_000
    labels = np.arange(n) % 2
    theirs, ours = np.eye(2)[1 - labels], np.eye(2)[1 - labels]
    better = np.arange(0, n, 2000) + np.arange(20) % 7
    ours[better] = np.eye(2)[labels[better]]
    judged = judge("accuracy", labels, ours, {"other": theirs}, np.arange(n), horizon=1, seed=0)
    assert judged.skill
    assert not re.search(r"difference \+0\.0+ ", judged.sentence)


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


def test_to_beat_the_best_baseline_surely_and_another_not_surely_is_no_skill():
    judged = judge("accuracy", *like_the_best_only(), DATES, horizon=1, seed=0)
    by_name = {each.baseline: each for each in judged.comparisons}
    assert judged.best_baseline == "near"
    assert by_name["near"].is_better
    assert not by_name["stranger"].is_better
    assert not judged.skill
    stranger = by_name["stranger"]
    low, high = (f"{100 * bound:+.1f}".replace("-", "−") for bound in stranger.interval)
    assert re.match(r"No skill: model 1 has .* points better than the best baseline, near with ", judged.sentence)
    assert (
        f"points); but it is not surely better than stranger with {100 * stranger.score:.1f} %"
        f" (95 % interval of the difference {low} to {high} points, which contains 0); it does beat the majority class, by "
    ) in judged.sentence


def test_a_difference_to_another_baseline_that_is_not_known_is_no_skill():
    """All windows of the other are wrong where ours are right, so that their difference never varies."""
    labels = np.arange(600) % 2
    perfect = np.eye(2)[labels] * 0.8 + 0.1
    near = perfect.copy()
    near[::20] = near[::20, ::-1]
    judged = judge("accuracy", labels, perfect, {"near": near, "inverse": 1 - perfect}, DATES, horizon=1, seed=0)
    assert judged.against_best.is_better
    assert not judged.skill
    assert judged.sentence.endswith(
        "; but it is not surely better than inverse with 0.0 %: the difference never varies, so nothing tells its error."
    )


def test_a_horizon_that_is_too_long_for_the_dates_is_named_as_the_reason():
    labels = np.arange(240) % 2
    said = {"majority class": majority(labels)}
    judged = judge("accuracy", labels, forecaster(labels, 0.9, 0), said, np.arange(240) // 2, horizon=60, seed=0)
    assert not judged.skill
    assert judged.sentence.endswith(
        "; a horizon of 60 bars leaves too few independent stretches in 120 dates to tell anything of the error of the"
        " difference."
    )


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(METRICS)),
    st.integers(0, 10_000),
    st.floats(0.45, 0.75),
    st.integers(8, 40),
    st.integers(1, 6),
)
def test_skill_is_told_exactly_where_the_intervals_to_all_baselines_lie_above_zero(
    metric, seed, share, n_dates, horizon
):
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=2 * n_dates)
    dates = np.repeat(np.arange(n_dates), 2)
    ours = forecaster(labels, share, seed)
    baselines = {
        "majority class": majority(labels),
        "coin": rng.dirichlet([5, 5], size=len(labels)),
        "near": np.where(rng.random((len(labels), 1)) < 0.2, ours[:, ::-1], ours),
    }
    judged = judge(metric, labels, ours, baselines, dates, horizon=horizon, seed=seed)
    intervals = {
        name: paired_interval(metric, labels, ours, said, dates, horizon=horizon, seed=seed)
        for name, said in baselines.items()
    }
    scores = {name: metric_score(metric, labels, said) for name, said in baselines.items()}
    assert {each.baseline: each.interval for each in judged.comparisons} == intervals
    assert judged.skill == all(interval is not None and interval.low > 0 for interval in intervals.values())
    assert judged.sentence.startswith("Skill: " if judged.skill else "No skill: ")
    if all(np.isfinite(value) for value in scores.values()):
        assert scores[judged.best_baseline] == max(scores.values())


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("labels", "dates"),
    [
        (np.arange(60) % 2, np.zeros(60)),
        (np.arange(60) % 2, np.arange(60) % 9),
        (np.ones(60, np.int64), np.arange(60)),
        (np.array([1]), np.array([0])),
    ],
    ids=["one date", "nine dates", "one class", "one window"],
)
def test_degenerate_windows_never_show_skill(metric, labels, dates):
    """Not even for a perfect model beside a baseline that is always wrong."""
    perfect = np.eye(2)[labels] * 0.8 + 0.1
    judged = judge(metric, labels, perfect, {"majority class": 1 - perfect}, dates, horizon=1, seed=0)
    assert not judged.skill
    assert judged.sentence.startswith("No skill: ")


def test_what_is_not_defined_is_told():
    labels = np.ones(50, np.int64)
    said = forecaster(labels, 0.7, 0)
    judged = judge("auc", labels, said, {"majority class": majority(labels)}, np.arange(50), horizon=1, seed=0)
    assert (judged.score, judged.interval, judged.against_best.difference) == (None, None, None)
    assert judged.sentence == "No skill: an AUC is not defined for model 1 and the baselines on 50 windows of 50 dates."


def test_too_few_dates_are_named_as_the_reason():
    labels = np.arange(20) % 2
    said = {"majority class": majority(labels)}
    judged = judge("accuracy", labels, forecaster(labels, 0.9, 0), said, np.arange(20) // 4, horizon=1, seed=0)
    assert judged.sentence.endswith("; fewer than 10 dates tell nothing of the error of the difference.")


def test_without_a_baseline_there_is_nothing_to_judge_against():
    with pytest.raises(ValueError, match="give at least the majority class"):
        judge("accuracy", np.zeros(3, np.int64), np.ones((3, 2)), {}, np.arange(3), horizon=1, seed=0)
