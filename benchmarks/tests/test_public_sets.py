"""benchmarks/public_sets.py: reads archives, splits by class, lists what a run is missing, repeats no finished run."""

import json
import zipfile

import numpy as np
import pytest

import public_sets

HEADER = "#a comment: with a colon\n@problemName Toy\n@univariate true\n@classLabel true 1 2 10\n@data\n"


def series(labels, seed, length=30):
    """Lines of an archive's file: ramps whose slope follows the label, and noise."""
    rng = np.random.default_rng(seed)
    ramps = (float(label) * np.linspace(-1, 1, length) + 0.3 * rng.normal(size=length) for label in labels)
    lines = [",".join(f"{value:.4f}" for value in ramp) for ramp in ramps]
    return HEADER + "".join(f"{line}:{label}\n" for line, label in zip(lines, labels, strict=True))


def wheel(folder, **files):
    path = folder / "aeon-1.6.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"aeon/datasets/data/Toy/{name}.ts", text)
    return path


def test_series_are_read_with_their_channels_and_labels():
    windows, labels = public_sets.read_ts(HEADER + "1,2,3:4,5,6:up\n7,8,9:1,1,1:down\n")
    assert labels == ["up", "down"]
    assert windows[0].tolist() == [[1, 4], [2, 5], [3, 6]]


def test_classes_are_numbered_by_value(tmp_path):
    archive = wheel(tmp_path, Toy_TRAIN=series(["10", "2", "1"], 1), Toy_TEST=series(["2", "10"], 2))
    data = public_sets.read_set(archive, "Toy")
    assert (data.y.tolist(), data.test_y.tolist(), data.x.shape) == ([2, 1, 0], [1, 2], (3, 30, 1))


def test_series_of_unequal_lengths_are_read_from_the_padded_version(tmp_path):
    lengths = {"Toy_TRAIN": 30, "Toy_TEST": 20, "Toy_eq_TRAIN": 40, "Toy_eq_TEST": 40}
    archive = wheel(tmp_path, **{name: series(["1", "2"], 1, length) for name, length in lengths.items()})
    data = public_sets.read_set(archive, "Toy")
    assert data.x.shape == data.test_x.shape == (2, 40, 1)


@pytest.mark.parametrize("members", [2, 5, 25])
def test_each_class_is_in_both_loaders_and_each_window_in_one(members):
    y = np.repeat(np.arange(3), members)
    data = public_sets.PublicSet("toy", np.zeros((len(y), 9, 1), np.float32), y, np.zeros((1, 9, 1), np.float32), y[:1])
    train, validation = public_sets.divided(data, 0)
    assert sorted([*train, *validation]) == list(range(len(y)))
    assert set(y[train]) == set(y[validation]) == {0, 1, 2}


def test_missing_parts_of_a_run_are_listed(tmp_path):
    results = {"verdict": None, "best_trials": [{}], "retrained_models": [], "baselines": [], "n_trials_completed": 3}
    missing = public_sets.missing_in(results, tmp_path)
    assert len(missing) == 8
    assert {"verdict.grade", "report.html", "results.json: baselines"} <= set(missing)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of MLflow's own libraries
def test_a_small_run_is_complete_and_is_not_repeated(tmp_path, monkeypatch, capsys):
    for name in ("CNN_LSTM_HYPEROPT__MLFLOW__ENABLED", "CNN_LSTM_HYPEROPT__REPORT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)  # MLflow sets the last one itself
    small = {"training": {"max_epochs": 5}, "retrain": {"top_k": 1, "confirm_seeds": 1, "seeds": 1, "full_epochs": 5}}
    monkeypatch.setattr(public_sets, "PROFILE", {**public_sets.PROFILE, **small})
    labels = ["1", "2", "10"] * 12
    wheel(tmp_path, Toy_TRAIN=series(labels, 1), Toy_TEST=series(labels, 2))
    command = ["--sets", "Toy", "--seeds", "0", "--trials", "6", "--folder", str(tmp_path)]
    results = tmp_path / "Toy_0" / "results.json"
    assert public_sets.main(command) == 0
    assert "| Toy | 36 / 36, 3 classes, 30 steps | " in capsys.readouterr().out
    assert public_sets.missing_in(json.loads(results.read_text()), results.parent) == []
    before = results.read_bytes()
    assert public_sets.main(command) == 0
    assert results.read_bytes() == before
