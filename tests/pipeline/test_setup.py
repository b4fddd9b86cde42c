"""Preparation of a study: skill threshold, and what a resumed study must share."""

import json
from contextlib import nullcontext
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from builders.errors import raises
from cnn_lstm_hyperopt.config import PARAMETERS, Fixed, Settings, parse_space
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.windows import Fold
from cnn_lstm_hyperopt.errors import ConfigError, SaveDirError
from cnn_lstm_hyperopt.evaluation import dates_effect
from cnn_lstm_hyperopt.evaluation.baselines.boosting import GradientBoosting
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.fingerprint import (
    ADAM_DECAY,
    fingerprint,
    require_same,
    with_new_time_objective,
    with_stored_space,
)
from cnn_lstm_hyperopt.pipeline.session import open_session
from cnn_lstm_hyperopt.pipeline.setup import prepare_again, prepare_new
from cnn_lstm_hyperopt.pipeline.validation_skill import skill_threshold
from cnn_lstm_hyperopt.search import SkillThreshold, StudyStorage, random_configuration
from cnn_lstm_hyperopt.search.distributions import distribution
from cnn_lstm_hyperopt.training.trial_costs import TrialCosts
from cnn_lstm_hyperopt.utils.atomic_io import write_json


@pytest.fixture(scope="module")
def dataset(apple):
    return apple(lookback=10)


@pytest.fixture
def settings_of(tiny):
    def make(metric="accuracy", time="measured", **data):
        study = {**tiny["study"], "metric": metric, "time_objective": time}
        return Settings(**{**tiny, "study": study, "data": {**tiny["data"], **data}})

    return make


@pytest.fixture
def begun(dataset):
    """The preparation of a new study, and its storage."""

    def begin(settings):
        new = prepare_new(settings, dataset, on_benchmark=lambda: None, recalibrate=False)
        storage = StudyStorage.in_memory("x", settings.study.metric)
        storage.set_attribute("skill_gate", asdict(new.skill))
        facts = {"made_with": new.made_with, "speeds": new.runner.speeds.as_dict(), "train_share": dataset.train_share}
        for name, value in {**facts, "starts": [], "begun_with": 6}.items():
            storage.set_attribute(name, value)
        return storage, new

    return begin


@pytest.mark.parametrize(
    ("given", "study", "expected"),
    [
        ({}, {}, "measured"),
        ({"engine": "ray", "ray_address": "10.0.0.5:6379", "workers": 2}, {}, "estimated"),
        ({}, {"storage": "postgresql+psycopg://me@db.example.org/x"}, "estimated"),
        ({}, {"storage": "postgresql+psycopg://me@db.example.org/x", "time_objective": "measured"}, "measured"),
    ],
)
def test_seconds_are_estimated_where_workers_may_be_on_other_machines(tiny, given, study, expected):
    settings = Settings(**{**tiny, **given, "study": {**tiny["study"], "time_objective": "auto", **study}})
    assert with_new_time_objective(settings).study.time_objective == expected


def fold_of(dataset, labels, *, first=0):
    """A fold with the windows of the dataset from ``first`` on and these labels as validation."""
    windows = dataset.train.subset(np.arange(first, first + len(labels)))
    return Fold(dataset.train, replace(windows, labels=torch.as_tensor(labels)), 0.0, 1.0)


@pytest.mark.parametrize("metric", METRICS)
def test_the_skill_threshold_is_that_of_metric_validation_labels_and_horizon(settings_of, dataset, metric):
    labels = dataset.validation.labels.numpy()
    for horizon in (1, 5):
        for folds in (dataset.folds, dataset.folds * 2):  # windows that several folds hold out count once
            found = skill_threshold(settings_of(metric, horizon=horizon), folds)
            effect = dates_effect(labels, dataset.validation.dates, horizon=horizon, slow=metric != "accuracy")
            expected = SkillThreshold.on(metric, [labels], overlap=horizon, dependence=effect)
            assert asdict(found) == pytest.approx(asdict(expected))
    if metric == "accuracy":
        assert (found.chance, found.n_validation) == (max(np.bincount(labels)) / len(labels), len(labels))


