"""The skill threshold in closed form, and for every metric by simulation of models that have learnt nothing."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from scipy.stats import mannwhitneyu, norm

from cnn_lstm_hyperopt.metrics import METRICS, score
from cnn_lstm_hyperopt.search import SkillThreshold, no_skill, undefined_in


@pytest.mark.parametrize(
    ("chance", "n", "threshold"),
    [(0.5, 100, 0.6), (0.8, 400, 0.84), (0.5, 10_000, 0.51), (1.0, 50, 1.0), (0.9, 9, 1.1)],
)
def test_threshold_is_chance_and_two_standard_errors(chance, n, threshold):
    assert SkillThreshold(chance, n).threshold == pytest.approx(threshold, rel=1e-12)


def test_a_trial_on_the_line_has_not_passed():
    skill = SkillThreshold(0.5, 100)
    assert not skill.passes(skill.threshold)
    assert skill.passes(math.nextafter(skill.threshold, 1))


@given(st.floats(0.01, 0.99), st.integers(1, 10**6), st.floats(0, 1) | st.none())
def test_a_score_breaks_the_constraint_exactly_where_it_does_not_pass(chance, n, score):
    skill = SkillThreshold(chance, n)
    score = skill.threshold if score is None else score
    assert (skill.shortfall(score) > 0) == (not skill.passes(score))
    assert skill.shortfall(score) == pytest.approx(skill.threshold - score, abs=1e-300)


@given(st.floats(0.01, 0.99), st.integers(1, 10**6), st.floats(0, 1))
def test_passing_means_two_standard_errors_above_chance(chance, n, accuracy):
    standard_error = math.sqrt(chance * (1 - chance) / n)
    if abs(accuracy - chance - 2 * standard_error) > 1e-9:
        assert SkillThreshold(chance, n).passes(accuracy) == ((accuracy - chance) / standard_error > 2)


def test_the_gate_lets_chance_through_about_once_in_forty():
    """Binomial: the share of majority guessers above the line is the normal tail beyond 2, 2.3 %."""
    skill = SkillThreshold(0.55, 1000)
    accuracies = np.random.default_rng(0).binomial(1000, 0.55, 20_000) / 1000
    assert 0.015 < np.mean([skill.passes(a) for a in accuracies]) < 0.03


@pytest.mark.parametrize("overlap", [1, 3, 10, 500])
def test_windows_that_look_at_the_same_bar_count_together(overlap):
    """Ten windows of ten bars' horizon are one reading."""
    skill = SkillThreshold(0.5, 1000, overlap)
    assert skill.n_effective == 1000 / overlap
    assert skill.threshold == pytest.approx(
        SkillThreshold(0.5, 1000).threshold + (math.sqrt(overlap) - 1) / math.sqrt(1000)
    )
    assert skill.standard_error(0.8) == pytest.approx(0.4 * math.sqrt(overlap / 1000))


def test_there_is_one_reading_at_least():
    assert SkillThreshold(0.5, 3, overlap=60).n_effective == 1.0
    assert SkillThreshold(0.5, 0).n_effective == 1.0


@pytest.mark.parametrize(("accuracy", "error"), [(0.0, 0.0), (1.0, 0.0), (-0.1, 0.0), (1.2, 0.0), (0.5, 0.05)])
def test_no_accuracy_has_an_error_that_is_no_number(accuracy, error):
    """An extrapolation may lie beyond 0 or 1."""
    assert SkillThreshold(0.5, 100).standard_error(accuracy) == pytest.approx(error)


# ---------------------------------------------------------------------- other metrics

UNEVEN = np.repeat([0, 1], [140, 260])
THREE = np.repeat([0, 1, 2], [90, 130, 180])
every_metric = pytest.mark.parametrize("metric", METRICS)


def noise(labels: np.ndarray, generator: np.random.Generator, spread: float) -> np.ndarray:
    """What a model says that knows the base rates and nothing else: their logits, and noise."""
    rates = np.bincount(labels) / len(labels)
    return softmax(np.log(rates) + spread * generator.standard_normal((len(labels), len(rates))), axis=1)


