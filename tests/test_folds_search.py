"""Searches whose trials train on several folds, checked by scikit-learn from their files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, matthews_corrcoef, roc_auc_score
from torch.utils.data import DataLoader, TensorDataset

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer
from cnn_lstm_hyperopt.config import DataSettings, TrainingSettings, parse_space
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.progress import CONTINUE
from cnn_lstm_hyperopt.search import State, StudyStorage, with_fixed
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner

FOLDS = 3
HALVING = {"type": "successive_halving", "min_resource": 1, "reduction_factor": 4}
SCIKIT_LEARN: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": lambda labels, up: accuracy_score(labels, up > 0.5),
    "mcc": lambda labels, up: matthews_corrcoef(labels, up > 0.5),
    "auc": roc_auc_score,
}


def records_of(folder: Path):
    storage = StudyStorage(folder / "study.db")
    try:
        return storage.records()
    finally:
        storage.close()


@pytest.fixture(scope="module")
def search(tiny_settings, tmp_path_factory):
    """Runs a small search over three folds; returns its directory and its trials."""

    def run(metric: str, *, workers: int = 1, n_trials: int, **changed: Any):
        folder = tmp_path_factory.mktemp(metric) / "results"
        study = {"n_trials": n_trials, "portfolio": False, "metric": metric, "seed": 1}
        data = {**tiny_settings["data"], "cv_folds": FOLDS}
        own = {"save_dir": str(folder), "workers": workers, "study": study, "data": data}
        with CNNLSTMHyperparameterOptimizer(config={**tiny_settings, **own, **changed}, quiet=True) as optimizer:
            optimizer.optimize()
        return folder, records_of(folder)

    return run


@pytest.fixture(scope="module")
def with_workers(search):
    return search("mcc", workers=2, n_trials=5)


def predictions_of(folder: Path, record) -> list[pd.DataFrame]:
    """A trial's predictions on the validation windows of each fold."""
    frame = pd.read_parquet(folder / "validation" / f"trial_{record.number:05d}.parquet")
    return [rows for _, rows in frame.groupby("fold")]


def mean_over_folds(folds: list[pd.DataFrame], score: Callable[[Any, Any], float]) -> float:
    return float(np.mean([score(rows["label"], rows["probability_1"].astype(float)) for rows in folds]))


def assert_scored_alike(folder: Path, records, metric: str) -> None:
    """Curve, best epoch and value of every trial are those of scikit-learn, fold by fold."""
    assert {record.state for record in records} <= {State.COMPLETE, State.PRUNED}
    for record in records:
        folds = predictions_of(folder, record)
        assert len(folds) == FOLDS
        best = min(record.curve, key=lambda point: point.loss)
        assert record.attributes["best_epoch"] == best.epoch
        assert best.score == pytest.approx(mean_over_folds(folds, SCIKIT_LEARN[metric]), abs=1e-12)
        assert best.loss == pytest.approx(mean_over_folds(folds, log_loss), rel=1e-4)  # of logits, and of float32
        assert record.state is State.PRUNED or record.values.score == best.score


@pytest.mark.slow
def test_a_trials_value_is_the_mean_over_folds_with_several_workers(with_workers):
    assert len(with_workers[1]) == 5
    assert_scored_alike(*with_workers, "mcc")


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("metric", ["accuracy", "auc"])
def test_a_trials_value_is_the_mean_over_folds_whatever_the_metric(search, metric):
    assert_scored_alike(*search(metric, n_trials=4), metric)


@pytest.mark.slow
def test_a_pruned_trial_ends_in_all_folds(search, tiny_settings):
    folder, records = search("mcc", n_trials=8, pruner=HALVING)
    assert_scored_alike(folder, records, "mcc")
    pruned = [record for record in records if record.state is State.PRUNED]
    assert pruned
    for record in pruned:
        assert record.curve[-1].epoch == record.attributes["epochs"] < tiny_settings["training"]["max_epochs"]
        assert [len(f) for f in predictions_of(folder, record)] == [len(f) for f in predictions_of(folder, records[0])]


@pytest.mark.slow
def test_a_worker_trains_a_trial_to_the_bit_as_this_process_does(with_workers, tiny_settings, speeds):
    folder, records = with_workers
    record = next(record for record in records if record.state is State.COMPLETE)
    data = prepare_dataset(DataSettings(**tiny_settings["data"], cv_folds=FOLDS)).for_trials()
    settings = TrainingSettings(**tiny_settings["training"])
    runner = TrialRunner(data, settings, seed=1, device=torch.device("cpu"), speeds=speeds, metric="mcc")
    space, _ = parse_space(tiny_settings["search_space"])
    best = runner.run_trial(record.number, with_fixed(space, record.params), lambda report: CONTINUE).outcome.best
    assert best.score == record.values.score
    up = np.concatenate([rows["probability_1"].to_numpy() for rows in predictions_of(folder, record)])
    np.testing.assert_array_equal(best.predictions.probabilities[:, 1], up)