def test_patience_ends_no_training_on_small_data_and_a_resumed_study_keeps_its_patience(
    settings_of, begun, dataset, monkeypatch
):
    settings, n_windows = settings_of(), len(dataset.train) + len(dataset.validation)
    for small, patience in ((n_windows, 4), (n_windows + 1, max(3, settings.retrain.full_epochs))):
        monkeypatch.setattr("cnn_lstm_hyperopt.pipeline.fingerprint.SMALL_DATA", small)
        storage, new = begun(settings)
        assert new.settings.training.patience == patience
        monkeypatch.setattr("cnn_lstm_hyperopt.pipeline.fingerprint.SMALL_DATA", 2 * n_windows - small)
        assert prepare_again(settings, dataset, storage).settings.training == new.settings.training


def test_a_resumed_study_keeps_its_skill_threshold(settings_of, begun, dataset):
    """Studies of earlier versions have no ``dependence``."""
    storage, _ = begun(settings_of())
    storage.set_attribute("skill_gate", {"chance": 0.6, "n_validation": 100, "overlap": 2, "metric": "accuracy"})
    again = prepare_again(settings_of(), dataset, storage)
    assert again.plan.skill == again.skill == SkillThreshold(0.6, 100, 2, dependence=1.0)


def test_only_a_new_study_estimates_the_power(settings_of, begun, dataset, monkeypatch):
    """A study of an earlier version has no stored power, so each resume estimates the power."""
    storage, new = begun(settings_of())
    assert prepare_again(settings_of(), dataset, storage).power == new.power
    powers, fits, fit = [], [], GradientBoosting.fit
    monkeypatch.setattr(GradientBoosting, "fit", lambda *args, **facts: fits.append(args) or fit(*args, **facts))
    for resume in (False, True, True):
        with open_session(settings_of(), dataset, resume=resume, events=RunEvents()) as session:
            assert session.setup.power == new.power
        powers.append(json.loads((session.save_dir / "data.json").read_text(encoding="utf-8"))["power"])
    assert powers == [new.power.as_dict()] * 3
    assert len(fits) == 1


@pytest.mark.parametrize("cv_folds", [1, 3])
def test_windows_of_data_loaders_on_one_date_are_distinct(settings_of, cv_folds):
    def loader(n, seed):
        x = torch.randn(n, 3, 1, generator=torch.Generator().manual_seed(seed))
        return [(x, torch.arange(n) % 2)]

    dates = np.repeat(np.arange(40), 50), np.repeat(np.arange(40, 52), 50), None  # 600 windows on the last 12 dates
    loaders = [loader(2000, 1), loader(600, 2), loader(2, 3)]
    skill = skill_threshold(settings_of(), dataset_from_loaders(loaders, None, dates=dates, cv_folds=cv_folds).folds)
    assert skill.n_validation == 600 * cv_folds
    assert skill.threshold == pytest.approx(0.5 + (0.25 / (600 * cv_folds)) ** 0.5 * 2)


@pytest.mark.parametrize("metric", METRICS)
def test_a_fold_of_one_class_is_refused_where_the_metric_is_undefined(settings_of, dataset, metric):
    folds = [fold_of(dataset, [0, 1] * 20), fold_of(dataset, [1] * 30, first=40)]
    if metric not in ("auc", "mcc"):
        skill_threshold(settings_of(metric), folds)
        return
    for each in (folds, folds[1:]):
        with raises(ConfigError, "metric-undefined", "study.metric"):
            skill_threshold(settings_of(metric), each)


def test_a_resumed_study_with_other_settings_is_refused_with_every_difference(settings_of, begun, dataset):
    storage, _ = begun(settings_of("mcc"))
    with pytest.raises(SaveDirError) as caught:
        prepare_again(settings_of("auc", "estimated", horizon=2), dataset, storage)
    found = {(violation.field, violation.code) for violation in caught.value.violations}
    assert found == {(name, "study-differs") for name in ("study.metric", "study.time_objective", "data.horizon")}


