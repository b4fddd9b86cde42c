"""One contract for every metric: samplers, pruners and the front, on a function that trains nothing."""

import functools
import math

import numpy as np
import pytest
from scipy.stats import norm

from builders.records import CHEAP
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.search import (
    SkillThreshold,
    State,
    Study,
    StudyStorage,
    front_hypervolume,
    hypervolume_history,
    ranked_front,
)
from cnn_lstm_hyperopt.search.observations import observations
from cnn_lstm_hyperopt.search.pruners import PRUNERS, is_exempt
from cnn_lstm_hyperopt.search.samplers import SAMPLERS
from cnn_lstm_hyperopt.search.simulate import optimise

WINDOWS = 1600
LABELS = np.arange(WINDOWS) % 2
THRESHOLDS = {metric: SkillThreshold.on(metric, [LABELS]) for metric in METRICS}
PRUNER_KINDS = {
    "median": {"n_startup_trials": 12, "n_warmup_steps": 2},
    "successive_halving": {"reduction_factor": 3},
    "front": {"n_startup_trials": 12},
}

every_metric = pytest.mark.parametrize("metric", METRICS)
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS)
every_pruner = pytest.mark.parametrize("pruner", PRUNER_KINDS)


def in_units_of(metric, accuracy):
    """Score of a model of this accuracy on two even classes, with equal confidence each time."""
    match metric:
        case "mcc":
            return 2 * accuracy - 1
        case "auc":
            return float(norm.cdf(math.sqrt(2) * norm.ppf(accuracy)))
        case "log_loss":
            return accuracy * math.log(accuracy) + (1 - accuracy) * math.log(1 - accuracy)
    return accuracy


def function_of(metric, diverging=True):
    """The cheap function in units of a metric, with the error of its skill threshold.

    One in thirteen begins as overconfident as can be. With ``diverging``, one in eleven ends with a NaN loss.
    """
    skill = THRESHOLDS[metric]

    def evaluate(params, seed):
        accuracy, seconds, size_mb = CHEAP.truth(params)
        generator = np.random.default_rng(seed)
        if seed % 13 == 0:
            yield 0.5, METRICS[metric].score_range[0], 0.5 * seconds / (CHEAP.epochs + 0.5), size_mb
        for epoch in range(1, CHEAP.epochs + 1):
            height = in_units_of(metric, 0.5 + (accuracy - 0.5) * (1 - math.exp(-4 * epoch / CHEAP.epochs)))
            read = height + skill.standard_error(height) * generator.standard_normal()
            yield float(epoch), read, seconds * (epoch + 0.5) / (CHEAP.epochs + 0.5), size_mb
            if diverging and seed % 11 == 0 and epoch == 4:
                yield 5.0, math.nan, 1.0, 1.0

    return evaluate


@functools.cache
def study_of(metric, sampler="random", pruner="none", n_trials=40, evaluate=None):
    """A finished study."""
    settings = {"type": pruner, **PRUNER_KINDS.get(pruner, {})}
    sampler = {"type": sampler, "n_startup_trials": 12}
    study = Study(
        StudyStorage.in_memory("x", metric), CHEAP.plan(sampler, settings, skill=THRESHOLDS[metric], n_trials=n_trials)
    )
    optimise(study, evaluate or function_of(metric))
    return study


