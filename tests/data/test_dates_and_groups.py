"""Dates and groups beside DataLoaders: they follow their windows to the verdict, and wrong ones are refused."""

import datetime
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from builders.errors import raises
from builders.loaders import SIZES, loader, parts
from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, run_cnn_lstm_hyperparameter_optimization
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.errors import ConfigError, DataError, SaveDirError

DAYS = [pd.date_range("2020-01-01", periods=size) for size in SIZES]
GROUPS = [[f"patient {number % 4}" for number in range(size)] for size in SIZES]


def three(*, shuffle=(False, False, False)) -> list[DataLoader]:
    """Windows whose first number is their position in the loader's order."""
    found = []
    for size, shuffled in zip(SIZES, shuffle, strict=True):
        x, y = parts(size, size, n_classes=2, values=False)
        x[:, 0, 0] = torch.arange(size)
        found.append(loader((x, y), shuffle=shuffled))
    return found


def dataset_of(**marks):
    return dataset_from_loaders(three(), None, **marks)


def splits_of(dataset) -> tuple:
    return dataset.train, dataset.validation, dataset.test.open()


def refused(field: str, code: str, given=None, **marks) -> None:
    with raises(DataError, code, field) as text:
        dataset_from_loaders(given or three(), None, **marks)
    assert "\n" not in text[0]


def test_each_window_keeps_its_own():
    dataset = dataset_of(dates=DAYS, groups=GROUPS)
    for split, windows in enumerate(splits_of(dataset)):
        position = windows.gather(torch.arange(len(windows)))[:, 0, 0].long().numpy()
        assert (windows.dated, windows.dates.dtype) == (True, "datetime64[ns]")
        assert (windows.dates == DAYS[split].to_numpy()[position]).all()
        assert windows.groups.tolist() == [number % 4 for number in position]
    train, chosen = dataset.train, np.array([5, 2, 9])
    part = train.subset(chosen)
    assert (part.dated, part.groups.tolist()) == (True, train.groups[chosen].tolist())
    assert (part.dates == train.dates[chosen]).all()


def test_a_split_may_have_none():
    train, validation, test = splits_of(dataset_of(dates=(None, None, DAYS[2]), groups=(None, GROUPS[1], None)))
    assert (train.dated, validation.dated, test.dated) == (False, False, True)
    assert (train.groups, test.groups) == (None, None)
    assert validation.groups is not None
    assert all(not windows.dated and windows.groups is None for windows in splits_of(dataset_of()))


def test_a_group_has_one_number_in_all_splits_and_is_warned_of_in_training_and_test():
    dataset = dataset_of(groups=(["b"] * 24, ["a", "e"] * 6, ["b", "c", "a"] * 3))
    train, validation, test = splits_of(dataset)
    assert (test.groups[0], test.groups[2]) == (train.groups[0], validation.groups[0])
    lines = [line for line in dataset.warnings if "test" in line]
    assert [re.findall(r"\d+", line) for line in lines if "train" in line] == [["1", "3"]]


KINDS = [
    list,
    lambda days: [day.isoformat() for day in days],
    lambda days: [day.date() for day in days],
    lambda days: days.tz_localize("UTC"),
    pd.Series,
    lambda days: days.to_numpy().astype("datetime64[s]"),
    lambda days: [day.to_pydatetime().replace(tzinfo=datetime.UTC) for day in days],
]


@pytest.mark.parametrize("kind", KINDS)
def test_dates_of_many_kinds(kind):
    test = dataset_of(dates=(None, None, kind(DAYS[2]))).test.open()
    assert (test.dates == DAYS[2].to_numpy().astype("datetime64[ns]")).all()
    numbers = dataset_of(dates=(None, None, torch.arange(100, 109))).test.open()  # or numbers that grow with time
    assert (numbers.dated, numbers.dates.tolist()) == (True, list(range(100, 109)))


def test_data_json_counts_them():
    test = dataset_of(dates=DAYS, groups=GROUPS).description["splits"]["test"]
    balance = {"class_counts": [5, 4], "class_shares": [5 / 9, 4 / 9]}
    assert test == {"windows": 9, **balance, "first": "2020-01-01", "last": "2020-01-09", "groups": 4}


