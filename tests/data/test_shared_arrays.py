"""The file of trials' data: what is read is what was written, and the test period isn't in it."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import torch
from safetensors import safe_open

from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.data.shared_arrays import load_trial_data, save_trial_data
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


def folds() -> Dataset:
    """Three walk-forward folds, each scaled anew."""
    return prepare_dataset(DataSettings(symbols=("SYN3", "SYN1"), lookback=10, train_share=0.5, cv_folds=3))


def loaders(*, values: bool, **marks) -> Dataset:
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
        **marks,
    )


DATASETS = {
    "bars": bars,
    "folds": folds,
    "loaders with values": lambda: loaders(values=True),
    "loaders": lambda: loaders(values=False),
    "loaders with dates and groups": lambda: loaders(
        values=False,
        dates=(None, np.arange("2020-01-01", "2020-01-10", dtype="datetime64[D]"), None),
        groups=(np.arange(20) % 3, list("abcabcabc"), None),
    ),
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
    assert read.dated is written.dated
    assert (read.groups is None) == (written.groups is None)
    if read.groups is not None:
        assert read.groups.tolist() == written.groups.tolist()
    everything = torch.arange(len(written))
    assert read.series.dtype == written.series.dtype
    assert torch.equal(read.gather(everything), written.gather(everything))


def test_what_is_read_is_what_was_written_to_the_bit(dataset, path):
    written, read = dataset.for_trials(), load_trial_data(path)
    assert len(read.folds) == len(written.folds) == len(dataset.folds)
    for mine, theirs in zip(read.folds, written.folds, strict=True):
        assert_same(mine.train, theirs.train)
        assert_same(mine.validation, theirs.validation)
        for name in ("value_mean", "value_std"):
            assert getattr(mine, name) == getattr(theirs, name)
    for name in ("n_classes", "has_regression"):
        assert getattr(read, name) == getattr(written, name)
        assert type(getattr(read, name)) is type(getattr(written, name))


def test_the_file_holds_no_test_windows(dataset, path):
    """Only what training and validation windows need is named in it, for as many windows as there are."""
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        rows = {name: len(file.get_tensor(name)) for name in names if name.endswith(".starts")}
    fields = {"starts", "labels", "dates", "symbols", "values", "series", "groups"}
    parts = [f"{number}.{split}" for number in range(len(dataset.folds)) for split in ("train", "validation")]
    assert names <= {f"{part}.{field}" for part in parts for field in fields}
    last = len(dataset.folds) - 1
    assert rows[f"{last}.train.starts"] == len(dataset.search_train)
    assert rows[f"{last}.validation.starts"] == len(dataset.validation)


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
    for number, fold in enumerate(load_trial_data(path).folds):
        assert f"{number}.train.series" in names
        assert (f"{number}.validation.series" in names) is not shared
        assert (fold.train.series is fold.validation.series) is shared


def test_the_file_is_about_as_large_as_what_it_holds(dataset, path):
    trials = dataset.for_trials()
    parts = [windows for fold in trials.folds for windows in (fold.train, fold.validation)]
    series = {id(windows.series): windows.series.numel() * 4 for windows in parts}
    assert path.stat().st_size < sum(series.values()) + sum(map(len, parts)) * 36 + 3000 * len(trials.folds)


def test_nothing_is_left_beside_the_file_and_an_old_one_is_replaced(dataset, path):
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    trials = dataset.for_trials()
    save_trial_data(path, replace(trials, folds=(replace(trials.folds[0], value_mean=0.1 + 0.2), *trials.folds[1:])))
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert load_trial_data(path).folds[0].value_mean == 0.1 + 0.2
