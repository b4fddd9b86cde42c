"""The file of trials' data: what is read is what was written, and the test period isn't in it."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import torch
from safetensors import safe_open

from builders.loaders import parts
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.data.shared_arrays import load_trial_data, save_trial_data
from cnn_lstm_hyperopt.data.trial_data import TrialData
from cnn_lstm_hyperopt.data.windows import Windows


def bars(**changed) -> Dataset:
    """Two symbols, not in alphabetical order."""
    data = DataSettings(symbols=("SYN3", "SYN1"), lookback=10, train_share=0.5, **changed)
    return prepare_dataset(data, groups=("volume_ratios", "market"))


def loaders(*, values: bool, train_share: float = 0.5, **marks) -> Dataset:
    splits = [[parts(windows, seed, values=values)] for seed, windows in enumerate((20, 9, 7))]
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
    every = torch.arange(len(written))
    columns = [(w.labels, w.values, w.dates, w.symbols, w.groups, w.gather(every)) for w in (read, written)]
    for mine, theirs in zip(*columns, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert mine.dtype == theirs.dtype or mine is read.symbols
            assert np.array_equal(mine, theirs)
    assert (read.lookback, read.dated, read.series.dtype) == (written.lookback, written.dated, written.series.dtype)


def test_what_is_read_is_what_was_written_to_the_bit(dataset, path):
    written, read = dataset.for_trials(), load_trial_data(path)
    assert len(read.folds) == len(written.folds) == len(dataset.folds)
    for mine, theirs in zip(read.folds, written.folds, strict=True):
        assert_same(mine.train, theirs.train)
        assert_same(mine.validation, theirs.validation)
        assert (mine.value_mean, mine.value_std) == (theirs.value_mean, theirs.value_std)
    assert (read.n_classes, read.has_regression) == (written.n_classes, written.has_regression)
    assert read.columns == written.columns
    assert (type(read.n_classes), type(read.has_regression)) == (int, bool)


def owners(data: TrialData) -> list[int]:
    """For each part the first part that has the same series."""
    series = [id(part.series) for fold in data.folds for part in (fold.train, fold.validation)]
    return [series.index(each) for each in series]


def test_the_file_holds_each_series_once_and_nothing_of_the_test_period(dataset, path):
    trials, test = dataset.for_trials(), dataset.test.open()
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    fields = {"starts", "labels", "dates", "symbols", "values", "series", "groups"}
    parts = {
        f"{n}.{part}": getattr(fold, part) for n, fold in enumerate(trials.folds) for part in ("train", "validation")
    }
    assert tensors.keys() <= {f"{part}.{field}" for part in parts for field in fields}
    assert all(len(tensors[f"{name}.starts"]) == len(part) for name, part in parts.items())
    series = [each for name, each in tensors.items() if name.endswith(".series")]
    for row in test.series[test.starts + test.lookback - 1][-3:]:
        assert not bool((torch.cat(series) == row).all(dim=1).any())
    assert len(series) == len(set(owners(trials)))
    assert owners(load_trial_data(path)) == owners(trials)
    needed = sum({id(part.series): part.series.numel() * 4 for part in parts.values()}.values())
    assert path.stat().st_size < needed + sum(map(len, parts.values())) * 36 + 3000 * len(trials.folds)


def test_nothing_is_left_beside_the_file_and_an_old_one_is_replaced(dataset, path):
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    trials = dataset.for_trials()
    save_trial_data(path, replace(trials, folds=(replace(trials.folds[0], value_mean=0.1 + 0.2), *trials.folds[1:])))
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert load_trial_data(path).folds[0].value_mean == 0.1 + 0.2
