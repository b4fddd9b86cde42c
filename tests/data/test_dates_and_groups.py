"""Dates and groups beside DataLoaders: they follow their windows, and wrong ones are refused in one line."""

import datetime
import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, run_cnn_lstm_hyperparameter_optimization
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.errors import ConfigError, DataError, InputError, SaveDirError

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


def positions(windows) -> np.ndarray:
    return windows.gather(torch.arange(len(windows)))[:, 0, 0].long().numpy()


def refused(line: str, **given) -> None:
    with pytest.raises(DataError) as caught:
        dataset_from_loaders(three(), None, **given)
    assert str(caught.value) == line


class TestWindowsCarryThem:
    def test_without_any(self):
        dataset = dataset_from_loaders(three(), None)
        for windows in (dataset.train, dataset.validation, dataset.test.open()):
            assert not windows.dated
            assert windows.groups is None

    def test_each_window_keeps_its_own(self):
        dataset = dataset_from_loaders(three(), None, dates=DAYS, groups=GROUPS)
        for split, windows in enumerate((dataset.train, dataset.validation, dataset.test.open())):
            there = positions(windows)
            assert windows.dated
            assert windows.dates.dtype == "datetime64[ns]"
            assert (windows.dates == DAYS[split].to_numpy()[there]).all()
            assert windows.groups.tolist() == [number % 4 for number in there]

    def test_a_part_of_them_keeps_its_own(self):
        train = dataset_from_loaders(three(), None, dates=DAYS, groups=GROUPS).train
        part = train.subset(np.array([5, 2, 9]))
        assert (part.dates == train.dates[[5, 2, 9]]).all()
        assert part.groups.tolist() == train.groups[[5, 2, 9]].tolist()
        assert part.dated

    def test_a_split_may_have_none(self):
        dataset = dataset_from_loaders(three(), None, dates=(None, None, DAYS[2]), groups=(None, GROUPS[1], None))
        test = dataset.test.open()
        assert (dataset.train.dated, dataset.validation.dated, test.dated) == (False, False, True)
        assert (dataset.train.groups, test.groups) == (None, None)
        assert dataset.validation.groups is not None

    def test_the_same_group_has_the_same_number_in_all_splits(self):
        groups = (["b"] * 24, ["a"] * 12, ["b", "c", "a"] * 3)
        dataset = dataset_from_loaders(three(), None, groups=groups)
        assert dataset.test.open().groups[0] == dataset.train.groups[0]
        assert dataset.test.open().groups[2] == dataset.validation.groups[0]

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
    def test_dates_of_many_kinds(self, kind):
        test = dataset_from_loaders(three(), None, dates=(None, None, kind(DAYS[2]))).test.open()
        assert (test.dates == DAYS[2].to_numpy().astype("datetime64[ns]")).all()

    def test_dates_may_be_numbers_that_grow_with_time(self):
        test = dataset_from_loaders(three(), None, dates=(None, None, torch.arange(100, 109))).test.open()
        assert test.dated
        assert test.dates.tolist() == list(range(100, 109))

    def test_data_json_counts_them(self):
        splits = dataset_from_loaders(three(), None, dates=DAYS, groups=GROUPS).description["splits"]
        assert splits["test"] == {
            "windows": 9,
            "class_counts": [5, 4],
            "class_shares": [5 / 9, 4 / 9],
            "first": "2020-01-01",
            "last": "2020-01-09",
            "groups": 4,
        }

    def test_a_group_that_is_trained_on_and_tested_is_a_warning(self):
        groups = (["a"] * 24, ["b", "e"] * 6, ["a", "c", "d"] * 3)
        warnings = dataset_from_loaders(three(), None, groups=groups).warnings
        assert warnings == (
            "1 of the test loader's 3 groups are in the train loader too: scores may not hold for new groups; keep each group in"
            " one loader to judge that",
        )