@pytest.mark.mostly_slow(5)
@pytest.mark.mostly_thorough(15)
@every_metric
@every_sampler
def test_a_study_runs_and_its_front_is_that_of_brute_force(metric, sampler):
    study = study_of(metric, sampler)
    records = study.records()
    assert sum(record.finished for record in records) == 40
    values = [r.values for r in records if r.values is not None and r.values.score > THRESHOLDS[metric].threshold]
    front = [
        v
        for v in values
        if not any(w.score >= v.score and w.seconds <= v.seconds and w.size_mb <= v.size_mb and w != v for w in values)
    ]
    assert [r.values for r in ranked_front(records, THRESHOLDS[metric])] == sorted(front, key=lambda v: -v.score)
    assert len(front) >= 2
    volume, reference = front_hypervolume(records, THRESHOLDS[metric])
    assert reference[METRICS[metric].objective] == THRESHOLDS[metric].chance
    assert hypervolume_history(records, THRESHOLDS[metric])[-1].hypervolume == pytest.approx(volume)
    assert study.storage.study.metric_names == [METRICS[metric].objective, "training_seconds", "size_mb"]
    assert study.plan.metric == metric
    low, high = THRESHOLDS[metric].score_range
    scores = {-row.losses[0] for row in observations(records, THRESHOLDS[metric], 9)}
    assert len(scores) > 10
    assert low <= min(scores) <= max(scores) <= high


@pytest.mark.mostly_slow(3)
@pytest.mark.mostly_thorough(7)
@every_metric
@every_pruner
def test_pruners_end_hopeless_trials_and_never_the_best(metric, pruner):
    """With random proposals, the configurations are the same without pruning."""
    assert set(PRUNER_KINDS) == set(PRUNERS) - {"none"}
    evaluate = function_of(metric, diverging=False)
    pruned_study = study_of(metric, "random", pruner, 120, evaluate).records()
    whole = study_of(metric, "random", "none", 120, evaluate).records()
    assert [r.params for r in pruned_study] == [r.params for r in whole]
    worth = {r.number: CHEAP.truth({**r.params, "unused": 1})[0] for r in whole}
    ended = [r for r in pruned_study if r.state is State.PRUNED]
    assert len(ended) >= 12
    assert all(r.reason.startswith(pruner) for r in ended)
    assert not any(is_exempt(0, r.number) for r in ended)
    kept = [r for r in pruned_study if r.state is State.COMPLETE]
    assert np.mean([worth[r.number] for r in ended]) < np.mean([worth[r.number] for r in kept]) - 0.02
    best = max((r for r in whole if r.values), key=lambda r: worth[r.number])
    assert pruned_study[best.number].state is State.COMPLETE


@pytest.mark.mostly_slow(2)
@pytest.mark.mostly_thorough(6)
@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("sampler", ["cmaes", "nsga2", "gp"])
def test_scores_on_another_scale_make_the_same_study(sampler, pruner):
    """The MCC here is twice the balanced accuracy less one, and so is its error."""
    evaluate = function_of("balanced_accuracy")

    def doubled(params, seed):
        for epoch, score, *rest in evaluate(params, seed):
            yield (epoch, 2 * score - 1, *rest)

    assert THRESHOLDS["mcc"].threshold == pytest.approx(2 * THRESHOLDS["balanced_accuracy"].threshold - 1)
    one = study_of("balanced_accuracy", sampler, pruner, 45).records()
    other = study_of("mcc", sampler, pruner, 45, doubled).records()
    for a, b in zip(one, other, strict=True):
        assert (a.number, a.state, a.params) == (b.number, b.state, pytest.approx(b.params))
        assert a.curve[-1].epoch == b.curve[-1].epoch


@pytest.mark.mostly_slow(8)
@pytest.mark.mostly_thorough(15)
@every_metric
@every_sampler
def test_a_study_without_skill_finishes_and_nothing_on_its_front_beats_chance(metric, sampler):
    """All at or below chance, some of them far."""
    skill = THRESHOLDS[metric]

    def hopeless(params, seed):
        for epoch, _, *rest in CHEAP.evaluate(params, seed):
            yield (epoch, skill.chance + (seed % 3 / 3) * (METRICS[metric].score_range[0] - skill.chance), *rest)

    study = study_of(metric, sampler, "median", 24, hopeless)
    assert sum(record.finished for record in study.records()) == 24
    front = study.front()
    assert front
    assert max(record.values.score for record in front) <= skill.threshold
    scores = {-row.losses[0] for row in observations(study.records(), skill, CHEAP.epochs)}
    assert skill.score_range[0] <= min(scores)
    assert max(scores) <= skill.chance