def uniform(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """What a model says to which all classes are alike."""
    return softmax(generator.standard_normal((len(labels), labels.max() + 1)), axis=1)


def scores_of(metric: str, labels: np.ndarray, says: Callable[[np.ndarray, np.random.Generator], np.ndarray], n: int):
    generator = np.random.default_rng(0)
    return np.array([score(metric, labels, says(labels, generator)) for _ in range(n)])


@pytest.mark.parametrize(
    ("metric", "labels", "chance", "error"),
    [
        ("accuracy", UNEVEN, 0.65, math.sqrt(0.65 * 0.35 / 400)),
        ("accuracy", THREE, 0.45, math.sqrt(0.45 * 0.55 / 400)),
        ("balanced_accuracy", UNEVEN, 1 / 2, math.sqrt(0.25 / 140 + 0.25 / 260) / 2),
        ("balanced_accuracy", THREE, 1 / 3, math.sqrt(2 / 9 * (1 / 90 + 1 / 130 + 1 / 180)) / 3),
        ("mcc", UNEVEN, 0.0, 0.05),
        ("mcc", THREE, 0.0, 0.05),
        ("auc", UNEVEN, 0.5, math.sqrt(401 / (12 * 140 * 260))),
        ("auc", THREE, 0.5, sum(math.sqrt(401 / (12 * n * (400 - n))) for n in (90, 130, 180)) / 3),
        ("log_loss", UNEVEN, 0.65 * math.log(0.65) + 0.35 * math.log(0.35), 1 / 400),
        ("log_loss", np.arange(800) % 2, -math.log(2), 1 / 800),
    ],
)
def test_chance_and_its_error_in_closed_form(metric, labels, chance, error):
    assert no_skill(metric, [labels]) == pytest.approx((chance, error), rel=1e-12)
    skill = SkillThreshold.on(metric, [labels])
    assert skill.chance == pytest.approx(chance)
    assert skill.standard_error(chance) == pytest.approx(error)
    assert skill.threshold == pytest.approx(chance + 2 * error)
    assert (skill.n_validation, skill.metric) == (len(labels), metric)


@every_metric
@pytest.mark.parametrize("labels", [UNEVEN, THREE], ids=["two", "three"])
def test_chance_is_what_the_best_constant_prediction_scores(metric, labels):
    rates = np.bincount(labels) / len(labels)
    constants = [rates, *np.eye(len(rates)), *np.random.default_rng(0).dirichlet(np.ones(len(rates)), 30)]
    best = max(score(metric, labels, np.tile(each, (len(labels), 1))) for each in constants)
    assert SkillThreshold.on(metric, [labels]).chance == pytest.approx(best)


def test_for_an_accuracy_it_is_the_gate_that_it_always_was():
    assert SkillThreshold.on("accuracy", [UNEVEN], overlap=5) == SkillThreshold(0.65, 400, overlap=5)


def test_the_error_of_an_auc_is_that_of_mann_and_whitney():
    """U of the normal approximation, as scipy has it without its correction for continuity."""
    generator = np.random.default_rng(0)
    ones, zeros = generator.normal(size=130), generator.normal(size=90)
    found = mannwhitneyu(ones, zeros, method="asymptotic", use_continuity=False)
    area, labels = found.statistic / (130 * 90), np.repeat([1, 0], [130, 90])
    chance, error = no_skill("auc", [labels])
    assert 2 * norm.sf(abs(area - chance) / error) == pytest.approx(found.pvalue)


@pytest.mark.parametrize(
    ("metric", "labels", "least"),
    [
        ("balanced_accuracy", UNEVEN, 0.95),
        ("balanced_accuracy", THREE, 0.95),
        ("mcc", UNEVEN, 0.95),
        ("mcc", THREE, 0.68),  # 1/√2 with three classes that are guessed equally often
        ("auc", UNEVEN, 0.95),
        ("auc", THREE, 0.55),  # what is for one class is against the others
    ],
)
def test_the_errors_of_those_who_guess_are_no_larger_than_told(metric, labels, least):
    scores = scores_of(metric, labels, uniform, 2000)
    chance, error = no_skill(metric, [labels])
    assert scores.mean() == pytest.approx(chance, abs=0.1 * error)
    assert least * error < scores.std() < 1.05 * error


@pytest.mark.parametrize("labels", [UNEVEN, THREE], ids=["two", "three"])
@pytest.mark.parametrize("metric", ["balanced_accuracy", "mcc", "auc"])
def test_the_gate_lets_guessers_through_about_once_in_forty(metric, labels):
    skill = SkillThreshold.on(metric, [labels])
    passed = np.mean([skill.passes(each) for each in scores_of(metric, labels, uniform, 2000)])
    assert passed < 0.032
    if len(np.unique(labels)) == 2:
        assert passed > 0.013


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("labels", [UNEVEN, THREE, np.arange(400) % 2], ids=["two", "three", "even"])
def test_noise_in_logits_passes_the_gate_of_a_log_loss_about_once_in_forty_at_worst(labels):
    """At the spread at which a gain of 2/n is likeliest, and less often at others."""
    skill = SkillThreshold.on("log_loss", [labels])
    rates = np.bincount(labels) / len(labels)
    worst = math.sqrt(2 * 2 / len(labels) / (rates * (1 - rates)).sum())
    passed = {}
    for factor in (0.3, 1.0, 3.0):
        scores = scores_of("log_loss", labels, lambda y, g, s=factor * worst: noise(y, g, s), 3000)
        passed[factor] = np.mean([skill.passes(each) for each in scores])
    assert 0.015 < passed[1.0] < 0.032
    assert passed[0.3] < 0.015
    assert passed[3.0] < 0.015


@given(st.integers(2, 10**6), st.floats(0.01, 0.99))
def test_two_in_n_is_two_standard_deviations_from_what_noise_of_any_spread_gains(n, rate):
    """Mean −v s²/2 and standard deviation s √(v/n) for noise of spread s in a logit, with v = rate (1 − rate)."""
    v, delta = rate * (1 - rate), 2 / n

    def deviations(log_spread: float) -> float:
        s = math.exp(log_spread)
        return (delta + v * s**2 / 2) / (s * math.sqrt(v / n))

    nearest = minimize_scalar(deviations, bracket=(-3 - 0.5 * math.log(n), -0.5 * math.log(n)))
    assert nearest.fun == pytest.approx(2, rel=1e-6)
    assert math.exp(nearest.x) == pytest.approx(math.sqrt(2 * delta / v), rel=1e-3)  # √(8δ) at even rates


@pytest.mark.parametrize("rate", [0.5, 0.7])
@pytest.mark.parametrize("spread", [0.2, 0.6])
def test_a_calibrated_models_gain_in_log_loss_varies_as_the_gate_says(rate, spread):
    """Over samples of windows; the base rates' own score on the same windows is taken off."""
    generator = np.random.default_rng(0)
    logit = math.log(rate / (1 - rate))
    gains = []
    for _ in range(1000):
        said = 1 / (1 + np.exp(-(logit + spread * generator.standard_normal(3000))))
        labels = (generator.random(3000) < said).astype(np.int64)
        own = np.full(3000, labels.mean())
        gains.append(
            score("log_loss", labels, np.column_stack([1 - said, said]))
            - score("log_loss", labels, np.column_stack([1 - own, own]))
        )
    labels = (np.arange(3000) < 3000 * rate).astype(np.int64)
    skill = SkillThreshold.on("log_loss", [labels])
    assert np.std(gains) == pytest.approx(skill.standard_error(skill.chance + np.mean(gains)), rel=0.12)


def test_the_error_of_a_log_loss_grows_with_the_distance_from_chance_on_both_sides():
    skill = SkillThreshold.on("log_loss", [np.arange(1000) % 2])
    errors = [skill.standard_error(skill.chance + gain) for gain in (0.0, 0.0004, 0.008, 0.05, 0.3)]
    assert errors == pytest.approx([0.001, 0.001, 0.004, 0.01, math.sqrt(0.6 / 1000)])
    assert skill.standard_error(skill.chance - 0.05) == pytest.approx(0.01)


@every_metric
def test_windows_that_overlap_count_together_in_every_metric(metric):
    """Each label and each guess ten times: as many readings as without."""
    repeated = SkillThreshold.on(metric, [np.repeat(UNEVEN, 10)], overlap=10)
    once = SkillThreshold.on(metric, [UNEVEN])
    assert repeated.n_effective == once.n_effective == 400
    assert repeated.threshold == pytest.approx(once.threshold, rel=1e-3)


@every_metric
def test_folds_of_one_size_are_worth_all_their_windows(metric):
    """A mean of four readings varies as one on four times the windows."""
    four = SkillThreshold.on(metric, [UNEVEN] * 4)
    assert (four.chance, four.n_validation) == (pytest.approx(SkillThreshold.on(metric, [UNEVEN]).chance), 1600)
    assert four.threshold == pytest.approx(SkillThreshold.on(metric, [np.tile(UNEVEN, 4)]).threshold, rel=1e-3)


@every_metric
def test_folds_that_hold_out_the_same_windows_are_no_new_readings(metric):
    """Combinatorial folds: six pairs of four blocks hold out each block three times."""
    pairs = [np.concatenate([UNEVEN, UNEVEN])] * 6
    skill = SkillThreshold.on(metric, pairs, n_windows=4 * 400)
    assert skill.n_validation == 1600
    assert skill.threshold == pytest.approx(SkillThreshold.on(metric, [UNEVEN] * 4).threshold, rel=1e-3)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "auc", "log_loss"])
