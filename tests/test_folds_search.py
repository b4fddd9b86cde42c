"""Whole searches whose trials train on several folds side by side, judged by scikit-learn from what they left on disk."""

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
from cnn_lstm_hyperopt.search import State, StudyStorage, TrialRecord, with_fixed
from cnn_lstm_hyperopt.training.cost_model import CostModel
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner

FOLDS = 3
SCIKIT_LEARN: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": lambda labels, up: accuracy_score(labels, up > 0.5),
    "mcc": lambda labels, up: matthews_corrcoef(labels, up > 0.5),
    "auc": roc_auc_score,
}


@pytest.fixture(scope="module")
def search(
    tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Path, list[TrialRecord]]]:
    """Runs a small search over three folds; returns its directory and its trials."""

    def run(metric: str, *, workers: int = 1, n_trials: int, **changed: Any) -> tuple[Path, list[TrialRecord]]:
        folder = tmp_path_factory.mktemp(metric) / "results"
        config = {
            **tiny_settings,
            "save_dir": str(folder),
            "workers": workers,
            "study": {"n_trials": n_trials, "portfolio": False, "metric": metric, "seed": 1},
            "data": {**tiny_settings["data"], "cv_folds": FOLDS},
            **changed,
        }
        with CNNLSTMHyperparameterOptimizer(config=config, quiet=True) as optimizer:
            optimizer.optimize()
        storage = StudyStorage(folder / "study.db")
        try:
            return folder, storage.records()
        finally:
            storage.close()

    return run


@pytest.fixture(scope="module")
def with_workers(search: Callable[..., tuple[Path, list[TrialRecord]]]) -> tuple[Path, list[TrialRecord]]:
    """Two workers, by Matthews' coefficient."""
    return search("mcc", workers=2, n_trials=5)


def said(folder: Path, record: TrialRecord) -> list[pd.DataFrame]:
    """What a trial said of the validation windows of each fold."""
    frame = pd.read_parquet(folder / "validation" / f"trial_{record.number:05d}.parquet")
    return [rows for _, rows in frame.groupby("fold")]


def mean_over_folds(folds: list[pd.DataFrame], score: Callable[[Any, Any], float]) -> float:
    return float(np.mean([score(rows["label"], rows["probability_1"].astype(float)) for rows in folds]))


def assert_judged_alike(folder: Path, records: list[TrialRecord], metric: str) -> None:
    """Curve, best epoch and value of every trial are what scikit-learn makes of its file, fold by fold."""
    assert {record.state for record in records} <= {State.COMPLETE, State.PRUNED}
    for record in records:
        folds = said(folder, record)
        assert len(folds) == FOLDS
        best = min(record.curve, key=lambda point: point.loss)
        assert record.attributes["best_epoch"] == best.epoch
        assert best.score == pytest.approx(mean_over_folds(folds, SCIKIT_LEARN[metric]), abs=1e-12)
        assert best.loss == pytest.approx(
            mean_over_folds(folds, log_loss), rel=1e-4
        )  # of logits there, of float32 here
        if record.state is State.COMPLETE:
            assert record.values is not None
            assert record.values.score == best.score


@pytest.mark.slow
def test_a_trials_value_is_the_mean_over_folds_with_several_workers(
    with_workers: tuple[Path, list[TrialRecord]],
) -> None:
    folder, records = with_workers
    assert len(records) == 5
    assert_judged_alike(folder, records, "mcc")


@pytest.mark.slow
def test_a_pruned_trial_ends_in_all_folds(search: Any, tiny_settings: dict[str, Any]) -> None:
    """Its curve is shorter, and its best epoch has predictions of all folds."""
    halving = {"type": "successive_halving", "min_resource": 1, "reduction_factor": 4}
    folder, records = search("mcc", n_trials=8, pruner=halving)
    assert_judged_alike(folder, records, "mcc")
    pruned = [record for record in records if record.state is State.PRUNED]
    assert pruned
    for record in pruned:
        assert record.curve[-1].epoch == record.attributes["epochs"] < tiny_settings["training"]["max_epochs"]
        assert [len(rows) for rows in said(folder, record)] == [len(rows) for rows in said(folder, records[0])]


