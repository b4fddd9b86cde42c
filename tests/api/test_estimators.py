"""Both estimators: what scikit-learn expects of them, the leaderboard, save and load, and refusals."""

import copy
import json
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from builders.estimators import QUICK, TINY, level, panel
from cnn_lstm_hyperopt import CNNLSTMClassifier, CNNLSTMRegressor
from cnn_lstm_hyperopt.api.estimators.budget import budget_seconds
from cnn_lstm_hyperopt.api.estimators.leaderboard import Objectives, choose_trial
from cnn_lstm_hyperopt.api.estimators.regressor import quantile_classes
from cnn_lstm_hyperopt.errors import ArrayError, ConfigError, SaveDirError

NEW = panel(12, seed=1)
PICKLE = {"check_estimators_pickle": "a fitted estimator is saved with save, because loading a pickle can run code"}
NO_TIME = {
    "check_regressors_train": "the columns of the check are no time series, and the networks of this test are tiny"
}


def test_a_classifier_has_what_scikit_learn_expects(classifier):
    probabilities, labels = classifier.predict_proba(NEW), classifier.predict(NEW)
    assert classifier.classes_.tolist() == ["down", "up"]
    assert (classifier.n_features_in_, classifier.n_timepoints_in_) == (2, 6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (labels == classifier.classes_[probabilities.argmax(axis=1)]).all()
    actual = np.where(level(NEW) > 0, "up", "down")
    assert classifier.score(NEW, actual) == accuracy_score(actual, labels)
    assert np.isfinite(log_loss(actual, probabilities))


def test_a_regressor_predicts_values_in_the_units_of_y(regressor):
    values = regressor.predict(NEW)
    assert values.shape == (12,)
    assert values.dtype == np.float64
    assert regressor.score(NEW, level(NEW)) == r2_score(level(NEW), values)
    assert not hasattr(regressor, "predict_proba")


def test_the_leaderboard_is_the_front_with_the_chosen_trial(classifier, regressor):
    columns = ["seconds", "MB", "ms_per_prediction", "chosen"]
    board = classifier.leaderboard()
    assert board.columns.tolist() == ["trial", "accuracy", "log_loss", *columns]
    assert board["accuracy"].is_monotonic_decreasing
    assert board.loc[board["chosen"], "trial"].tolist() == [classifier.best_trial_] == [board["trial"][0]]
    assert regressor.leaderboard().columns.tolist() == ["trial", "r2", "rmse", *columns]
    assert (board[["seconds", "MB", "ms_per_prediction"]] > 0).all(axis=None)


BOARD = pd.DataFrame(
    {
        "trial": [7, 3, 5, 2],
        "accuracy": [0.80, 0.79, 0.70, 0.60],
        "seconds": [100.0, 2.0, 1.0, 1.5],
        "MB": [10.0, 0.2, 0.15, 0.1],
    }
)


@pytest.mark.parametrize(
    ("choose", "trial"),
    [
        ("accuracy", 7),
        ("balanced", 3),
        ("fastest", 5),
        ("smallest", 2),
        (lambda board: board[board["MB"] < 0.2]["trial"].iloc[0], 5),
    ],
)
def test_a_choice_picks_a_trial_of_the_front(choose, trial):
    assert choose_trial(BOARD, choose, Objectives.read(None, regression=False)) == trial


@pytest.mark.parametrize(
    ("choose", "code"), [("best", "not-a-choice"), (None, "not-a-choice"), (lambda _: 99, "no-such-trial")]
)
def test_a_wrong_choice_is_refused(choose, code):
    with pytest.raises(ConfigError) as caught:
        choose_trial(BOARD, choose, Objectives.read(None, regression=False))
    assert (caught.value.field, caught.value.code) == ("choose", code)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), (" 2 H ", 7200), ("0.5m", 30), (12, 12), (None, None)],
)
def test_a_budget_is_a_time(given, seconds):
    assert budget_seconds(given) == seconds


