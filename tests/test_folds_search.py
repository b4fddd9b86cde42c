"""Whole searches whose trials train on several folds side by side, judged by scikit-learn from what they left on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, matthews_corrcoef, roc_auc_score

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer
from cnn_lstm_hyperopt.config import DataSettings, TrainingSettings, parse_space
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.progress import CONTINUE
from cnn_lstm_hyperopt.search import State, StudyStorage, TrialRecord, with_fixed
from cnn_lstm_hyperopt.training.cost import CostModel
from cnn_lstm_hyperopt.trial_runner import TrialRunner

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
