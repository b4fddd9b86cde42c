"""benchmarks/public_sets.py: archives are read, both loaders have all classes, what a run lacks is named, a run is complete."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HEADER = "#a comment: with a colon\n@problemName Toy\n@univariate true\n@classLabel true 1 2 10\n@data\n"


@pytest.fixture(scope="module")
def module(imported: Any) -> Any:
    return imported("public_sets")


def series(labels: list[str], seed: int, length: int = 30) -> str:
    """Lines of an archive's file: ramps whose slope follows the label, and noise."""
    rng = np.random.default_rng(seed)
    lines = []
    for label in labels:
        values = float(label) * np.linspace(-1, 1, length) + 0.3 * rng.normal(size=length)
        lines.append(",".join(f"{value:.4f}" for value in values) + f":{label}")
    return HEADER + "\n".join(lines) + "\n"


def wheel(folder: Path, **files: str) -> Path:
    path = folder / "aeon-1.6.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"aeon/datasets/data/Toy/{name}.ts", text)
    return path


def test_series_are_read_with_their_channels_and_labels(module):
    windows, labels = module.read_ts(HEADER + "1,2,3:4,5,6:up\n7,8,9:1,1,1:down\n")
    assert labels == ["up", "down"]
    assert windows[0].tolist() == [[1, 4], [2, 5], [3, 6]]


def test_classes_are_numbered_in_the_order_of_their_numbers(module, tmp_path):
    data = module.read_set(
        wheel(tmp_path, Toy_TRAIN=series(["10", "2", "1"], 1), Toy_TEST=series(["2", "10"], 2)), "Toy"
    )
    assert (data.y.tolist(), data.test_y.tolist()) == ([2, 1, 0], [1, 2])
    assert data.x.shape == (3, 30, 1)


def test_of_series_of_unequal_lengths_the_padded_version_is_read(module, tmp_path):
    given = wheel(
        tmp_path,
        Toy_TRAIN=series(["1", "2"], 1),
        Toy_TEST=series(["1", "2"], 2, length=20),
        Toy_eq_TRAIN=series(["1", "2"], 1, length=40),
        Toy_eq_TEST=series(["1", "2"], 2, length=40),
    )
    data = module.read_set(given, "Toy")
    assert (data.x.shape, data.test_x.shape) == ((2, 40, 1), (2, 40, 1))


@pytest.mark.parametrize("members", [2, 5, 25])
def test_each_class_is_in_both_loaders_and_each_window_in_one(module, members):
    y = np.repeat(np.arange(3), members)
    data = module.PublicSet("toy", np.zeros((len(y), 9, 1), np.float32), y, np.zeros((1, 9, 1), np.float32), y[:1])
    train, validation = module.divided(data, 0)
    assert sorted([*train, *validation]) == list(range(len(y)))
    assert set(y[train]) == set(y[validation]) == {0, 1, 2}


def test_what_an_incomplete_run_lacks_is_named(module, tmp_path):
    results = {"verdict": None, "best_trials": [{}], "retrained_models": [], "baselines": [], "n_trials_completed": 3}
    assert module.missing_in(results, tmp_path) == [
        "verdict.sentence",
        "verdict.grade",
        "verdict.comparisons",
        "results.json: retrained_models",
        "results.json: baselines",
        "MiniRocket among the baselines",
        "report.html",
        "MLflow runs: 0 of at least 3",
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of MLflow's own libraries, which the benchmark asks
def test_a_small_run_is_complete_and_prints_its_row(module, tmp_path, monkeypatch, capsys):
    for name in ("CNN_LSTM_HYPEROPT__MLFLOW__ENABLED", "CNN_LSTM_HYPEROPT__REPORT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)  # MLflow sets its own, and other tests ask it
    small = {"training": {"max_epochs": 5}, "retrain": {"top_k": 1, "confirm_seeds": 1, "seeds": 1, "full_epochs": 5}}
    monkeypatch.setattr(module, "PROFILE", {**module.PROFILE, **small})
    labels = ["1", "2", "10"] * 12
    wheel(tmp_path, Toy_TRAIN=series(labels, 1), Toy_TEST=series(labels, 2))
    asked = ["--sets", "Toy", "--seeds", "0", "--trials", "6", "--folder", str(tmp_path)]
    assert module.main(asked) == 0
    first = capsys.readouterr().out
    assert "| Toy | 36 / 36, 3 classes, 30 steps | " in first
    assert "Each run has its report, its MLflow runs and its verdict." in first
    before = json.loads((tmp_path / "Toy_0" / "results.json").read_text())["timestamp"]
    assert module.main(asked) == 0  # a finished run is not repeated
    assert json.loads((tmp_path / "Toy_0" / "results.json").read_text())["timestamp"] == before