def test_a_small_fold_makes_the_mean_over_folds_uncertain(metric):
    """Simulated: the standard deviation of the mean of a reading on 100 windows and one on 900 is that of 360 windows."""
    generator = np.random.default_rng(0)
    folds = [np.arange(100) % 2, np.arange(900) % 2]
    skill = SkillThreshold.on(metric, folds)
    assert skill.n_validation == 360
    spread = 2 * math.sqrt(2 / 360) if metric == "log_loss" else 1.0  # the likeliest to pass
    means = [np.mean([score(metric, y, noise(y, generator, spread)) for y in folds]) for _ in range(1500)]
    assert np.mean([skill.passes(mean) for mean in means]) == pytest.approx(0.023, abs=0.01)


def test_the_chance_of_folds_is_the_mean_of_each():
    """Always saying a fold's own majority, which differs from fold to fold."""
    folds = [np.repeat([0, 1], [80, 20]), np.repeat([0, 1], [30, 70])]
    assert SkillThreshold.on("accuracy", folds).chance == pytest.approx(0.75)


@pytest.mark.parametrize("metric", ["auc", "mcc"])
def test_where_all_labels_are_alike_an_auc_and_a_correlation_are_not_defined(metric):
    folds = [UNEVEN, np.ones(30, dtype=np.int64)]
    assert undefined_in(metric, folds) == 1
    with pytest.raises(ValueError, match=f"{metric} is not defined on fold 1, whose labels are all alike"):
        SkillThreshold.on(metric, folds)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "log_loss"])