# ---------------------------------------------------------------------- a user's own DataLoaders


def small_loaders() -> list[DataLoader]:
    """40 training and 16 validation windows of two classes, sorted by class as in public sets."""
    loaders = []
    for seed, count in enumerate((40, 16, 20)):
        labels = torch.arange(count) * 2 // count
        noise = torch.randn(count, 12, 1, generator=torch.Generator().manual_seed(seed))
        x = noise + (labels * 2.0 - 1).reshape(-1, 1, 1) * torch.linspace(-1, 1, 12).reshape(1, -1, 1)
        loaders.append(DataLoader(TensorDataset(x, labels), batch_size=8))
    return loaders


@pytest.fixture
def search_of_loaders(tiny_settings):
    def search(folder: Path, *n_trials: int, **changed: Any):
        """Starts a study with the first number of trials and resumes it with each of the others."""
        config = {name: section for name, section in tiny_settings.items() if name != "data"}
        study = {"portfolio": False, "seed": 3, "time_objective": "estimated"}
        facts = {"save_dir": folder, "config": {**config, "workers": 1, "study": study, **changed}, "quiet": True}
        for place, count in enumerate(n_trials):
            with CNNLSTMHyperparameterOptimizer(small_loaders(), resume=place > 0, **facts) as optimizer:
                assert [len(fold.validation) for fold in optimizer.dataset.folds] == [12, 11, 11, 11, 11]
                optimizer.optimize(n_trials=count)
        return records_of(folder)

    return search


def test_trials_on_loaders_are_scored_on_all_windows_of_training_and_validation(search_of_loaders, tmp_path):
    for record in search_of_loaders(tmp_path / "results", 2):
        folds = predictions_of(tmp_path / "results", record)
        assert [len(rows) for rows in folds] == [12, 11, 11, 11, 11]
        assert len({int(date) for rows in folds for date in rows["date"]}) == 56
        best = min(record.curve, key=lambda point: point.loss)
        assert best.score == pytest.approx(mean_over_folds(folds, SCIKIT_LEARN["accuracy"]), abs=1e-12)


@pytest.mark.slow
def test_a_resumed_search_on_loaders_has_the_trials_of_an_uninterrupted_one(search_of_loaders, tmp_path):
    whole = search_of_loaders(tmp_path / "whole", 8, pruner=HALVING)
    again = search_of_loaders(tmp_path / "resumed", 3, 8, pruner=HALVING)
    first, second = (
        [(each.params, each.state, each.values, [point[:3] for point in each.curve]) for each in records]
        for records in (again, whole)
    )
    assert first == second
    assert {record.state for record in whole} == {State.COMPLETE, State.PRUNED}


@pytest.mark.slow
def test_folds_of_loaders_go_through_workers_confirmation_retraining_and_report(tiny_settings, tmp_path, monkeypatch):
    monkeypatch.delenv("CNN_LSTM_HYPEROPT__REPORT")
    config = {name: section for name, section in tiny_settings.items() if name != "data"} | {
        "workers": 2,
        "study": {"portfolio": False, "seed": 3, "n_trials": 12},
        "retrain": {"top_k": 2, "full_epochs": 3, "confirm_seeds": 2, "seeds": 2},
        "report": True,
    }
    folder = tmp_path / "results"
    with CNNLSTMHyperparameterOptimizer(small_loaders(), save_dir=folder, config=config, quiet=True) as optimizer:
        assert optimizer.optimize()["n_trials_completed"] == 12
        entries = optimizer.retrain_best_models()
        results = optimizer.write_results()
    assert [entry["model_rank"] for entry in entries] == list(range(1, len(entries) + 1))
    assert 1 <= len(entries) <= min(2, len(results["best_trials"]))
    # an accuracy on the folds is a mean of shares of 12 or 11 windows, which no share of the 16 validation windows is
    means = {round((a / 12 + b / 11) / 5, 9) for a in range(13) for b in range(45)}
    for candidate in results["confirmation"]["candidates"]:
        assert all(round(score, 9) in means for score in candidate["scores"])
    assert 'id="verdict"' in (folder / "report.html").read_text(encoding="utf-8")
