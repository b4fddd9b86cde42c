"""Dates and groups beside DataLoaders: they follow their windows, and wrong ones are refused."""

import datetime
import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, run_cnn_lstm_hyperparameter_optimization
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.errors import ConfigError, DataError, SaveDirError

SIZES = (24, 12, 9)
DAYS = [pd.date_range("2020-01-01", periods=size) for size in SIZES]
GROUPS = [[f"patient {number % 4}" for number in range(size)] for size in SIZES]


def three(*, shuffle=(False, False, False)) -> list[DataLoader]:
    """Windows whose first number is their position in the loader's order."""
    loaders = []
    for size, shuffled in zip(SIZES, shuffle, strict=True):
        x = torch.rand(size, 5, 3, generator=torch.Generator().manual_seed(size))
        x[:, 0, 0] = torch.arange(size)
        loaders.append(DataLoader(TensorDataset(x, torch.arange(size) % 2), batch_size=5, shuffle=shuffled))
    return loaders


def dataset_of(**marks):
    return dataset_from_loaders(three(), None, **marks)


def splits_of(dataset) -> tuple:
    return dataset.train, dataset.validation, dataset.test.open()


def refused(field: str, code: str, loaders=None, **marks) -> None:
    with pytest.raises(DataError) as caught:
        dataset_from_loaders(loaders or three(), None, **marks)
    assert (caught.value.field, caught.value.code) == (field, code)
    assert len(str(caught.value).splitlines()) == 1


def test_windows_without_any():
    assert all(not windows.dated and windows.groups is None for windows in splits_of(dataset_of()))


def test_each_window_keeps_its_own():
    dataset = dataset_of(dates=DAYS, groups=GROUPS)
    for split, windows in enumerate(splits_of(dataset)):
        position = windows.gather(torch.arange(len(windows)))[:, 0, 0].long().numpy()
        assert windows.dated
        assert windows.dates.dtype == "datetime64[ns]"
        assert (windows.dates == DAYS[split].to_numpy()[position]).all()
        assert windows.groups.tolist() == [number % 4 for number in position]
    train = dataset.train
    part = train.subset(np.array([5, 2, 9]))
    assert (part.dates == train.dates[[5, 2, 9]]).all()
    assert part.groups.tolist() == train.groups[[5, 2, 9]].tolist()
    assert part.dated


def test_a_split_may_have_none():
    train, validation, test = splits_of(dataset_of(dates=(None, None, DAYS[2]), groups=(None, GROUPS[1], None)))
    assert (train.dated, validation.dated, test.dated) == (False, False, True)
    assert (train.groups, test.groups) == (None, None)
    assert validation.groups is not None


def test_the_same_group_has_the_same_number_in_all_splits():
    train, validation, test = splits_of(dataset_of(groups=(["b"] * 24, ["a"] * 12, ["b", "c", "a"] * 3)))
    assert (test.groups[0], test.groups[2]) == (train.groups[0], validation.groups[0])


@pytest.mark.parametrize(
    "kind",
    [
        list,
        lambda days: [day.isoformat() for day in days],
        lambda days: [day.date() for day in days],
        lambda days: days.tz_localize("UTC"),
        lambda days: pd.Series(days),
        lambda days: days.to_numpy().astype("datetime64[s]"),
        lambda days: [day.to_pydatetime().replace(tzinfo=datetime.UTC) for day in days],
    ],
)
def test_dates_of_many_kinds(kind):
    test = dataset_of(dates=(None, None, kind(DAYS[2]))).test.open()
    assert (test.dates == DAYS[2].to_numpy().astype("datetime64[ns]")).all()


def test_dates_may_be_numbers_that_grow_with_time():
    test = dataset_of(dates=(None, None, torch.arange(100, 109))).test.open()
    assert test.dated
    assert test.dates.tolist() == list(range(100, 109))


