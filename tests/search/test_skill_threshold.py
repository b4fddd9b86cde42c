"""The skill threshold in closed form, and by simulation of models without skill for every metric."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import mannwhitneyu, norm

from cnn_lstm_hyperopt.metrics import METRICS, score
from cnn_lstm_hyperopt.search import SkillThreshold, no_skill, undefined_in

UNEVEN = np.repeat([0, 1], [140, 260])
THREE = np.repeat([0, 1, 2], [90, 130, 180])
EVEN = np.arange(400) % 2
every_metric = pytest.mark.parametrize("metric", METRICS)
two_and_three = pytest.mark.parametrize("labels", [UNEVEN, THREE], ids=["two", "three"])


@given(st.floats(0.01, 0.99), st.integers(1, 10**6), st.floats(0, 1) | st.none())
def test_passing_means_two_standard_errors_above_chance_and_keeping_the_constraint(chance, n, score):
    skill, error = SkillThreshold(chance, n), math.sqrt(chance * (1 - chance) / n)
    score = skill.threshold if score is None else score
    if abs(score - chance - 2 * error) > 1e-9:
        assert skill.passes(score) == ((score - chance) / error > 2)
    assert (skill.shortfall(score) > 0) == (not skill.passes(score))
    assert skill.shortfall(score) == pytest.approx(skill.threshold - score, abs=1e-300)


@pytest.mark.parametrize("overlap", [1, 3, 10, 500])
def test_overlapping_windows_count_together(overlap):
    skill, single = SkillThreshold(0.5, 1000, overlap), SkillThreshold(0.5, 1000)
    assert skill.n_effective == 1000 / overlap
    assert skill.threshold == pytest.approx(single.threshold + (math.sqrt(overlap) - 1) / math.sqrt(1000))
    assert skill.standard_error(0.8) == pytest.approx(0.4 * math.sqrt(overlap / 1000))
    assert SkillThreshold(0.5, 3, overlap=60).n_effective == SkillThreshold(0.5, 0).n_effective == 1.0


def test_extrapolated_accuracies_beyond_0_or_1_have_no_error():
    assert [SkillThreshold(0.5, 100).standard_error(accuracy) for accuracy in (-0.1, 0, 1, 1.2)] == [0] * 4


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
        ("auc", 2 * UNEVEN, 0.5, math.sqrt(401 / (12 * 140 * 260))),  # a class that does not occur
    ],
)
def test_chance_and_its_error_in_closed_form(metric, labels, chance, error):
    assert no_skill(metric, [labels]) == pytest.approx((chance, error), rel=1e-12)
    skill = SkillThreshold.on(metric, [labels])
    assert (skill.chance, skill.standard_error(chance)) == pytest.approx((chance, error))
    assert skill.threshold == pytest.approx(chance + 2 * error)
    assert (skill.n_validation, skill.metric) == (len(labels), metric)


@every_metric
@two_and_three
def test_chance_is_the_score_of_the_best_constant_prediction(metric, labels):
    rates = np.bincount(labels) / len(labels)
    constants = [rates, *np.eye(len(rates)), *np.random.default_rng(0).dirichlet(np.ones(len(rates)), 30)]
    best = max(score(metric, labels, np.tile(each, (len(labels), 1))) for each in constants)
    assert SkillThreshold.on(metric, [labels]).chance == pytest.approx(best)


def test_the_error_of_an_auc_is_that_of_mann_and_whitney():
    """scipy's normal approximation of U without continuity correction."""
    generator = np.random.default_rng(0)
    ones, zeros = generator.normal(size=130), generator.normal(size=90)
    found = mannwhitneyu(ones, zeros, method="asymptotic", use_continuity=False)
    chance, error = no_skill("auc", [np.repeat([1, 0], [130, 90])])
    area = found.statistic / (130 * 90)
    assert 2 * norm.sf(abs(area - chance) / error) == pytest.approx(found.pvalue)


def test_the_error_of_a_log_loss_grows_with_the_distance_from_chance_on_both_sides():
    skill = SkillThreshold.on("log_loss", [np.arange(1000) % 2])
    errors = [skill.standard_error(skill.chance + gain) for gain in (0.0, 0.0004, 0.008, 0.05, 0.3, -0.05)]
    assert errors == pytest.approx([0.001, 0.001, 0.004, 0.01, math.sqrt(0.6 / 1000), 0.01])
    assert skill.score_range == (2 * skill.chance, 0.0)


def noise(labels, generator, spread):
    """Logits of the base rates plus noise."""
    rates = np.bincount(labels) / len(labels)
    return softmax(np.log(rates) + spread * generator.standard_normal((len(labels), len(rates))), axis=1)


def uniform(labels, generator):
    return softmax(generator.standard_normal((len(labels), labels.max() + 1)), axis=1)