@pytest.mark.parametrize("given", ["", "10", "ten minutes", "10m!", 0, -5, True, float("nan"), "0s", [3]])
def test_another_budget_is_refused(given):
    with pytest.raises(ConfigError) as caught:
        budget_seconds(given)
    assert (caught.value.field, caught.value.code) == ("budget", "not-a-budget")


def test_objectives_are_a_metric_and_costs():
    assert Objectives.read(["log_loss", "MB", "seconds"], regression=False) == Objectives("log_loss", ("seconds", "MB"))
    assert Objectives.read("mcc", regression=False).costs == ()
    for wrong in (["seconds"], ["accuracy", "watts"], ["accuracy", "MB", "mb"], 3, []):
        with pytest.raises(ConfigError) as caught:
            Objectives.read(wrong, regression=False)
        assert (caught.value.field, caught.value.code) == ("objectives", "not-objectives")


def test_a_saved_estimator_predicts_as_before(classifier, regressor, tmp_path):
    for estimator in (classifier, regressor):
        kind = type(estimator)
        loaded = kind.load(estimator.save(tmp_path / kind.__name__))
        assert loaded.get_params() == estimator.get_params()
        np.testing.assert_array_equal(loaded.predict(NEW), estimator.predict(NEW))
        pd.testing.assert_frame_equal(loaded.leaderboard(), estimator.leaderboard())
    with pytest.raises(SaveDirError) as caught:
        CNNLSTMRegressor.load(tmp_path / "CNNLSTMClassifier")
    assert caught.value.code == "other-estimator"
    with pytest.raises(SaveDirError) as caught:
        regressor.save(tmp_path / "CNNLSTMClassifier")
    assert caught.value.code == "not-empty"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda found: found.update(format=2), "not-json"),
        (lambda found: found.update(classes=["a", "b", "c"]), "models-differ"),
        (lambda found: found.update(classes=None), "not-json"),
        (lambda found: found.update(n_timepoints_in=7), "models-differ"),
        (lambda found: found["params"].update(secret=1), "not-json"),
        (lambda found: found.update(classes_dtype="datetime64[D]"), "not-json"),
        (lambda found: found["scalers"][0]["mean"].append(1.0), "models-differ"),
    ],
)
def test_a_changed_file_is_refused(classifier, tmp_path, change, code):
    path = classifier.save(tmp_path / "model") / "estimator.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    change(found)
    path.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(SaveDirError) as caught:
        CNNLSTMClassifier.load(tmp_path / "model")
    assert caught.value.code == code


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy])
def test_a_fitted_estimator_is_not_pickled_and_one_that_is_not_fitted_is(classifier, copied):
    with pytest.raises(TypeError, match=r"save\(folder\)"):
        copied(classifier)
    copied(clone(classifier))


def test_a_clone_has_the_parameters_and_is_not_fitted(classifier):
    other = clone(classifier)
    assert other.get_params() == classifier.get_params()
    for method in (other.predict, other.predict_proba):
        with pytest.raises(NotFittedError):
            method(NEW)
    with pytest.raises(NotFittedError):
        other.leaderboard()


@pytest.mark.parametrize(
    ("wrong", "code"),
    [(NEW[:, :5], "windows-shape"), (NEW[:, :, :1], "windows-shape"), (NEW[:, :, 0], "windows-shape")],
)
def test_other_windows_than_in_the_fit_are_refused(classifier, wrong, code):
    with pytest.raises(ArrayError) as caught:
        classifier.predict(wrong)
    assert (caught.value.field, caught.value.code) == ("X", code)