@pytest.mark.parametrize(
    ("metric", "before", "now", "refused"),
    [
        ("mcc", None, "auto", True),  # None: a study of an earlier version, without class weights
        ("mcc", None, "none", False),
        ("mcc", "auto", "balanced", False),
        ("accuracy", None, "auto", False),
        ("accuracy", "auto", "none", False),
        ("accuracy", "auto", "balanced", True),
    ],
)
def test_class_weights_stay_those_of_the_study(settings_of, begun, dataset, metric, before, now, refused):
    def settings(weights):
        made = settings_of(metric)
        return made.model_copy(update={"training": made.training.model_copy(update={"class_weights": weights})})

    storage, new = begun(settings(before or "none"))
    if before is None:
        made_with = {key: value for key, value in new.made_with.items() if key != "training.class_weights"}
        storage.set_attribute("made_with", made_with)
    with raises(SaveDirError, "study-differs", "training.class_weights") if refused else nullcontext():
        prepare_again(settings(now), dataset, storage)


@pytest.mark.parametrize("now", ["default", "changed"])
def test_a_study_of_an_earlier_version_lacks_new_parameters(settings_of, begun, dataset, now):
    """Its networks have no highway, whatever the default space is now."""
    storage, new = begun(settings_of())
    lacking = {"architecture", *(name for name, spec in PARAMETERS.items() if spec.earlier is not None)}
    older = {key: value for key, value in new.made_with.items() if key.removeprefix("search_space.") not in lacking}
    assert len(older) == len(new.made_with) - len(lacking)
    storage.set_attribute("made_with", older)
    settings = settings_of()
    if now == "changed":
        changed = settings.search_space.fixing({"inputs.window_norm": True})
        settings = settings.model_copy(update={"search_space": changed})
    settings = with_stored_space(settings, storage)
    with (
        raises(SaveDirError, "study-differs", "search_space.inputs.window_norm") if now == "changed" else nullcontext()
    ):
        space = prepare_again(settings, dataset, storage).plan.space
        assert space.domains["highway.enabled"] == Fixed(False)


def test_a_study_of_the_whole_architecture_lacks_random_kernels(settings_of, begun, dataset):
    settings = settings_of()
    settings = settings.model_copy(update={"search_space": parse_space({"architecture": "full"})[0]})
    storage, new = begun(settings)
    name = "search_space.highway.kernel_groups"
    storage.set_attribute("made_with", {key: value for key, value in new.made_with.items() if key != name})
    space = prepare_again(with_stored_space(settings, storage), dataset, storage).plan.space
    assert space.domains["highway.kernel_groups"] == Fixed(0)


@pytest.mark.wording
def test_the_text_of_a_refused_resume(settings_of, begun, dataset):
    storage, _ = begun(settings_of("mcc"))
    with raises(SaveDirError, "study-differs", "study.metric") as text:
        prepare_again(settings_of("auc"), dataset, storage)
    assert text[0] == (
        f"{settings_of().save_dir} was made with other settings, so its trials can't be compared with new ones:\n"
        "  study.metric: mcc → auc\nundo these changes, or choose another --save-dir"
    )


def test_a_resume_with_other_bars_names_their_symbols(settings_of, begun, dataset):
    settings = settings_of()
    storage, _ = begun(settings)
    facts = dataset.description
    symbol, stored = next(iter(facts["symbols"].items()))
    settings.save_dir.mkdir(parents=True, exist_ok=True)
    write_json(settings.save_dir / "data.json", facts)
    changed = {symbol: {**stored, "sha256": "0" * 64}, "NEW": stored}
    other = replace(dataset, description={**facts, "symbols": changed, "sha256": "1" * 64})
    with raises(SaveDirError, "study-differs", "data.sha256") as text:
        prepare_again(settings, other, storage)
    assert f"data.sha256: other bars of {symbol}; new bars of NEW\n" in text[0]
    (settings.save_dir / "data.json").unlink()  # then the hashes are shown
    with raises(SaveDirError, "study-differs", "data.sha256") as text:
        prepare_again(settings, other, storage)
    assert f"{facts['sha256']} → {'1' * 64}" in text[0]


