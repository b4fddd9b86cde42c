"""Searches whose trials train on several folds, checked by scikit-learn from their files."""

from functools import cache

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
from cnn_lstm_hyperopt.search.study_space import space_of_data
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner

pytestmark = pytest.mark.usefixtures("quick_final_round")

FOLDS = 3
HALVING = {"type": "successive_halving", "min_resource": 1, "reduction_factor": 4}
SCIKIT_LEARN = {
    "accuracy": lambda labels, up: accuracy_score(labels, up > 0.5),
    "mcc": matthews_corrcoef,
    "auc": roc_auc_score,
}


def records_of(folder):
    storage = StudyStorage(folder / "study.db")
    try:
        return storage.records()
    finally:
        storage.close()


@pytest.fixture(scope="module")
def search(tiny_settings, tmp_path_factory):
    """Runs each small search over three folds once; returns its directory and its trials."""

    @cache
    def run(metric, workers, n_trials, pruned=False):
        folder = tmp_path_factory.mktemp(metric) / "results"
        study = {"n_trials": n_trials, "portfolio": False, "metric": metric, "seed": 1, "time_objective": "estimated"}
        data = {**tiny_settings["data"], "cv_folds": FOLDS}
        config = {**tiny_settings, "save_dir": str(folder), "workers": workers, "study": study, "data": data}
        config |= {"pruner": HALVING} if pruned else {}
        with CNNLSTMHyperparameterOptimizer(config=config, quiet=True) as optimizer:
            optimizer.optimize()
        return folder, records_of(folder)

    return run


def predictions_of(folder, record):
    """A trial's predictions on the validation windows of each fold."""
    frame = pd.read_parquet(folder / "validation" / f"trial_{record.number:05d}.parquet")
    return [rows for _, rows in frame.groupby("fold")]


def mean_over_folds(folds, score):
    return float(np.mean([score(rows["label"], rows["probability_1"].astype(float)) for rows in folds]))


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize(
    ("metric", "workers", "n_trials", "pruned"),
    [("accuracy", 1, 4, False), ("auc", 1, 4, False), ("mcc", 2, 5, False), ("mcc", 1, 16, True)],
)
def test_value_curve_and_best_epoch_of_a_trial_are_means_over_folds(
    search, tiny_settings, metric, workers, n_trials, pruned
):
    """By scikit-learn; a pruned trial ends in all folds."""
    folder, records = search(metric, workers, n_trials, pruned)
    data = prepare_dataset(DataSettings(**tiny_settings["data"], cv_folds=FOLDS)).for_trials()
    shares = [float(fold.train.labels.double().mean()) for fold in data.folds]
    assert len(records) == n_trials
    states = {record.state for record in records}
    assert states == {State.COMPLETE, State.PRUNED} if pruned else states <= {State.COMPLETE, State.PRUNED}
    for record in records:
        folds = predictions_of(folder, record)
        assert [len(f) for f in folds] == [len(f) for f in predictions_of(folder, records[0])]
        assert len(folds) == FOLDS
        best = min(record.curve, key=lambda point: point.loss)
        assert record.attributes["best_epoch"] == best.epoch
        if metric == "mcc":  # a class is predicted where its probability exceeds its share of the training windows
            decided = [
                rows.assign(probability_1=rows["probability_1"] > share)
                for rows, share in zip(folds, shares, strict=True)
            ]
        else:
            decided = folds
        assert best.score == pytest.approx(mean_over_folds(decided, SCIKIT_LEARN[metric]), abs=1e-12)
        assert best.loss == pytest.approx(mean_over_folds(folds, log_loss), rel=1e-4)  # of logits, and of float32
        if record.state is State.PRUNED:
            assert record.curve[-1].epoch == record.attributes["epochs"] < tiny_settings["training"]["max_epochs"]
        else:
            assert record.values.score == best.score


@pytest.mark.slow
def test_a_worker_trains_a_trial_to_the_bit_as_this_process_does(search, tiny_settings, speeds):
    folder, (record, *_) = search("mcc", 2, 5)
    settings = DataSettings(**tiny_settings["data"], cv_folds=FOLDS)
    data = prepare_dataset(settings, groups=["relative_ranges"]).for_trials()
    settings = TrainingSettings(**tiny_settings["training"])
    runner = TrialRunner(data, settings, seed=1, device=torch.device("cpu"), speeds=speeds, metric="mcc")
    space = space_of_data(parse_space(tiny_settings["search_space"])[0], ["relative_ranges"], one_task=False, raw=False)
    best = runner.run_trial(record.number, with_fixed(space, record.params), lambda report: CONTINUE).outcome.best
    assert best.score == record.values.score
    up = np.concatenate([rows["probability_1"].to_numpy() for rows in predictions_of(folder, record)])
    np.testing.assert_array_equal(best.predictions.probabilities[:, 1], up)