@pytest.mark.parametrize(
    ("more", "field", "code"),
    [
        ({"y": np.zeros(40)}, "y", "one-class"),
        ({"y": None}, "y", "missing-target"),
        ({"y": np.arange(39) % 2}, "y", "lengths-differ"),
        ({"groups": [1, 2]}, "groups", "not-one-per-window"),
        ({"dates": [1] * 41}, "dates", "not-one-per-window"),
        ({"layout": "rows"}, "layout", "not-a-layout"),
        ({"validation_share": 1}, "validation_share", "shares"),
        ({"n_trials": 0}, "study.n_trials", "greater-than-equal"),
        ({"config": {"data": {"lookback": 7}}}, "data.lookback", "unused-with-loaders"),
    ],
)
def test_a_wrong_argument_is_refused_before_the_search(more, field, code):
    arguments = {"y": np.arange(40) % 2, **{name: more[name] for name in ("y", "groups", "dates") if name in more}}
    parameters = {name: value for name, value in more.items() if name not in arguments}
    with pytest.raises((ArrayError, ConfigError)) as caught:
        CNNLSTMClassifier(**{**QUICK, **parameters}).fit(panel(), **arguments)
    assert (caught.value.field, caught.value.code) == (field, code)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.arange(80.0), np.repeat([0, 1, 2, 3], 20)),
        (np.arange(20.0), np.repeat([0, 1], 10)),
        (np.array([0.0, 0, 0, 0, 1]), [0, 0, 0, 0, 1]),
        (np.array([0.0, 1, 1, 1, 1]), [0, 1, 1, 1, 1]),
    ],
)
def test_values_are_divided_into_classes_by_their_quantiles(values, expected):
    assert quantile_classes(values).tolist() == list(expected)


def test_equal_values_have_no_classes():
    with pytest.raises(ArrayError) as caught:
        quantile_classes(np.ones(9))
    assert (caught.value.field, caught.value.code) == ("y", "one-value")