def test_where_all_labels_are_alike_nobody_beats_the_constant(metric):
    labels = np.ones(30, dtype=np.int64)
    assert undefined_in(metric, [labels]) is None
    skill = SkillThreshold.on(metric, [labels])
    assert skill.chance == METRICS[metric].score_range[1]
    assert not skill.passes(skill.chance)


def test_a_class_that_does_not_occur_in_a_fold_counts_for_nothing():
    without_one = np.repeat([0, 2], [140, 260])
    for metric in METRICS:
        assert no_skill(metric, [without_one]) == no_skill(metric, [UNEVEN])


@every_metric
def test_a_gate_is_stored_as_json_and_comes_back(metric):
    skill = SkillThreshold.on(metric, [THREE, THREE], overlap=3)
    assert SkillThreshold(**json.loads(json.dumps(asdict(skill), allow_nan=False))) == skill


@pytest.mark.parametrize("metric", ["balanced_accuracy", "mcc", "auc"])
def test_a_gate_whose_error_depends_on_the_labels_is_not_made_without(metric):
    with pytest.raises(ValueError, match=f"a skill threshold of {metric} needs an error"):
        SkillThreshold(0.5, 100, metric=metric)


def test_what_counts_as_worst_of_a_log_loss_is_as_far_below_chance_as_perfect_is_above():
    skill = SkillThreshold.on("log_loss", [UNEVEN])
    assert skill.score_range == (2 * skill.chance, 0.0)
    assert SkillThreshold.on("mcc", [UNEVEN]).score_range == (-1.0, 1.0)
    assert SkillThreshold(0.5, 100).score_range == (0.0, 1.0)
    for name, metric in METRICS.items():
        assert SkillThreshold.on(name, [UNEVEN]).small_gain == metric.small_gain