def small_loaders():
    """40 training and 16 validation windows of two classes, sorted by class as in public sets."""
    loaders = []
    for seed, count in enumerate((40, 16, 20)):
        labels = torch.arange(count) * 2 // count
        noise = torch.randn(count, 12, 1, generator=torch.Generator().manual_seed(seed))
        x = noise + (labels * 2.0 - 1).reshape(-1, 1, 1) * torch.linspace(-1, 1, 12).reshape(1, -1, 1)
        loaders.append(DataLoader(TensorDataset(x, labels), batch_size=8))
    return loaders


@pytest.fixture
def config(tiny_settings):
    """Of loaders, with estimated times, so that a search repeats."""
    study = {"portfolio": False, "seed": 3, "time_objective": "estimated"}
    return {name: section for name, section in tiny_settings.items() if name != "data"} | {"workers": 1, "study": study}


def search_of_loaders(config, folder, *n_trials):
    """Start a study with the first number of trials and resume it with each of the others."""
    for place, count in enumerate(n_trials):
        facts = {"save_dir": folder, "config": config, "quiet": True, "resume": place > 0}
        with CNNLSTMHyperparameterOptimizer(small_loaders(), **facts) as optimizer:
            assert [len(fold.validation) for fold in optimizer.dataset.folds] == [12, 11, 11, 11, 11]
            optimizer.optimize(n_trials=count)
    return records_of(folder)


def test_trials_on_loaders_are_scored_on_all_windows_of_training_and_validation(config, tmp_path):
    for record in search_of_loaders(config, tmp_path, 2):
        folds = predictions_of(tmp_path, record)
        assert [len(rows) for rows in folds] == [12, 11, 11, 11, 11]
        assert len({int(date) for rows in folds for date in rows["date"]}) == 56
        best = min(record.curve, key=lambda point: point.loss)
        assert best.score == pytest.approx(mean_over_folds(folds, SCIKIT_LEARN["accuracy"]), abs=1e-12)


@pytest.mark.slow
def test_a_resumed_search_on_loaders_has_the_trials_of_an_uninterrupted_one(config, tmp_path):
    config["pruner"] = HALVING
    first, second = (
        [(each.params, each.state, each.values, [point[:3] for point in each.curve]) for each in records]
        for records in (search_of_loaders(config, tmp_path / name, *n) for name, *n in (("a", 8), ("b", 3, 8)))
    )
    assert first == second
    assert {state for _, state, *_ in first} == {State.COMPLETE, State.PRUNED}


@pytest.mark.slow
def test_folds_of_loaders_go_through_workers_confirmation_retraining_and_report(config, tmp_path, monkeypatch):
    monkeypatch.delenv("CNN_LSTM_HYPEROPT__REPORT")
    retrain = {"top_k": 2, "full_epochs": 3, "confirm_seeds": 2, "seeds": 2}
    study = {"portfolio": False, "seed": 3, "n_trials": 12}
    config |= {"workers": 2, "study": study, "retrain": retrain, "report": True}
    with CNNLSTMHyperparameterOptimizer(small_loaders(), save_dir=tmp_path, config=config, quiet=True) as optimizer:
        assert optimizer.optimize()["n_trials_completed"] == 12
        entries = optimizer.retrain_best_models()
        results = optimizer.write_results()
    assert [entry["model_rank"] for entry in entries] == list(range(1, len(entries) + 1))
    candidates = results["confirmation"]["candidates"]  # also trials off the front, which can have a single trial
    assert len(entries) == min(2, len(candidates)) >= 1
    # an accuracy on the folds is a mean of shares of 12 or 11 windows, which no share of the 16 validation windows is
    means = {round((a / 12 + b / 11) / 5, 9) for a in range(13) for b in range(45)}
    for candidate in candidates:
        assert all(round(score, 9) in means for score in candidate["scores"])
    assert 'id="verdict"' in (tmp_path / "report.html").read_text(encoding="utf-8")
