"""Whole runs on DataLoaders without dates: the verdict of a small set, and a search that finds nothing."""

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, run_cnn_lstm_hyperparameter_optimization

CONFIG = {
    "mlflow": {"enabled": False},
    "training": {"max_epochs": 2},
    "sampler": {"type": "random"},
    "pruner": {"type": "none"},
    "study": {"portfolio": False},
    "retrain": {"confirm_seeds": 1, "seeds": 1},
    "search_space": {
        "cnn": {"num_filters": [4, 8], "attention_heads": [1, 2]},
        "lstm": {"hidden_dim": [8, 16], "num_layers": 1, "attention_heads": [1, 2]},
        "fusion": {"dim": [8, 16], "attention_heads": [1, 2]},
        "training": {"batch_size": [16, 32], "learning_rate": [1e-3, 2e-2]},
    },
}


def loaders(*, signal: float, sizes=(80, 60, 40)) -> list[DataLoader]:
    """Two even classes, sorted; windows of the second have a bump at a random place."""
    found = []
    for split, size in enumerate(sizes):
        draw = torch.Generator().manual_seed(split)
        labels = (torch.arange(size) >= size // 2).long()
        x = torch.randn(size, 12, 2, generator=draw)
        x[torch.arange(size), torch.randint(12, (size,), generator=draw), 0] += signal * labels
        found.append(DataLoader(TensorDataset(x, labels, torch.rand(size, generator=draw)), batch_size=20))
    return found


def run(tmp_path, signal: float, *, horizon: int = 1, **given) -> dict[str, Any]:
    return run_cnn_lstm_hyperparameter_optimization(
        loaders(signal=signal),
        n_trials=3,
        top_k=1,
        full_epochs=2,
        save_dir=tmp_path / "results",
        config={**CONFIG, "data": {"horizon": horizon, "cv_folds": 1}},
        **given,
    )


@pytest.mark.slow
def test_labels_that_nothing_predicts_give_results_all_the_same(tmp_path, capsys, monkeypatch):
    """The front is marked, the model is retrained and tested, and no advice is about bars or the command line."""
    monkeypatch.setenv("CNN_LSTM_HYPEROPT__REPORT", "true")
    results = run(tmp_path, 0.0)
    out = capsys.readouterr()
    text = " ".join((out.out + out.err).split())
    assert str(tmp_path / "results" / "report.html") in text.replace(" ", "")
    assert {trial["above_chance"] for trial in results["best_trials"]} == {False}
    assert (tmp_path / "results" / "retrained_model_1" / "model.safetensors").is_file()
    verdict = results["verdict"]
    assert (verdict["grade"], verdict["skill"]) == ("no better than chance", False)
    assert (verdict["test_units"], verdict["test_dates"]) == ({"kind": "windows", "number": 40}, None)
    assert "--target" not in text
    assert " dates" not in verdict["sentence"]
    assert results["overfitting"]["pbo"]["value"] is None


@pytest.mark.parametrize(("name", "number", "horizon"), [("groups", 8, 12), ("dates", 40, 1)])
def test_groups_and_dates_reach_the_verdict(tmp_path, name, number, horizon):
    """A horizon as long as a window does not make the window before one whose label is known."""
    given = {name: (None, None, [place % number for place in range(40)])}
    results = run(tmp_path, 8.0, quiet=True, horizon=horizon, **given)
    assert "persistence" not in [each["name"] for each in results["baselines"]]
    verdict = results["verdict"]
    assert verdict["test_units"] == {"kind": name, "number": number}
    low, high = verdict["score_interval"]
    assert 0 <= low <= verdict["score"] <= high <= 1


def test_labels_that_come_in_groups_raise_the_skill_threshold(tmp_path):
    """All windows of a group have one label: ten windows have the information of one."""
    plain = CNNLSTMHyperparameterOptimizer(loaders(signal=8.0), config=CONFIG, save_dir=tmp_path / "a", quiet=True)
    groups = ([100 + place // 10 for place in range(80)], [place // 10 for place in range(60)], None)
    grouped = CNNLSTMHyperparameterOptimizer(
        loaders(signal=8.0), groups=groups, config=CONFIG, save_dir=tmp_path / "b", quiet=True
    )
    thresholds = []
    for optimizer in (plain, grouped):
        optimizer.optimize(n_trials=1)
        thresholds.append(optimizer.write_results()["skill_gate"])
        optimizer.close()
    assert thresholds[0]["overlap"] == 1
    assert thresholds[1]["overlap"] == pytest.approx(10)
    assert thresholds[1]["threshold"] > thresholds[0]["threshold"]
