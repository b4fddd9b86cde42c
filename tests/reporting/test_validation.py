"""validation/: predictions by date, compact, whole."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from cnn_lstm_hyperopt.data.windows import Fold, Windows
from cnn_lstm_hyperopt.execution.validation_files import ValidationWriter, delete_validation, write_validation
from cnn_lstm_hyperopt.progress import CONTINUE, ProgressReport
from cnn_lstm_hyperopt.search import Assignment, Cost
from cnn_lstm_hyperopt.training import Evaluation, Outcome, Predictions
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork

N = 7


@pytest.fixture
def windows():
    return Windows(
        series=torch.zeros(N + 3, 2),
        starts=torch.arange(N),
        lookback=3,
        labels=torch.tensor([0, 1, 0, 1, 1, 0, 1]),
        values=torch.linspace(-1, 1, N),
        dates=np.arange("2020-01-01", "2020-01-08", dtype="datetime64[D]").astype("datetime64[ns]"),
        symbols=np.array(["AAPL"] * 4 + ["IBM"] * 3),
    )


@pytest.fixture
def folds(windows):
    return [Fold(windows, windows, 0.0, 1.0)]


def predictions(classes, *, values=True, count=N):
    raw = np.random.default_rng(0).random((count, classes))
    shares = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
    return Predictions(shares, np.linspace(0, 1, count, dtype=np.float32) if values else None)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("n_folds", [1, 3])
def test_every_window_has_its_fold_date_symbol_label_and_probabilities(tmp_path, windows, classes, n_folds):
    """The second fold holds out some windows of the first again, as combinatorial folds do."""
    held_out = [np.arange(4), np.array([2, 3, 4, 5, 6]), np.array([6])] if n_folds == 3 else [np.arange(N)]
    parts = [windows.subset(rows) for rows in held_out]
    expected = predictions(classes, count=sum(map(len, held_out)))
    path = write_validation(tmp_path / "validation", 42, [Fold(windows, part, 0.0, 1.0) for part in parts], expected)
    assert path == tmp_path / "validation" / "trial_00042.parquet"
    frame = pd.read_parquet(path)
    known = [f"probability_{k}" for k in range(1, classes)]
    assert list(frame) == ["date", "symbol", "label", *(["fold"] if n_folds == 3 else []), *known, "value"]
    if n_folds == 3:
        assert pq.read_schema(path).field("fold").type == pa.int8()
    numbers = frame.get("fold", np.ones(len(frame)))
    assert list(numbers) == [number for number, rows in enumerate(held_out, start=1) for _ in rows]
    for number, part in enumerate(parts, start=1):
        rows = frame[numbers == number]
        np.testing.assert_array_equal(rows["date"].to_numpy(), part.dates)
        assert rows["symbol"].astype(str).tolist() == part.symbols.tolist()
        assert rows["label"].tolist() == part.labels.tolist()
    np.testing.assert_array_equal(frame[known], expected.probabilities[:, 1:])
    np.testing.assert_allclose(1 - frame[known].to_numpy().sum(axis=1), expected.probabilities[:, 0], atol=1e-6)
    np.testing.assert_array_equal(frame["value"], expected.values)


def test_without_a_regression_head_there_is_no_value(tmp_path, folds):
    assert "value" not in pd.read_parquet(write_validation(tmp_path, 0, folds, predictions(2, values=False)))


def test_the_observer_writes_the_best_epoch_of_each_training_before_the_trial_counts(tmp_path, folds):
    expected, assignment = predictions(2), Assignment(5, 3, {}, Cost(1.0, 1.0), None)
    writer = ValidationWriter(tmp_path / "validation", folds)
    writer.on_trial_start(assignment)
    writer.on_trial_report(assignment, ProgressReport(1.0, 1.0, 1.0, 0.6, 0.4))
    for best in (None, Evaluation(0.5, 0.7, None, expected, 0.7)):  # None: it was never validated
        assert not (tmp_path / "validation").exists()
        network = (torch.nn.Linear(1, 1),)
        trained = TrainedNetwork(network, Outcome(2, best, 2.0, 1.0, 1.0, CONTINUE), 1.0, "float32")
        writer.on_trial_trained(assignment, trained)
    (path,) = (tmp_path / "validation").iterdir()
    assert path.name == "trial_00003.parquet"
    np.testing.assert_array_equal(pd.read_parquet(path)["probability_1"], expected.probabilities[:, 1])


def test_predictions_of_failed_trials_are_removed(tmp_path, folds):
    for number in (0, 1, 2):
        write_validation(tmp_path, number, folds, predictions(2))
    delete_validation(tmp_path, [1, 7])
    delete_validation(tmp_path / "none", [1])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["trial_00000.parquet", "trial_00002.parquet"]
