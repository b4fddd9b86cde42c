"""The public API, end to end, on real bars and on DataLoaders."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from builders.errors import raises
from cnn_lstm_hyperopt import (
    CNNLSTMHyperparameterOptimizer,
    load_model,
    load_settings,
    run_cnn_lstm_hyperparameter_optimization,
)
from cnn_lstm_hyperopt.config import Choices
from cnn_lstm_hyperopt.errors import HyperoptError, SaveDirError
from cnn_lstm_hyperopt.evaluation import Grade
from cnn_lstm_hyperopt.pipeline.run import dataset_of

Run = tuple[Path, dict[str, Any]]
SEARCH_KEYS = {"study_name", "n_trials_completed", "best_trials", "optimization_history", "timestamp"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_settings: dict[str, Any]) -> Run:
    """A complete run: search, retraining, results."""
    save_dir = tmp_path_factory.mktemp("run") / "results"
    results = run_cnn_lstm_hyperparameter_optimization(
        config=tiny_settings, n_trials=10, save_dir=save_dir, top_k=2, quiet=True
    )
    return save_dir, results


def loaders() -> tuple[DataLoader[Any], ...]:
    """Three loaders of windows (8 steps, 5 features) whose class is planted in the first feature."""
    generator = torch.Generator().manual_seed(0)

    def one(count: int, shuffle: bool) -> DataLoader[Any]:
        labels = torch.arange(count) % 2
        x = torch.randn(count, 8, 5, generator=generator)
        x[:, :, 0] += 2.0 * labels[:, None]
        return DataLoader(TensorDataset(x, labels, x[:, -1, 1]), batch_size=16, shuffle=shuffle)

    return one(96, True), one(48, False), one(48, False)


def test_run_leaves_every_file(finished: Run) -> None:
    save_dir, results = finished
    files = {path.name for path in save_dir.iterdir()}
    expected = {"study.db", "config.yaml", "data.json", "trials.csv", "validation", "results.json", "run.log"}
    assert expected <= files
    of_model = {
        "model.safetensors",
        "seeds",
        "model.json",
        "metrics.json",
        "predictions.csv",
        "README.md",
        "training.json",
    }
    for entry in results["retrained_models"]:
        assert {path.name for path in (save_dir / f"retrained_model_{entry['model_rank']}").iterdir()} == of_model
    assert not [name for name in files if name.endswith((".part", "-wal", "-shm"))]


def test_results_file_is_what_was_returned_and_agrees_with_the_study(finished: Run) -> None:
    save_dir, results = finished
    on_disk = json.loads((save_dir / "results.json").read_text(encoding="utf-8"))
    assert on_disk == json.loads(json.dumps(results))
    final = {"confirmation", "retrained_models", "baselines", "verdict", "overfitting", "test_openings"}
    assert set(results) >= SEARCH_KEYS | final | {"counts", "hypervolume", "environment"}
    study = optuna.load_study(study_name=results["study_name"], storage=f"sqlite:///{save_dir / 'study.db'}")
    complete = [t for t in study.trials if t.state is optuna.trial.TrialState.COMPLETE]
    skill = results["skill_gate"]["threshold"]
    skilled = [t for t in complete if t.values[0] > skill]
    assert {t["above_chance"] for t in results["best_trials"]} == {True}

    def dominated(a: optuna.trial.FrozenTrial) -> bool:
        mine = (-a.values[0], *a.values[1:])
        others = [(-b.values[0], *b.values[1:]) for b in skilled]
        return any(all(o <= m for o, m in zip(other, mine, strict=True)) and other != mine for other in others)

    assert {t["trial_number"] for t in results["best_trials"]} == {t.number for t in skilled if not dominated(t)}
    accuracies = [t["values"][0] for t in results["best_trials"]]
    assert accuracies == sorted(accuracies, reverse=True)
    assert [t["rank"] for t in results["best_trials"]] == list(range(1, len(accuracies) + 1))


def test_configuration_file_table_and_log(finished: Run) -> None:
    assert len(pd.read_csv(finished[0] / "trials.csv")) == sum(finished[1]["counts"].values())
    settings = load_settings(finished[0] / "config.yaml")
    assert settings.study.n_trials == 10
    assert settings.search_space.domains["cnn.num_filters"] == Choices((4, 8))
    text = (finished[0] / "run.log").read_text(encoding="utf-8")
    assert len(text.splitlines()) > 20
    assert "\x1b" not in text


def test_validation_predictions_give_the_stored_accuracy(finished: Run) -> None:
    save_dir, results = finished
    for row in results["optimization_history"]:
        table = pq.read_table(save_dir / "validation" / f"trial_{row['trial_number']:05d}.parquet").to_pandas()
        if row["values"] is not None:
            right = (table["probability_1"] > 0.5) == (table["label"] == 1)
            assert right.mean() == pytest.approx(row["values"][0], abs=1e-9)


def test_saved_model_predicts_bars_without_the_study(finished: Run) -> None:
    save_dir, results = finished
    entry = results["retrained_models"][0]
    model = load_model(entry["model_path"])
    settings = load_settings(save_dir / "config.yaml")
    test = dataset_of(settings, resume=False).test.open()
    again = model.predict_windows(test)
    accuracy = float(np.mean(again.classes == test.labels.numpy()))
    assert accuracy == pytest.approx(entry["test_metrics"]["test_class_acc"])
    written = pd.read_csv(save_dir / "retrained_model_1" / "predictions.csv")
    np.testing.assert_allclose(written["probability_1"], again.probabilities[:, 1], atol=1e-6)
    np.testing.assert_allclose(
        entry["test_metrics"]["test_reg_mse"], np.mean((written["value"] - written["target"]) ** 2), rtol=1e-5
    )


def test_model_size_is_the_size_of_the_file(finished: Run) -> None:
    save_dir, results = finished
    sizes = pd.read_csv(save_dir / "trials.csv").set_index("number")["size_mb"]  # a finalist may be off the front
    for entry in results["retrained_models"]:
        data = (save_dir / f"retrained_model_{entry['model_rank']}" / "model.safetensors").read_bytes()
        header = 8 + int.from_bytes(data[:8], "little")  # of these tiny models the header is a large part
        assert len(data) - header == pytest.approx(1e6 * sizes[entry["trial_number"]])


def test_the_verdict_is_about_the_first_of_the_confirmed(finished: Run) -> None:
    save_dir, results = finished
    verdict, models = results["verdict"], results["retrained_models"]
    confirmed = [row["trial_number"] for row in results["confirmation"]["candidates"]]
    assert [entry["trial_number"] for entry in models] == confirmed[: len(models)]
    assert verdict["sentence"] in (save_dir / "run.log").read_text(encoding="utf-8")
    assert verdict["grade"] in [grade.value for grade in Grade]
    assert verdict["skill"] is (verdict["grade"] == "better than every baseline")
    assert verdict["skill"] == all(each["interval"][0] > 0 for each in verdict["comparisons"])
    assert (verdict["model_rank"], verdict["trial_number"]) == (1, models[0]["trial_number"])
    assert (verdict["metric"], verdict["score"]) == ("log_loss", -models[0]["test_metrics"]["test_log_loss"])
    assert verdict["accuracy"]["score"] == models[0]["test_metrics"]["test_class_acc"]
    best = min(results["baselines"], key=lambda each: each["test_metrics"]["test_log_loss"])
    assert verdict["best_baseline"] == best["name"]
    expected = verdict["score"] + best["test_metrics"]["test_log_loss"]
    assert verdict["difference"] == pytest.approx(expected, abs=1e-6)  # losses of windows are float32
    assert results["overfitting"]["pbo"]["trials"] == results["n_trials_completed"]
    assert results["overfitting"]["deflated_sharpe"] is None  # a volatility is no direction
    (opening,) = results["test_openings"]
    assert opening["trials"] == [entry["trial_number"] for entry in models]
    assert verdict["test_openings"] == 1


@pytest.mark.slow
@pytest.mark.usefixtures("quick_final_round")
def test_same_seed_gives_the_same_trials(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny["pruner"] = {"type": "none"}  # the median's front depends on measured seconds

    def search(name: str, seed: int) -> list[Any]:
        tiny["study"] = {"n_trials": 3, "seed": seed}
        with CNNLSTMHyperparameterOptimizer(config=tiny, save_dir=tmp_path / name, quiet=True) as optimizer:
            optimizer.optimize(sampler_type="random")
            return [(t.params, t.values[0], t.values[2]) for t in optimizer.study.trials]

    first, second, other = search("a", 1), search("b", 1), search("c", 2)
    assert first == second
    assert first != other


@pytest.mark.slow
@pytest.mark.usefixtures("quick_final_round")
def test_optimizer_on_loaders_as_in_the_specification(tiny: dict[str, Any], tmp_path: Path) -> None:
    optimizer = CNNLSTMHyperparameterOptimizer(
        data_loaders=loaders(),
        input_dim=5,
        save_dir=tmp_path / "loaders",
        study_name="cnn_lstm_optimization",
        config={
            "workers": 1,
            "search_space": {**tiny["search_space"], "architecture": "classic"},
            "training": {"max_epochs": 6},
            "retrain": {"confirm_seeds": 1, "seeds": 1},
        },
        quiet=True,
    )
    found = optimizer.optimize(n_trials=4, pruner_type="median", sampler_type="tpe")
    assert set(found) == SEARCH_KEYS
    assert found["n_trials_completed"] == 4
    retrained = optimizer.retrain_best_models(top_k=1, full_epochs=10)
    assert retrained[0]["test_metrics"]["test_class_acc"] > 0.8
    assert retrained[0]["test_metrics"]["test_reg_mse"] > 0
    states = optimizer.study.trials_dataframe()["state"]
    assert set(states) <= {"COMPLETE", "PRUNED", "FAIL"}
    optimizer.close()


@pytest.mark.slow
@pytest.mark.usefixtures("quick_final_round")
def test_optimizing_again_continues_to_the_new_total(tiny: dict[str, Any]) -> None:
    with CNNLSTMHyperparameterOptimizer(config=tiny, quiet=True) as optimizer:
        optimizer.optimize(n_trials=2)
        assert optimizer.optimize(n_trials=3)["n_trials_completed"] == 3
    with pytest.raises(SaveDirError):
        CNNLSTMHyperparameterOptimizer(config=tiny, quiet=True)
    with CNNLSTMHyperparameterOptimizer(config=tiny, resume=True, quiet=True) as optimizer:
        assert optimizer.optimize(n_trials=4)["n_trials_completed"] == 4


def test_finalists_are_not_tested_twice(tiny: dict[str, Any], finished: Run) -> None:
    save_dir, results = finished
    with CNNLSTMHyperparameterOptimizer(config=save_dir / "config.yaml", resume=True, quiet=True) as optimizer:
        again = optimizer.retrain_best_models(top_k=2)
        assert optimizer.dataset.test.times_opened == 0
    assert again == json.loads(json.dumps(results["retrained_models"]))


def test_study_is_there_only_after_optimizing(tiny: dict[str, Any]) -> None:
    with raises(HyperoptError, "no-study"):
        _ = CNNLSTMHyperparameterOptimizer(config=tiny, quiet=True).study