def test_data_json_counts_them():
    test = dataset_of(dates=DAYS, groups=GROUPS).description["splits"]["test"]
    balance = {"class_counts": [5, 4], "class_shares": [5 / 9, 4 / 9]}
    assert test == {"windows": 9, **balance, "first": "2020-01-01", "last": "2020-01-09", "groups": 4}


def test_a_group_in_training_and_test_is_a_warning():
    (line,) = dataset_of(groups=(["a"] * 24, ["b", "e"] * 6, ["a", "c", "d"] * 3)).warnings
    assert re.findall(r"\d+", line) == ["1", "3"]
    assert "test" in line


def test_they_change_the_sha256():
    marks = ({}, {"dates": DAYS}, {"groups": GROUPS}, {"groups": [part[::-1] for part in GROUPS]}, {"dates": DAYS})
    found = [dataset_of(**each).description["sha256"] for each in marks]
    assert len(set(found)) == 4
    assert found[1] == found[4]


def test_a_study_resumes_with_the_same_only(tmp_path, tiny):
    config = {name: part for name, part in tiny.items() if name != "data"}
    given = {"config": config, "save_dir": tmp_path / "study", "quiet": True}
    with CNNLSTMHyperparameterOptimizer(three(), groups=GROUPS, **given) as optimizer:
        optimizer.optimize(n_trials=2)
    with CNNLSTMHyperparameterOptimizer(three(), **given, resume=True) as optimizer, pytest.raises(SaveDirError):
        optimizer.optimize(n_trials=3)
    with CNNLSTMHyperparameterOptimizer(three(), groups=GROUPS, **given, resume=True) as optimizer:
        assert optimizer.optimize(n_trials=3)["n_trials_completed"] == 3


@pytest.mark.parametrize("name", ["dates", "groups"])
def test_wrong_ones_are_refused(name):
    refused(f"{name}.test", "not-one-per-window", **{name: (None, None, list(range(8)))})
    for wrong in ("abc", 5, [[1]] * 2):
        refused(name, "not-three-sequences", **{name: wrong})
    shuffled = three(shuffle=(True, False, False))
    refused(f"{name}.train", "loader-shuffles", shuffled, **{name: (list(range(24)), None, None)})
    assert dataset_from_loaders(shuffled, None, **{name: (None, list(range(12)), None)}).train.groups is None


@pytest.mark.parametrize(
    ("name", "entry", "code"),
    [
        ("dates", None, "missing-entry"),
        ("dates", pd.NaT, "missing-entry"),
        ("groups", None, "missing-entry"),
        ("groups", 1.5, "not-groups"),
    ],
)
def test_an_entry_that_is_missing_or_something_else(name, entry, code):
    usual = list(DAYS[2]) if name == "dates" else GROUPS[2]
    part = np.empty(9, dtype=object)
    part[:] = [*usual[:4], entry, *usual[5:]]
    refused(f"{name}.test", code, **{name: (None, None, part)})


@pytest.mark.parametrize(
    ("part", "code"),
    [
        *((part, "not-dates") for part in (np.ones(9), ["yesterday"] * 9, [True] * 9, [{}] * 9)),
        *((part, "not-a-sequence") for part in ([[1, 2]] * 9, 7)),
    ],
)
def test_no_dates(part, code):
    refused("dates.test", code, dates=(None, None, part))


def test_dates_of_two_kinds():
    refused("dates", "dates-of-two-kinds", dates=(None, DAYS[1], list(range(9))))


@pytest.mark.parametrize("name", ["dates", "groups"])
@pytest.mark.parametrize("call", [CNNLSTMHyperparameterOptimizer, run_cnn_lstm_hyperparameter_optimization])
def test_bars_have_dates_of_their_own(call, name, tmp_path):
    with pytest.raises(ConfigError):
        call(save_dir=tmp_path / "study", quiet=True, **{name: [[1], [2], [3]]})
    assert not (tmp_path / "study").exists()