@pytest.mark.slow
def test_a_worker_trains_a_trial_to_the_bit_as_this_process_does(
    with_workers: tuple[Path, list[TrialRecord]], tiny_settings: dict[str, Any], speeds: CostModel
) -> None:
    folder, records = with_workers
    record = next(record for record in records if record.state is State.COMPLETE)
    data = prepare_dataset(DataSettings(**tiny_settings["data"], cv_folds=FOLDS)).for_trials()
    settings = TrainingSettings(**tiny_settings["training"])
    runner = TrialRunner(data, settings, seed=1, device=torch.device("cpu"), speeds=speeds, metric="mcc")
    space, _ = parse_space(tiny_settings["search_space"])
    trained = runner.run_trial(record.number, with_fixed(space, record.params), lambda report: CONTINUE)
    assert trained.outcome.best is not None
    assert record.values is not None
    assert trained.outcome.best.score == record.values.score
    up = np.concatenate([rows["probability_1"].to_numpy() for rows in said(folder, record)])
    np.testing.assert_array_equal(trained.outcome.best.predictions.probabilities[:, 1], up)


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("metric", ["accuracy", "auc"])
def test_a_trials_value_is_the_mean_over_folds_whatever_the_metric(search: Any, metric: str) -> None:
    folder, records = search(metric, n_trials=4)
    assert_judged_alike(folder, records, metric)


# ---------------------------------------------------------------------- a user's own DataLoaders


def small_loaders() -> list[DataLoader]:
    """40 training and 16 validation windows of two classes, in the order of their classes as public sets have them."""
    loaders = []
    for seed, count in enumerate((40, 16, 20)):
        labels = torch.arange(count) * 2 // count
        noise = torch.randn(count, 12, 1, generator=torch.Generator().manual_seed(seed))
        x = noise + (labels * 2.0 - 1).reshape(-1, 1, 1) * torch.linspace(-1, 1, 12).reshape(1, -1, 1)
        loaders.append(DataLoader(TensorDataset(x, labels), batch_size=8))
    return loaders


def search_of_loaders(tiny_settings: dict[str, Any], folder: Path, *n_trials: int, **changed: Any) -> list[TrialRecord]:
    """The trials of a study that is begun with the first number of trials and resumed with each of the others."""
    config = {
        **{name: section for name, section in tiny_settings.items() if name != "data"},
        "workers": 1,
        "study": {"portfolio": False, "seed": 3, "time_objective": "estimated"},
        **changed,
    }
    for place, count in enumerate(n_trials):
        with CNNLSTMHyperparameterOptimizer(
            small_loaders(), save_dir=folder, config=config, resume=place > 0, quiet=True
        ) as optimizer:
            assert [len(fold.validation) for fold in optimizer.dataset.folds] == [12, 11, 11, 11, 11]
            optimizer.optimize(n_trials=count)
    storage = StudyStorage(folder / "study.db")
    try:
        return storage.records()
    finally:
        storage.close()


def facts_of(records: list[TrialRecord]) -> list[Any]:
    return [(record.params, record.state, record.values, [point[:3] for point in record.curve]) for record in records]


def test_trials_on_loaders_are_judged_by_all_windows_of_training_and_validation(
    tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    records = search_of_loaders(tiny_settings, tmp_path / "results", 2)
    for record in records:
        folds = said(tmp_path / "results", record)
        assert [len(rows) for rows in folds] == [12, 11, 11, 11, 11]
        assert len({int(date) for rows in folds for date in rows["date"]}) == 56
        best = min(record.curve, key=lambda point: point.loss)
        assert best.score == pytest.approx(mean_over_folds(folds, SCIKIT_LEARN["accuracy"]), abs=1e-12)


@pytest.mark.slow
def test_a_resumed_search_on_loaders_has_the_folds_and_trials_of_one_that_was_not_interrupted(
    tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    pruner = {"pruner": {"type": "successive_halving", "min_resource": 1, "reduction_factor": 4}}
    whole = search_of_loaders(tiny_settings, tmp_path / "whole", 8, **pruner)
    again = search_of_loaders(tiny_settings, tmp_path / "resumed", 3, 8, **pruner)
    assert facts_of(again) == facts_of(whole)
    assert {record.state for record in whole} == {State.COMPLETE, State.PRUNED}


@pytest.mark.slow
def test_folds_of_loaders_go_through_workers_confirmation_retraining_and_report(
    tiny_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CNN_LSTM_HYPEROPT__REPORT")
    config = {
        **{name: section for name, section in tiny_settings.items() if name != "data"},
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
    # On the folds, an accuracy is a mean of shares of 12 or 11 windows, which no share of the 16 validation windows is.
    means = {round((a / 12 + b / 11) / 5, 9) for a in range(13) for b in range(45)}
    for candidate in results["confirmation"]["candidates"]:
        assert all(round(score, 9) in means for score in candidate["scores"])
    assert 'id="verdict"' in (folder / "report.html").read_text(encoding="utf-8")
