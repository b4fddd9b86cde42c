"""The file of trials' data: what is read is what was written, and the test period isn't in it."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import torch
from safetensors import safe_open

from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import Dataset, TrialData, prepare_dataset
from cnn_lstm_hyperopt.data.shared_arrays import load_trial_data, save_trial_data
from cnn_lstm_hyperopt.data.windows import Windows


def bars(**changed) -> Dataset:
    """Two symbols, not in alphabetical order."""
    return prepare_dataset(DataSettings(symbols=("SYN3", "SYN1"), lookback=10, train_share=0.5, **changed))


def loaders(*, values: bool, train_share: float = 0.5, **marks) -> Dataset:
    rng = np.random.default_rng(0)
    splits = []
    for windows in (20, 9, 7):
        x = torch.from_numpy(rng.normal(size=(windows, 5, 3)).astype(np.float32))
        value = [torch.from_numpy(rng.normal(size=windows).astype(np.float32))] if values else []
        splits.append([(x, torch.arange(windows) % 3, *value)])
    return dataset_from_loaders(splits, None, train_share=train_share, **marks)


DATASETS = {
    "bars": lambda: bars(start=date(2000, 1, 3), end=date(2001, 6, 30)),
    "folds": lambda: bars(cv_folds=3),
    "folds of loaders": lambda: loaders(values=True, train_share=1.0, cv_folds=3),
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
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        rows = {name: len(file.get_tensor(name)) for name in names if name.endswith(".starts")}
    fields = {"starts", "labels", "dates", "symbols", "values", "series", "groups"}
    parts = [f"{number}.{split}" for number in range(len(dataset.folds)) for split in ("train", "validation")]
    assert names <= {f"{part}.{field}" for part in parts for field in fields}
    for number, fold in enumerate(dataset.for_trials().folds):
        assert rows[f"{number}.train.starts"] == len(fold.train)
        assert rows[f"{number}.validation.starts"] == len(fold.validation)


def test_the_file_holds_no_row_that_only_test_windows_read(dataset, path):
    test = dataset.test.open()
    last_rows = test.series[test.starts + test.lookback - 1]
    with safe_open(path, framework="pt") as file:
        held = torch.cat([file.get_tensor(name) for name in file.keys() if name.endswith("series")])  # noqa: SIM118
    for row in last_rows[-3:]:
        assert not bool((held == row).all(dim=1).any())


def owners(data: TrialData) -> list[int]:
    """For each part the first part that has the same series."""
    series = [id(part.series) for fold in data.folds for part in (fold.train, fold.validation)]
    return [series.index(each) for each in series]


def test_a_series_that_parts_share_is_stored_once_and_shared_again(dataset, path):
    expected = owners(dataset.for_trials())
    assert owners(load_trial_data(path)) == expected
    with safe_open(path, framework="pt") as file:
        assert sum(name.endswith(".series") for name in file.keys()) == len(set(expected))  # noqa: SIM118


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
