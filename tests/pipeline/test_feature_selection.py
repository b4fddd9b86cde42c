"""Selection of inputs in real runs: only useful features stay, results are kept, leaking columns are refused."""

import json

import numpy as np
import pytest
import torch

from builders.frames import random_frame
from builders.loaders import loader
from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, load_model
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.errors import DataError, SaveDirError
from cnn_lstm_hyperopt.pipeline.confirmation import Candidate
from cnn_lstm_hyperopt.pipeline.feature_selection import with_recommended
from cnn_lstm_hyperopt.pipeline.run import dataset_of
from cnn_lstm_hyperopt.reporting.html.page import write_report

FEATURES = 4


def planted(windows, seed):
    """Windows whose class is the sign of the last value of feature 0."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((windows, 5, FEATURES)).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy((x[:, -1, 0] > 0).astype(np.int64))


def settings_for(tiny, **features):
    return {
        **tiny,
        "features": features,
        "study": {**tiny["study"], "n_trials": 3, "portfolio": False},
        "training": {**tiny["training"], "max_epochs": 6},
        "retrain": {"top_k": 1, "seeds": 1, "confirm_seeds": 1, "full_epochs": 6},
        "workers": 1,
        "mlflow": {"enabled": False},
    }


@pytest.fixture(scope="module")
def selected(tiny_settings, tmp_path_factory):
    """A study on loaders with one useful feature, after its final phase; and the settings of the study."""
    folder = tmp_path_factory.mktemp("selected")
    settings = settings_for({key: value for key, value in tiny_settings.items() if key != "data"}, select=True)
    loaders = [loader(planted(size, seed), batch_size=32) for seed, size in enumerate((200, 120, 80))]
    with CNNLSTMHyperparameterOptimizer(loaders, save_dir=folder / "run", config=settings, quiet=True) as optimizer:
        optimizer.optimize()
        optimizer.retrain_best_models()
    return folder / "run", settings, loaders


def results_of(folder):
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_finalists_use_only_the_features_that_beat_the_shadows(selected):
    folder, *_ = selected
    results = results_of(folder)
    found = results["feature_selection"]
    assert found["applied"]
    kept = {each["group"]: each["kept"] for each in found["groups"]}
    assert kept == {f"own.feature_{k}": k == 0 for k in range(FEATURES)}
    assert found["groups"][0]["importance"] > found["best_shadow"] >= max(each["shadow"] for each in found["groups"])
    assert found["log_loss"]["recommended"] - found["log_loss"]["all"] == pytest.approx(found["log_loss"]["difference"])
    params = results["retrained_models"][0]["config_params"]
    assert {name: value for name, value in params.items() if name.startswith("inputs.own.")} == {
        f"inputs.{group}": flag for group, flag in kept.items()
    }


@pytest.mark.slow
def test_the_saved_model_ignores_the_other_features(selected):
    model, (x, _) = load_model(selected[0] / "retrained_model_1"), planted(6, 9)
    changed = x.clone()
    changed[..., 1:] = 7.0
    columns = ["probability_0", "probability_1"]
    np.testing.assert_allclose(model.predict(x)[columns], model.predict(changed)[columns], rtol=1e-6)


@pytest.mark.slow
def test_flags_are_parameters_of_trials_in_all_files(selected):
    folder, *_ = selected
    flags = {f"inputs.own.feature_{k}" for k in range(FEATURES)}
    header = (folder / "trials.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert flags <= set(header)
    assert flags <= set(results_of(folder)["best_trials"][0]["params"])
    assert "feature_3" in write_report(folder).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_resumed_study_keeps_its_selection_and_refuses_another_setting(selected):
    folder, settings, loaders = selected
    before = results_of(folder)
    with CNNLSTMHyperparameterOptimizer(loaders, save_dir=folder, config=settings, resume=True, quiet=True) as again:
        again.retrain_best_models()
    after = results_of(folder)
    assert after["feature_selection"] == before["feature_selection"]
    assert after["retrained_models"] == before["retrained_models"]
    other = {**settings, "features": {"select": False}}
    with (
        pytest.raises(SaveDirError) as caught,
        CNNLSTMHyperparameterOptimizer(loaders, save_dir=folder, config=other, resume=True, quiet=True) as again,
    ):
        again.optimize()
    assert "features.select" in [each.field for each in caught.value.violations]


def test_a_leaking_column_is_refused_also_with_selection(tmp_path):
    frame = random_frame(400)
    (tmp_path / "bars").mkdir()
    frame.assign(leak=frame["close"].shift(-1) / frame["close"], noise=1.0).to_csv(tmp_path / "bars" / "A.csv")
    data = {"data_dir": str(tmp_path / "bars"), "feature_columns": ["leak"], "lookback": 10, "target": "direction"}
    settings = load_settings({"data": data, "features": {"select": True}, "save_dir": str(tmp_path / "run")})
    with pytest.raises(DataError) as caught:
        dataset_of(settings, resume=False)
    assert caught.value.field == "leak"


def test_candidates_get_exactly_the_recommended_groups_or_keep_their_own():
    groups = [
        {"group": "built_in", "optional": False, "kept": True},
        {"group": "own.a", "optional": True, "kept": False},
        {"group": "own.b", "optional": True, "kept": True},
    ]
    candidate = Candidate(1, 0, {"inputs.own.a": True, "inputs.own.b": False, "lstm.hidden_dim": 8}, 0.6)
    applied = with_recommended(candidate, {"applied": True, "groups": groups})
    assert applied.params == {"inputs.own.a": False, "inputs.own.b": True, "lstm.hidden_dim": 8}
    assert with_recommended(candidate, {"applied": False, "groups": groups}) is candidate