@pytest.mark.parametrize("before", [1, "auto"])
@pytest.mark.parametrize("now", [1, "auto"])
def test_auto_folds_and_their_number_are_the_same_study(settings_of, begun, dataset, before, now):
    storage, new = begun(settings_of(cv_folds=before))
    storage.set_attribute("made_with", {**new.made_with, "data.cv_folds": before})  # as earlier versions stored it
    assert prepare_again(settings_of(cv_folds=now), dataset, storage).made_with["data.cv_folds"] == 1
    with raises(SaveDirError, "study-differs", "data.cv_folds"):
        prepare_again(settings_of(cv_folds=3), dataset, storage)


@pytest.mark.parametrize("now", ["auto", 3])
def test_auto_folds_of_loaders_stay_the_same_study(settings_of, dataset, now):
    settings, storage, cpu = settings_of(source="loaders"), StudyStorage.in_memory("x", "accuracy"), torch.device("cpu")
    storage.set_attribute("made_with", {**fingerprint(settings, dataset, cpu), "data.cv_folds": "auto"})
    same = nullcontext() if now == "auto" else raises(SaveDirError, "study-differs", "data.cv_folds")
    with same:
        require_same(storage, settings_of(source="loaders", cv_folds=now), dataset, cpu)


@pytest.mark.parametrize(
    ("changed", "decay", "name", "count"),
    [
        ([{"lstm.num_layers": n, "lstm.skip_connections": True} for n in (1, 2, 1)], "L2", "lstm.skip_connections", 2),
        ([{"training.optimizer": name} for name in ("adam", "rmsprop", "adam")], None, "adam", 2),
        ([{"training.optimizer": name} for name in ("adam", "rmsprop", "adam")], "L2", "adam", 0),
    ],
)
def test_trials_of_an_earlier_version_that_differ_are_counted(settings_of, begun, dataset, changed, decay, name, count):
    """Parameters without effect, and ``adam`` with decoupled weight decay."""
    settings = settings_of()
    storage, new = begun(settings)
    if decay is not None:
        storage.set_attribute(ADAM_DECAY, decay)
    searched = new.plan.space.searched()
    for number, values in enumerate(changed):
        layers = {key: value for key, value in values.items() if key == "lstm.num_layers"}
        params = {**random_configuration(new.plan.space.fixing(layers), 0, number), **values}
        params = {key: value for key, value in params.items() if key in searched}
        storage.start(params, {key: distribution(searched[key]) for key in params}, {"size_mb": 1.0})
    lines = [line for line in prepare_again(settings, dataset, storage).warnings if name in line]
    assert [line.split()[0] for line in lines] == [str(count)] * (count > 0)


@pytest.mark.parametrize(("steps", "batch_sizes", "passes"), [(1, [16, 64], 1), (30, [16, 64], 3), (30, [16], 1)])
def test_an_epoch_of_small_data_has_passes_for_enough_steps_and_a_study_keeps_their_number(
    settings_of, begun, dataset, steps, batch_sizes, passes
):
    assert len(dataset.train) == 662  # 11 steps of 64 windows
    settings = settings_of()
    space, _ = parse_space({"training": {"batch_size": batch_sizes}})
    training = settings.training.model_copy(update={"min_epoch_steps": steps})
    settings = settings.model_copy(update={"training": training, "search_space": space})
    storage, new = begun(settings)
    assert new.runner.costs.passes == passes
    params = random_configuration(new.plan.space, 0, 0)
    alone = TrialCosts(new.dataset.for_trials(), settings.training, new.runner.speeds)
    assert new.plan.cost(params).seconds == pytest.approx(passes * alone.cost(params).seconds)
    assert new.runner.costs.epochs_within(params, 1000, 1e-9, 9) == 1
    earlier = {name: each for name, each in new.made_with.items() if name != "training.min_epoch_steps"}
    storage.set_attribute("made_with", earlier)
    assert prepare_again(settings, dataset, storage).runner.costs.passes == 1  # a study of an earlier version
    storage.set_attribute("passes", 7)
    assert prepare_again(settings, dataset, storage).runner.costs.passes == 7