class TestTheyBelongToTheData:
    def test_they_change_what_the_data_is(self):
        plain = dataset_from_loaders(three(), None).description["sha256"]
        dated = dataset_from_loaders(three(), None, dates=DAYS).description["sha256"]
        grouped = dataset_from_loaders(three(), None, groups=GROUPS).description["sha256"]
        turned = dataset_from_loaders(three(), None, groups=[part[::-1] for part in GROUPS]).description["sha256"]
        assert len({plain, dated, grouped, turned}) == 4
        assert dated == dataset_from_loaders(three(), None, dates=DAYS).description["sha256"]

    def test_a_study_goes_on_with_the_same_only(self, tmp_path, tiny):
        config = {name: part for name, part in tiny.items() if name != "data"}
        given = {"config": config, "save_dir": tmp_path / "study", "quiet": True}
        with CNNLSTMHyperparameterOptimizer(three(), groups=GROUPS, **given) as optimizer:
            optimizer.optimize(n_trials=2)
        with (
            CNNLSTMHyperparameterOptimizer(three(), **given, resume=True) as optimizer,
            pytest.raises(SaveDirError, match=re.escape("data.sha256")),
        ):
            optimizer.optimize(n_trials=3)
        with CNNLSTMHyperparameterOptimizer(three(), groups=GROUPS, **given, resume=True) as optimizer:
            assert optimizer.optimize(n_trials=3)["n_trials_completed"] == 3


class TestWrongOnes:
    @pytest.mark.parametrize("name", ["dates", "groups"])
    def test_too_few_entries(self, name):
        refused(
            f"{name} of the test loader must have one entry per window, 9, but have 8",
            **{name: (None, None, list(range(8)))},
        )

    @pytest.mark.parametrize("name", ["dates", "groups"])
    @pytest.mark.parametrize(
        ("given", "end"), [("abc", "but is 'abc'"), (5, "but is 5"), ([[1]] * 2, "but has 2 parts")]
    )
    def test_not_three(self, name, given, end):
        rule = f"{name} must be (train, validation, test), each a sequence with one entry per window or None, "
        refused(rule + end, **{name: given})

    @pytest.mark.parametrize("name", ["dates", "groups"])
    def test_a_loader_that_shuffles(self, name):
        given = {name: (list(range(24)), None, None)}
        with pytest.raises(DataError) as caught:
            dataset_from_loaders(three(shuffle=(True, False, False)), None, **given)
        assert str(caught.value) == (
            f"{name} of the train loader need its order, but it shuffles; give the loader shuffle=False (the search shuffles"
            f" training windows itself), or give None as its {name}"
        )
        shuffled = three(shuffle=(True, False, False))
        assert dataset_from_loaders(shuffled, None, **{name: (None, list(range(12)), None)}).train.groups is None

    @pytest.mark.parametrize(
        ("name", "entry", "line"),
        [
            ("dates", None, "dates of the test loader must not have missing values, but entry 4 is None"),
            ("dates", pd.NaT, "dates of the test loader must not have missing values, but entry 4 is NaT"),
            ("groups", None, "groups of the test loader must not have missing values, but entry 4 is None"),
            ("groups", 1.5, "groups of the test loader must be text or whole numbers, but hold 1.5"),
        ],
    )
    def test_an_entry_that_is_missing_or_something_else(self, name, entry, line):
        usual = list(DAYS[2]) if name == "dates" else GROUPS[2]
        part = np.empty(9, dtype=object)
        part[:] = [*usual[:4], entry, *usual[5:]]
        refused(line, **{name: (None, None, part)})

    @pytest.mark.parametrize("part", [np.ones(9), ["yesterday"] * 9, [True] * 9, [{}] * 9, [[1, 2]] * 9, 7])
    def test_no_dates(self, part):
        with pytest.raises(DataError, match=r"^dates of the test loader must be [^\n]+$"):
            dataset_from_loaders(three(), None, dates=(None, None, part))

    def test_dates_of_two_kinds(self):
        line = "dates must be datetimes for all loaders or whole numbers for all, but are both; give one kind"
        refused(line, dates=(None, DAYS[1], list(range(9))))

    @pytest.mark.parametrize("name", ["dates", "groups"])
    @pytest.mark.parametrize("call", [CNNLSTMHyperparameterOptimizer, run_cnn_lstm_hyperparameter_optimization])
    def test_bars_have_dates_of_their_own(self, call, name, tmp_path):
        with pytest.raises(ConfigError, match=f"^{name} must come with data_loaders, ") as caught:
            call(save_dir=tmp_path / "study", quiet=True, **{name: [[1], [2], [3]]})
        assert isinstance(caught.value, InputError)
        assert not (tmp_path / "study").exists()
