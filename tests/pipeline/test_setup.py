"""What is decided before the first trial: the skill threshold of the study's metric, and what a study is made with."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.windows import Fold
from cnn_lstm_hyperopt.errors import ConfigError, SaveDirError
from cnn_lstm_hyperopt.metrics import METRICS, score
from cnn_lstm_hyperopt.pipeline.fingerprint import ADAM_DECAY
from cnn_lstm_hyperopt.pipeline.setup import prepare_again, prepare_new, skill_threshold
from cnn_lstm_hyperopt.progress import CONTINUE
from cnn_lstm_hyperopt.search import SkillThreshold, StudyStorage, random_configuration
from cnn_lstm_hyperopt.search.distributions import distribution

every_metric = pytest.mark.parametrize("metric", METRICS)


@pytest.fixture(scope="module")
def dataset(apple):
    return apple(lookback=10)


@pytest.fixture
def settings_of(tiny):
    def make(metric, **data):
        return Settings(**{**tiny, "study": {**tiny["study"], "metric": metric}, "data": {**tiny["data"], **data}})

    return make


def fold_of(dataset, labels, *, first=0):
    """A fold whose validation windows are those of the dataset from ``first`` on, with these labels."""
    windows = dataset.train.subset(np.arange(first, first + len(labels)))
    return Fold(dataset.train, replace(windows, labels=torch.as_tensor(labels)), 0.0, 1.0)


@every_metric
def test_the_gate_is_of_the_metric_and_the_validation_labels(settings_of, dataset, metric):
    labels = dataset.validation.labels.numpy()
    assert skill_threshold(settings_of(metric), dataset.folds) == SkillThreshold.on(metric, [labels])
    assert skill_threshold(settings_of(metric, horizon=5), dataset.folds) == SkillThreshold.on(
        metric, [labels], overlap=5
    )


def test_for_an_accuracy_the_gate_is_the_share_of_the_majority(settings_of, dataset):
    counts = np.bincount(dataset.validation.labels.numpy())
    assert skill_threshold(settings_of("accuracy"), dataset.folds) == SkillThreshold(
        max(counts) / sum(counts), sum(counts)
    )


def test_windows_that_several_folds_hold_out_count_once(settings_of, dataset):
    blocks = [fold_of(dataset, [0, 1, 1] * 20, first=first) for first in (0, 60, 120)]
    apart = skill_threshold(settings_of("auc"), blocks)
    assert apart.n_validation == 180
    twice = skill_threshold(settings_of("auc"), [*blocks, *blocks])
    assert (twice.n_validation, twice.chance) == (180, 0.5)
    assert twice.threshold == pytest.approx(apart.threshold)


@pytest.mark.parametrize("cv_folds", [1, 3])
def test_windows_of_data_loaders_on_one_date_are_different_ones(settings_of, cv_folds):
    def loader(n, seed):
        x = torch.randn(n, 3, 1, generator=torch.Generator().manual_seed(seed))
        return [(x, torch.arange(n) % 2)]

    dates = np.repeat(np.arange(40), 50), np.repeat(np.arange(40, 52), 50), None  # 600 windows on the last 12 dates
    folds = dataset_from_loaders(
        [loader(2000, 1), loader(600, 2), loader(2, 3)], None, dates=dates, cv_folds=cv_folds
    ).folds
    skill = skill_threshold(settings_of("accuracy"), folds)
    assert skill.n_validation == 600 * cv_folds
    assert skill.threshold == pytest.approx(0.5 + (0.25 / (600 * cv_folds)) ** 0.5 * 2)


@pytest.mark.parametrize("metric", ["auc", "mcc"])
def test_a_fold_of_one_class_is_named_with_the_metric_and_the_cure(settings_of, dataset, metric):
    folds = [fold_of(dataset, [0, 1] * 20), fold_of(dataset, [1] * 30, first=40)]
    with pytest.raises(ConfigError) as caught:
        skill_threshold(settings_of(metric), folds)
    assert str(caught.value) == (
        f"study.metric={metric} needs two classes in validation, but all 30 validation windows of fold 2 of 2 are of class 1;"
        " lower data.cv_folds, give more bars, or take study.metric: accuracy"
    )
    with pytest.raises(ConfigError) as caught:
        skill_threshold(settings_of(metric), folds[1:])
    assert str(caught.value) == (
        f"study.metric={metric} needs two classes in validation, but all 30 validation windows are of class 1; give more data or"
        " take study.metric: accuracy"
    )
    for other in set(METRICS) - {"auc", "mcc"}:
        skill_threshold(settings_of(other), folds)


@pytest.mark.mostly_slow(2)
@every_metric
def test_plan_gate_and_runner_are_of_the_same_metric(settings_of, dataset, metric):
    preparation = prepare_new(settings_of(metric), dataset, on_benchmark=lambda: None, recalibrate=False)
    assert preparation.plan.metric == preparation.plan.skill.metric == preparation.skill.metric == metric
    assert preparation.made_with["study.metric"] == metric
    reports = []

    def on_report(report):
        reports.append(report)
        return CONTINUE

    params = preparation.sampled.configurations[0]
    outcome = preparation.runner.run_trial(0, params, on_report).outcome
    predictions, labels = outcome.best.predictions, dataset.validation.labels.numpy()
    assert outcome.best.score == pytest.approx(score(metric, labels, predictions.probabilities), rel=1e-6)
    assert outcome.best.score in [report.score for report in reports]


def test_a_study_goes_on_in_its_own_metric_only(settings_of, dataset):
    preparation = prepare_new(settings_of("mcc"), dataset, on_benchmark=lambda: None, recalibrate=False)
    storage = StudyStorage.in_memory("x", "mcc")
    storage.set_attribute("made_with", preparation.made_with)
    with pytest.raises(SaveDirError, match=r"made with other settings.*\n  study\.metric: mcc → auc\ntake these back"):
        prepare_again(settings_of("auc"), dataset, storage)


@pytest.mark.parametrize("before", [1, "auto"])
@pytest.mark.parametrize("now", [1, "auto"])
def test_auto_folds_and_their_number_are_the_same_study(settings_of, dataset, before, now):
    storage, new = stored_as_new(settings_of("accuracy", cv_folds=before), dataset)
    storage.set_attribute("made_with", {**new.made_with, "data.cv_folds": before})  # as earlier versions stored it
    assert prepare_again(settings_of("accuracy", cv_folds=now), dataset, storage).made_with["data.cv_folds"] == 1
    with pytest.raises(SaveDirError, match=r"data\.cv_folds: 1 → 3"):
        prepare_again(settings_of("accuracy", cv_folds=3), dataset, storage)


def stored_as_new(settings, dataset):
    """A study in memory that has what a new one is begun with, and its preparation."""
    new = prepare_new(settings, dataset, on_benchmark=lambda: None, recalibrate=False)
    storage = StudyStorage.in_memory("x", "accuracy")
    facts = {
        "made_with": new.made_with,
        "speeds": new.runner.speeds.as_dict(),
        "train_share": dataset.train_share,
        "starts": [],
        "begun_with": 6,
    }
    for name, value in facts.items():
        storage.set_attribute(name, value)
    return storage, new


def test_a_study_of_an_earlier_version_is_told_of_parameters_without_effect(settings_of, dataset):
    """It searched skip connections with a single layer, too."""
    settings = settings_of("accuracy")
    storage, new = stored_as_new(settings, dataset)
    space = new.plan.space
    searched = space.searched()
    for number, layers in enumerate([1, 2, 1]):
        drawn = random_configuration(space.fixing({"lstm.num_layers": layers}), 0, number)
        params = {**drawn, "lstm.num_layers": layers, "lstm.skip_connections": True}
        params = {name: value for name, value in params.items() if name in searched}
        storage.start(params, {name: distribution(searched[name]) for name in params}, {"size_mb": 1.0})
    again = prepare_again(settings, dataset, storage)
    assert [line for line in again.warnings if "lstm.skip_connections" in line] == [
        "2 trials of an earlier version have a value for lstm.skip_connections, which has no effect there; they count as they"
        " are, and new trials leave it out"
    ]


@pytest.mark.parametrize(("decay", "expected"), [(None, 2), ("L2", 0)])
def test_trials_of_the_earlier_adam_are_named_when_a_study_is_resumed(settings_of, dataset, decay, expected):
    """It decoupled the weight decay, as adamw does."""
    settings = settings_of("accuracy")
    storage, new = stored_as_new(settings, dataset)
    if decay is not None:
        storage.set_attribute(ADAM_DECAY, decay)
    searched = new.plan.space.searched()
    for number, optimizer in enumerate(["adam", "rmsprop", "adam"]):
        drawn = {**random_configuration(new.plan.space, 0, number), "training.optimizer": optimizer}
        params = {name: value for name, value in drawn.items() if name in searched}
        storage.start(params, {name: distribution(searched[name]) for name in params}, {"size_mb": 1.0})
    lines = [line for line in prepare_again(settings, dataset, storage).warnings if "adam" in line]
    assert [line.split()[0] for line in lines] == [str(expected)] * (expected > 0)