def test_they_change_the_sha256():
    marks = ({}, {"dates": DAYS}, {"groups": GROUPS}, {"groups": [part[::-1] for part in GROUPS]}, {"dates": DAYS})
    found = [dataset_of(**each).description["sha256"] for each in marks]
    assert len(set(found)) == 4
    assert found[1] == found[4]


@pytest.mark.usefixtures("quick_final_round")
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
    ("name", "part", "code"),
    [
        *(("dates", [*DAYS[2][:4], entry, *DAYS[2][5:]], "missing-entry") for entry in (None, pd.NaT)),
        ("groups", [*GROUPS[2][:4], None, *GROUPS[2][5:]], "missing-entry"),
        ("groups", np.array([*GROUPS[2][:4], 1.5, *GROUPS[2][5:]], dtype=object), "not-groups"),
        *(("dates", part, "not-dates") for part in (np.ones(9), ["yesterday"] * 9, [True] * 9, [{}] * 9)),
        *(("dates", part, "not-a-sequence") for part in ([[1, 2]] * 9, 7)),
    ],
)
def test_entries_that_are_missing_or_something_else(name, part, code):
    refused(f"{name}.test", code, **{name: (None, None, part)})
    refused("dates", "dates-of-two-kinds", dates=(None, DAYS[1], list(range(9))))


@pytest.mark.parametrize("name", ["dates", "groups"])
@pytest.mark.parametrize("call", [CNNLSTMHyperparameterOptimizer, run_cnn_lstm_hyperparameter_optimization])
def test_bars_have_dates_of_their_own(call, name, tmp_path):
    with pytest.raises(ConfigError):
        call(save_dir=tmp_path / "study", quiet=True, **{name: [[1], [2], [3]]})
    assert not (tmp_path / "study").exists()


def bumps() -> list[DataLoader]:
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
    return {"workers": 1, "study": {"portfolio": False}, "training": {"max_epochs": 2}, "search_space": space, **kinds}


@pytest.mark.usefixtures("quick_final_round")
@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize(("name", "number", "horizon"), [("groups", 8, 12), ("dates", 40, 1), ("windows", 40, 1)])
def test_groups_and_dates_reach_the_verdict(config, tmp_path, name, number, horizon):
    """A horizon as long as a window does not make the window before one whose label is known."""
    given = {} if name == "windows" else {name: (None, None, [place % number for place in range(40)])}
    given |= {"config": {**config, "data": {"horizon": horizon, "cv_folds": 1}}, "save_dir": tmp_path / "results"}
    run = {"n_trials": 3, "top_k": 1, "full_epochs": 2, "quiet": True, **given}
    results = run_cnn_lstm_hyperparameter_optimization(bumps(), **run)
    assert "persistence" not in [each["name"] for each in results["baselines"]]
    verdict = results["verdict"]
    assert verdict["test_units"] == {"kind": name, "number": number}
    for compared, best in ((verdict, 0), (verdict["accuracy"], 1)):  # a log loss is negated
        low, high = compared["score_interval"]
        assert low <= compared["score"] <= high <= best


@pytest.mark.slow
@pytest.mark.usefixtures("quick_final_round")
def test_labels_that_come_in_groups_raise_the_skill_threshold(config, tmp_path):
    """All windows of a group have one label: ten windows have the information of one."""
    groups = [100 + place // 10 for place in range(80)], [place // 10 for place in range(60)], None
    thresholds = []
    for name, given in (("a", {}), ("b", {"groups": groups})):
        given |= {"config": config, "save_dir": tmp_path / name, "quiet": True}
        with CNNLSTMHyperparameterOptimizer(bumps(), **given) as optimizer:
            optimizer.optimize(n_trials=1)
            thresholds.append(optimizer.write_results()["skill_gate"])
    assert [each["overlap"] for each in thresholds] == [1, pytest.approx(10)]
    assert thresholds[1]["threshold"] > thresholds[0]["threshold"]
