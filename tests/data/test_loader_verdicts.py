"""Whole runs on DataLoaders: groups and dates in the verdict and in the skill threshold."""

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from builders.loaders import loader
from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, run_cnn_lstm_hyperparameter_optimization


def loaders() -> list[DataLoader]:
    """Two even classes, sorted; windows of the second have a bump at a random place."""
    found = []
    for split, size in enumerate((80, 60, 40)):
        draw = torch.Generator().manual_seed(split)
        labels = (torch.arange(size) >= size // 2).long()
        x = torch.randn(size, 12, 2, generator=draw)
        x[torch.arange(size), torch.randint(12, (size,), generator=draw), 0] += 8 * labels
        found.append(loader((x, labels, torch.rand(size, generator=draw)), batch_size=20))
    return found


@pytest.fixture
def config(tiny) -> dict[str, Any]:
    space = {**tiny["search_space"], "training": {"batch_size": [16, 32], "learning_rate": [1e-3, 2e-2]}}
    kinds = {"sampler": {"type": "random"}, "pruner": {"type": "none"}, "retrain": {"confirm_seeds": 1, "seeds": 1}}
    return {"study": {"portfolio": False}, "training": {"max_epochs": 2}, "search_space": space, **kinds}


@pytest.mark.parametrize(("name", "number", "horizon"), [("groups", 8, 12), ("dates", 40, 1), ("windows", 40, 1)])
def test_groups_and_dates_reach_the_verdict(config, tmp_path, name, number, horizon):
    """A horizon as long as a window does not make the window before one whose label is known."""
    given = {} if name == "windows" else {name: (None, None, [place % number for place in range(40)])}
    given |= {"config": {**config, "data": {"horizon": horizon, "cv_folds": 1}}, "save_dir": tmp_path / "results"}
    run = {"n_trials": 3, "top_k": 1, "full_epochs": 2, "quiet": True, **given}
    results = run_cnn_lstm_hyperparameter_optimization(loaders(), **run)
    assert "persistence" not in [each["name"] for each in results["baselines"]]
    verdict = results["verdict"]
    assert verdict["test_units"] == {"kind": name, "number": number}
    low, high = verdict["score_interval"]
    assert 0 <= low <= verdict["score"] <= high <= 1


def test_labels_that_come_in_groups_raise_the_skill_threshold(config, tmp_path):
    """All windows of a group have one label: ten windows have the information of one."""
    groups = [100 + place // 10 for place in range(80)], [place // 10 for place in range(60)], None
    thresholds = []
    for name, given in (("a", {}), ("b", {"groups": groups})):
        given |= {"config": config, "save_dir": tmp_path / name, "quiet": True}
        with CNNLSTMHyperparameterOptimizer(loaders(), **given) as optimizer:
            optimizer.optimize(n_trials=1)
            thresholds.append(optimizer.write_results()["skill_gate"])
    assert [each["overlap"] for each in thresholds] == [1, pytest.approx(10)]
    assert thresholds[1]["threshold"] > thresholds[0]["threshold"]