def scores_of(metric, labels, predictions, n):
    generator = np.random.default_rng(0)
    return np.array([score(metric, labels, predictions(labels, generator)) for _ in range(n)])


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize(
    ("metric", "labels", "low"),
    [
        ("balanced_accuracy", UNEVEN, 0.95),
        ("balanced_accuracy", THREE, 0.95),
        ("mcc", UNEVEN, 0.95),
        ("mcc", THREE, 0.68),  # 1/√2 for three classes that are guessed equally often
        ("auc", UNEVEN, 0.95),
        ("auc", THREE, 0.55),  # the errors of the classes are negatively correlated
    ],
)
def test_guesses_vary_at_most_as_stated_and_pass_about_once_in_forty(metric, labels, low):
    scores = scores_of(metric, labels, uniform, 2000)
    chance, error = no_skill(metric, [labels])
    assert scores.mean() == pytest.approx(chance, abs=0.1 * error)
    assert low * error < scores.std() < 1.05 * error
    skill = SkillThreshold.on(metric, [labels])
    passed = np.mean([skill.passes(each) for each in scores])
    assert (0.013 if labels is UNEVEN else 0.0) <= passed < 0.032


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("labels", [UNEVEN, THREE, EVEN], ids=["two", "three", "even"])
def test_noise_in_logits_passes_the_threshold_of_a_log_loss_at_most_about_once_in_forty(labels):
    """At the spread at which a gain of 2/n is most probable; less often at others."""
    skill = SkillThreshold.on("log_loss", [labels])
    rates = np.bincount(labels) / len(labels)
    worst = math.sqrt(2 * 2 / len(labels) / (rates * (1 - rates)).sum())
    for factor, low, high in ((0.3, 0.0, 0.015), (1.0, 0.015, 0.032), (3.0, 0.0, 0.015)):
        scores = scores_of("log_loss", labels, lambda y, g, s=factor * worst: noise(y, g, s), 3000)
        assert low <= np.mean([skill.passes(each) for each in scores]) < high


@pytest.mark.parametrize("rate", [0.5, 0.7])
@pytest.mark.parametrize("spread", [0.2, 0.6])
def test_the_gain_in_log_loss_of_a_calibrated_model_varies_as_stated(rate, spread):
    """Over samples of windows; the score of their own base rates is subtracted."""
    generator, logit, gains = np.random.default_rng(0), math.log(rate / (1 - rate)), []
    for _ in range(1000):
        ones = 1 / (1 + np.exp(-(logit + spread * generator.standard_normal(3000))))
        labels = (generator.random(3000) < ones).astype(np.int64)
        both = [np.column_stack([1 - p, p]) for p in (ones, np.full(3000, labels.mean()))]
        gains.append(score("log_loss", labels, both[0]) - score("log_loss", labels, both[1]))
    skill = SkillThreshold.on("log_loss", [(np.arange(3000) < 3000 * rate).astype(np.int64)])
    assert np.std(gains) == pytest.approx(skill.standard_error(skill.chance + np.mean(gains)), rel=0.12)


@every_metric
def test_overlap_and_folds_count_independent_windows(metric):
    once, four = SkillThreshold.on(metric, [UNEVEN]), SkillThreshold.on(metric, [UNEVEN] * 4)
    repeated = SkillThreshold.on(metric, [np.repeat(UNEVEN, 10)], overlap=10)
    assert repeated.n_effective == once.n_effective == 400
    assert repeated.threshold == pytest.approx(once.threshold, rel=1e-3)
    assert (four.chance, four.n_validation) == (pytest.approx(once.chance), 1600)
    assert four.threshold == pytest.approx(SkillThreshold.on(metric, [np.tile(UNEVEN, 4)]).threshold, rel=1e-3)
    # Combinatorial folds: six pairs of four blocks hold out each block three times.
    pairs = SkillThreshold.on(metric, [np.concatenate([UNEVEN, UNEVEN])] * 6, n_windows=1600)
    assert (pairs.n_validation, pairs.threshold) == (1600, pytest.approx(four.threshold, rel=1e-3))
    uneven = [SkillThreshold.on(metric, [labels]).chance for labels in (UNEVEN, EVEN)]
    assert SkillThreshold.on(metric, [UNEVEN, EVEN]).chance == pytest.approx(np.mean(uneven))


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "auc", "log_loss"])
def test_a_small_fold_makes_the_mean_over_folds_uncertain(metric):
    """Simulated: the mean of scores on 100 and on 900 windows varies as a score on 360 windows."""
    generator, folds = np.random.default_rng(0), [np.arange(100) % 2, np.arange(900) % 2]
    skill = SkillThreshold.on(metric, folds)
    assert skill.n_validation == 360
    spread = 2 * math.sqrt(2 / 360) if metric == "log_loss" else 1.0  # the most probable one to pass
    means = [np.mean([score(metric, y, noise(y, generator, spread)) for y in folds]) for _ in range(1500)]
    assert np.mean([skill.passes(mean) for mean in means]) == pytest.approx(0.023, abs=0.01)


@every_metric
def test_labels_of_a_single_class(metric):
    """An AUC and a correlation are undefined; no model beats the constant in the others."""
    folds = [UNEVEN, np.ones(30, dtype=np.int64)]
    if METRICS[metric].needs_two_classes:
        assert undefined_in(metric, folds) == 1
        with pytest.raises(ValueError, match=metric):
            SkillThreshold.on(metric, folds)
    else:
        assert undefined_in(metric, folds) is None
        skill = SkillThreshold.on(metric, folds[1:])
        assert skill.chance == METRICS[metric].score_range[1]
        assert not skill.passes(skill.chance)


@every_metric
def test_a_threshold_survives_json(metric):
    skill = SkillThreshold.on(metric, [THREE, THREE], overlap=3)
    assert SkillThreshold(**json.loads(json.dumps(asdict(skill), allow_nan=False))) == skill
    assert skill.small_gain == METRICS[metric].small_gain


@pytest.mark.parametrize("metric", ["balanced_accuracy", "mcc", "auc"])
def test_a_threshold_whose_error_depends_on_the_labels_needs_an_error(metric):
    with pytest.raises(ValueError, match=metric):
        SkillThreshold(0.5, 100, metric=metric)
