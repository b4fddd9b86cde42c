"""The file of trials' data: what is read is what was written, and the test period isn't in it."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import torch
from safetensors import safe_open

from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.data.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.store import load_trial_data, save_trial_data
from cnn_lstm_hyperopt.data.windows import Windows


def bars() -> Dataset:
    """Two symbols, named in an order that isn't the alphabet's."""
    return prepare_dataset(
        DataSettings(
            source="synthetic",
            symbols=("SYN3", "SYN1"),
            start=date(2000, 1, 3),
            end=date(2001, 6, 30),
            lookback=10,
            train_share=0.5,
        )
    )


def loaders(*, values: bool) -> Dataset:
    rng = np.random.default_rng(0)
    return dataset_from_loaders(
        [
            [
                (
                    torch.from_numpy(rng.normal(size=(windows, 5, 3)).astype(np.float32)),
                    torch.arange(windows) % 3,
                    *([torch.from_numpy(rng.normal(size=windows).astype(np.float32))] if values else []),
                )
            ]
            for windows in (20, 9, 7)
        ],
        None,
        train_share=0.5,
    )


DATASETS = {
    "bars": bars,
    "loaders with values": lambda: loaders(values=True),
    "loaders": lambda: loaders(values=False),
}


@pytest.fixture(params=DATASETS)
def dataset(request) -> Dataset:
    return DATASETS[request.param]()


@pytest.fixture
def path(dataset, tmp_path):
    save_trial_data(tmp_path / "data.safetensors", dataset.for_trials())
    return tmp_path / "data.safetensors"


def assert_same(read: Windows, written: Windows) -> None:
    for name in ("labels", "values"):
        mine, theirs = getattr(read, name), getattr(written, name)
        if theirs is None:
            assert mine is None
        else:
            assert mine.dtype == theirs.dtype
            assert torch.equal(mine, theirs)
    assert read.lookback == written.lookback
    assert read.dates.dtype == written.dates.dtype
    assert np.array_equal(read.dates, written.dates)
    assert read.symbols.tolist() == written.symbols.tolist()
    everything = torch.arange(len(written))
    assert read.series.dtype == written.series.dtype
    assert torch.equal(read.gather(everything), written.gather(everything))


def test_what_is_read_is_what_was_written_to_the_bit(dataset, path):
    written, read = dataset.for_trials(), load_trial_data(path)
    assert_same(read.folds[0].train, written.folds[0].train)
    assert_same(read.folds[0].validation, written.folds[0].validation)
    for name in ("n_classes", "has_regression"):
        assert getattr(read, name) == getattr(written, name)
        assert type(getattr(read, name)) is type(getattr(written, name))
    for name in ("value_mean", "value_std"):
        assert getattr(read.folds[0], name) == getattr(written.folds[0], name)


def test_the_file_holds_no_test_windows(dataset, path):
    """Only what training and validation windows need is named in it, for as many windows as there are."""
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        rows = [file.get_tensor(f"0.{split}.starts") for split in ("train", "validation")]
    fields = {"starts", "labels", "dates", "symbols", "values", "series"}
    assert names <= {f"0.{split}.{field}" for split in ("train", "validation") for field in fields}
    assert len(rows[0]) == len(dataset.search_train)
    assert len(rows[1]) == len(dataset.validation)


def test_the_file_holds_no_row_that_only_test_windows_read(dataset, path):
    """Nobody who has the file can look at the test period."""
    test = dataset.test.open()
    last_rows = test.series[test.starts + test.lookback - 1]
    with safe_open(path, framework="pt") as file:
        held = torch.cat([file.get_tensor(name) for name in file.keys() if name.endswith("series")])  # noqa: SIM118
    for row in last_rows[-3:]:
        assert not bool((held == row).all(dim=1).any())


def test_a_series_that_splits_share_is_stored_once_and_shared_again(dataset, path):
    shared = dataset.validation.series is dataset.search_train.series
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
    assert "0.train.series" in names
    assert ("0.validation.series" in names) is not shared
    read = load_trial_data(path)
    assert (read.folds[0].train.series is read.folds[0].validation.series) is shared


def test_the_file_is_about_as_large_as_what_it_holds(dataset, path):
    trials = dataset.for_trials()
    series = {id(w.series): w.series.numel() * 4 for w in (trials.folds[0].train, trials.folds[0].validation)}
    windows = len(trials.folds[0].train) + len(trials.folds[0].validation)
    assert path.stat().st_size < sum(series.values()) + windows * 36 + 3000


def test_nothing_is_left_beside_the_file_and_an_old_one_is_replaced(dataset, path):
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    trials = dataset.for_trials()
    save_trial_data(path, replace(trials, folds=(replace(trials.folds[0], value_mean=0.1 + 0.2),)))
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert load_trial_data(path).folds[0].value_mean == 0.1 + 0.2