LEARNS = {**TINY, "training": {**TINY["training"], "max_epochs": 10}, "retrain": {"full_epochs": 20, "seeds": 1}}
"""Enough epochs for the scores that scikit-learn asks for."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of scikit-learn's checks
@pytest.mark.parametrize(
    ("kind", "expected"),
    [(CNNLSTMClassifier, PICKLE), pytest.param(CNNLSTMRegressor, {**PICKLE, **NO_TIME}, marks=pytest.mark.thorough)],
)
def test_scikit_learns_checks_pass_except_those_that_are_listed(kind, expected):
    estimator = kind(n_trials=1, n_jobs=1, config=LEARNS)
    results = check_estimator(estimator, expected_failed_checks=expected, on_skip=None, on_fail=None)
    assert {each["check_name"]: str(each["exception"]) for each in results if each["status"] == "failed"} == {}
    assert {each["check_name"] for each in results if each["status"] == "xfail"} == set(expected)


@pytest.mark.slow
def test_estimators_work_in_pipelines_and_cross_validation_with_groups_kept_apart():
    from sklearn import config_context

    x = panel(60)
    y, groups = (level(x) > 0).astype(int), np.arange(60) // 4
    flat = make_pipeline(StandardScaler(), CNNLSTMClassifier(**QUICK))
    assert np.isfinite(cross_val_score(flat, x[:, :, 0], y, cv=2)).all()
    with config_context(enable_metadata_routing=True):
        own = CNNLSTMClassifier(**QUICK).set_fit_request(groups=True)
        scores = cross_val_score(own, x, y, params={"groups": groups}, cv=GroupKFold(2))
    assert np.isfinite(scores).all()


@pytest.mark.slow
@pytest.mark.parametrize("windows", [40, 4000], ids=["a trial fits", "a trial takes longer than the budget"])
def test_a_budget_that_is_too_short_still_gives_a_model(tmp_path, windows):
    x = panel(windows)
    space = {
        **TINY["search_space"],
        "training": {**TINY["search_space"]["training"], "learning_rate": {"low": 0.001, "high": 0.1}},
    }
    config = {**TINY, "search_space": space, "retrain": {"full_epochs": 50, "seeds": 3}}
    estimator = CNNLSTMClassifier(n_trials=500, n_jobs=1, config=config, budget=1, save_dir=tmp_path / "results")
    estimator.fit(x, level(x) > 0)
    states = pd.read_csv(tmp_path / "results" / "trials.csv")["state"]
    assert 1 <= (states == "COMPLETE").sum() < 100
    assert estimator.predict(NEW).shape == (12,)


@pytest.mark.slow
def test_selected_inputs_have_a_table_that_is_saved(tmp_path):
    x = panel(600)
    x = np.concatenate([x, np.random.default_rng(0).normal(size=(len(x), x.shape[1], 2)).astype(np.float32)], axis=2)
    config = {**LEARNS, "features": {"select": True}}
    estimator = CNNLSTMClassifier(n_trials=2, n_jobs=1, config=config).fit(x, level(x) > 0)
    table = estimator.input_importance()
    assert sorted(table["input"]) == [f"feature_{place}" for place in range(4)]
    assert table["importance"].is_monotonic_decreasing
    assert table["input"][0] == "feature_0"  # the labels are the level of this input
    changed = np.where(table.set_index("input")["used"].sort_index(), x, x + 5).astype(np.float32)
    np.testing.assert_array_equal(estimator.predict_proba(changed), estimator.predict_proba(x))
    loaded = CNNLSTMClassifier.load(estimator.save(tmp_path / "saved"))
    pd.testing.assert_frame_equal(loaded.input_importance(), table)


def test_inputs_without_a_selection_have_no_table(classifier):
    with pytest.raises(ConfigError) as caught:
        classifier.input_importance()
    assert (caught.value.field, caught.value.code) == ("features.select", "inputs-not-selected")


@pytest.mark.slow
def test_a_study_that_is_kept_has_its_files_and_no_test_set(tmp_path):
    x = panel()
    estimator = CNNLSTMClassifier(**QUICK, save_dir=tmp_path / "results", choose="smallest", budget="10m")
    estimator.fit(x, level(x) > 0, dates=pd.date_range("2020-01-01", periods=len(x)))
    found = json.loads((tmp_path / "results" / "results.json").read_text(encoding="utf-8"))
    data = json.loads((tmp_path / "results" / "data.json").read_text(encoding="utf-8"))
    assert (found["picks"]["smallest"], found["test_openings"]) == (estimator.best_trial_, [])
    assert set(data["splits"]) == {"train", "validation"}
    assert data["splits"]["train"]["last"] < data["splits"]["validation"]["first"]
    assert not (tmp_path / "results" / "checkpoints").exists()
    with pytest.raises(SaveDirError) as caught:
        estimator.fit(x, level(x) > 0)
    assert caught.value.code == "study-exists"


@pytest.mark.slow
def test_several_folds_and_seeds_are_averaged_and_learn():
    x = panel(80)
    folds = {**LEARNS, "data": {"cv_folds": 3}, "retrain": {"full_epochs": 20, "seeds": 3}}
    regressor = CNNLSTMRegressor(n_trials=2, n_jobs=1, config=folds).fit(x * [5, 1] + [100, 0], 1000 * level(x))
    assert regressor.score(NEW * [5, 1] + [100, 0], 1000 * level(NEW)) > 0.3


@pytest.mark.parametrize("name", ["y", "groups", "dates"])
def test_targets_in_another_order_than_the_windows_of_a_long_table_are_refused(name):
    x = panel(12)
    table = pd.concat({f"w{number}": pd.DataFrame(window) for number, window in enumerate(x)}, names=["window", "time"])
    marks = {"y": pd.Series(level(x), index=[f"w{number}" for number in range(12)])}
    marks[name] = pd.Series(np.arange(12), index=[f"w{number}" for number in range(12)]).sort_index()
    with pytest.raises(ArrayError) as caught:
        CNNLSTMClassifier(**QUICK).fit(table, **marks)
    assert (caught.value.code, caught.value.field) == ("other-order", name)
