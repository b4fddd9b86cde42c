"""Folds of DataLoaders by class, group or date, and what happens with too few windows."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from builders import loaders
from builders.errors import raises
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.errors import DataError

TRAIN, VALIDATION = [0, 1, 2] * 12, [0, 1, 2] * 4


def loader(labels, seed, *, values=False, shuffle=False) -> DataLoader:
    """Each window's first number is unique."""
    x, _, value = loaders.parts(len(labels), seed)
    return loaders.loader((x, torch.tensor(labels), *[value] * values), shuffle=shuffle, generator=torch.Generator())


def dataset_of(train, validation, cv_folds="auto", *, values=False, shuffle=False, seed=0, **marks) -> Dataset:
    splits = [loader(labels, n, values=values) for n, labels in enumerate((validation, [0, 1]), 2)]
    first = loader(train, 1, values=values, shuffle=shuffle)
    return dataset_from_loaders([first, *splits], None, cv_folds=cv_folds, seed=seed, **marks)


def refused(code, *arguments, **marks) -> None:
    with raises(DataError, code, "data.cv_folds"):
        dataset_of(*arguments, **marks)


def names(windows) -> list[float]:
    """The first number of each window."""
    return windows.gather(torch.arange(len(windows)))[:, 0, 0].tolist()


def held_out(dataset) -> list[list[float]]:
    return [names(fold.validation) for fold in dataset.folds]


def test_each_window_is_held_out_once_and_trained_on_by_all_other_folds():
    dataset, plain = (dataset_of(TRAIN, VALIDATION, folds, values=True) for folds in ("auto", 1))
    everything = sorted(names(dataset.train) + names(dataset.validation))
    assert len(dataset.folds) == 5
    assert sorted(name for part in held_out(dataset) for name in part) == everything
    for fold in dataset.folds:
        assert sorted(names(fold.train) + names(fold.validation)) == everything
        counts = fold.validation.class_counts(3)
        assert max(counts) - min(counts) <= 1
        assert min(counts) >= 3
        values = fold.train.values.double()
        assert (fold.value_mean, fold.value_std) == (float(values.mean()), float(values.std(correction=0)))
    assert names(dataset.train) == names(plain.train)  # the windows themselves stay as the loaders have them
    assert names(dataset.validation) == names(plain.validation)
    assert [len(fold.train) for fold in plain.folds] == [36]


def test_the_same_seed_gives_the_same_folds_whatever_order_a_shuffling_loader_yields():
    first, second = (held_out(dataset_of(TRAIN, VALIDATION, shuffle=True)) for _ in range(2))
    assert first == second
    assert held_out(dataset_of(TRAIN, VALIDATION, shuffle=True, seed=1)) != first


@pytest.mark.parametrize(("windows", "asked", "folds"), [(499, "auto", 5), (500, "auto", 1), (500, 3, 3), (12, 1, 1)])
def test_auto_makes_five_folds_of_fewer_than_five_hundred_validation_windows(windows, asked, folds):
    dataset = dataset_of([0, 1] * 20, [0, 1] * (windows // 2) + [0] * (windows % 2), asked)
    assert (len(dataset.folds), dataset.warnings, "folds" in dataset.description) == (folds, (), folds > 1)


@pytest.mark.parametrize(("rare", "validation", "folds"), [([2, 2], [0, 1, 2], 3), ([2], [0, 1], 1)])
def test_the_smallest_class_limits_the_folds_and_auto_says_so(rare, validation, folds):
    labels = [0] * 20 + [1] * 20 + rare
    dataset = dataset_of(labels, validation)
    (line,) = dataset.warnings
    assert (len(dataset.folds), "class 2" in line) == (folds, True)
    refused("too-many-folds", labels, validation, 4)


PEOPLE = [person for person in range(9) for _ in range(4)], [9, 9, 9, 9, 10, 10, 10, 10, 11, 11, 11, 11], None
LABELS = [0, 1] * 18, [0, 1] * 6


def test_no_group_is_on_both_sides_of_a_fold_and_a_class_needs_one_in_each():
    dataset = dataset_of(*LABELS, groups=PEOPLE)
    assert len(dataset.folds) == 5
    seen = []
    for fold in dataset.folds:
        assert not set(fold.train.groups) & set(fold.validation.groups)
        assert len(fold.train) + len(fold.validation) == 48
        seen += set(fold.validation.groups)
    assert sorted(seen) == list(range(12))
    labels = [1] * 8 + [0] * 28, [1, 0] * 6  # five people have class 1
    assert len(dataset_of(*labels, 5, groups=PEOPLE).folds) == 5
    refused("too-many-folds", *labels, 6, groups=PEOPLE)


def test_validation_windows_of_one_group_are_warned_of_unless_folds_hold_out_others_too():
    groups = PEOPLE[0], [9] * 12, None
    (line,) = dataset_of(*LABELS, 1, groups=groups).warnings
    assert "12" in line
    assert dataset_of(*LABELS, 3, groups=groups).warnings == ()


@pytest.mark.parametrize("name", ["groups", "dates"])
@pytest.mark.parametrize(
    ("has", "numbers"), [("train", (range(36), None, None)), ("validation", (None, range(12), None))]
)
def test_folds_do_not_ignore_dates_or_groups_that_one_loader_alone_has(name, has, numbers):
    marks = {name: tuple(each and list(each) for each in numbers)}
    dataset = dataset_of(TRAIN, VALIDATION, **marks)
    (line,) = dataset.warnings
    assert (len(dataset.folds), has in line, name in line) == (1, True, True)
    refused("marks-of-one-loader", TRAIN, VALIDATION, 3, **marks)
    assert dataset_of(TRAIN, VALIDATION, 1, **marks).warnings == ()


def test_auto_makes_no_random_folds_of_windows_that_overlap_and_a_number_warns():
    people = [place // 4 for place in range(36)], [9 + place // 4 for place in range(12)], None
    for cv_folds, marks, folds, n_warnings in (("auto", {}, 1, 1), (3, {}, 3, 1), ("auto", {"groups": people}, 5, 0)):
        dataset = dataset_of(TRAIN, VALIDATION, cv_folds, horizon=5, **marks)
        assert (len(dataset.folds), len(dataset.warnings)) == (folds, n_warnings)
        assert all("data.horizon" in line for line in dataset.warnings)


DATED = [0, 1] * 35, [0, 1] * 7
DATES = list(range(70)), list(range(70, 84)), None
BUSY = [0, 1] * 250, [0, 1] * 10  # ten dates of fifty windows, and twenty windows on the next date
BUSY_DATES = [day for day in range(10) for _ in range(50)], [10] * 20, None


def test_folds_walk_forward_and_the_last_one_is_the_loaders_own_split():
    dataset = dataset_of(*DATED, dates=DATES)
    assert [sorted(fold.validation.dates.tolist()) for fold in dataset.folds] == [
        list(range(14 * k, 14 * k + 14)) for k in range(1, 6)
    ]
    for fold in dataset.folds:  # a label looks one window ahead, so the last one before a block is purged
        assert sorted(fold.train.dates.tolist()) == list(range(fold.validation.dates.min() - 1))
    assert dataset.description["cv_scheme"] == "expanding"
    assert dataset.description["folds"][0]["validation"]["blocks"] == [{"first": "14", "last": "27"}]


def test_few_dates_or_a_date_with_more_windows_than_a_block_limit_the_folds():
    few = dataset_of([0, 1] * 20, [0, 1] * 7, dates=(list(range(40)), list(range(40, 54)), None))
    assert (len(few.folds), len(few.warnings)) == (2, 1)
    dataset = dataset_of(*BUSY, dates=BUSY_DATES)
    assert [sorted(set(fold.validation.dates.tolist())) for fold in dataset.folds] == [[9], [10]]
    assert len(dataset.warnings) == 1
    refused("too-many-folds", *BUSY, 5, dates=BUSY_DATES)


def test_groups_that_the_user_keeps_apart_stay_apart():
    """Weeks are groups; where a block begins within a week, the fold does not train on the days before it."""

    def folds(shift):
        weeks = [(day + shift) // 7 for day in range(84)]
        groups = weeks[:70], [week + 1 for week in weeks[70:]], None
        return dataset_of(*DATED, 2, dates=DATES, groups=groups).folds

    for fold in [*folds(0), *folds(3)]:
        assert not set(fold.train.groups) & set(fold.validation.groups)
    assert [len(fold.train) for fold in folds(0)] == [55, 69]
    assert len(folds(3)[0].train) == 53  # the block begins on the third day of a week
    mixed = [day % 5 for day in range(70)], [day % 5 for day in range(14)], None  # on both sides of the user's split
    assert [len(fold.train) for fold in dataset_of(*DATED, 2, dates=DATES, groups=mixed).folds] == [55, 69]


def test_copies_on_both_sides_of_a_fold_are_warned_of_unless_groups_keep_them_together():
    """Training has each window of class 2 three times; the copies differ by a millionth."""
    x, labels = loaders.parts(36, 1, values=False)
    more = labels == 2
    train = (torch.cat([x, x[more] * (1 + 1e-6), x[more]]), torch.cat([labels, labels[more], labels[more]]))
    splits = [[train], loader(VALIDATION, 2), loader([0, 1], 3)]
    (line,) = dataset_from_loaders(splits, None, cv_folds=3).warnings
    assert "72" in line
    places = np.arange(36)
    groups = (np.concatenate([places, places[more], places[more]]), 100 + np.arange(12), 200 + np.arange(2))
    assert dataset_from_loaders(splits, None, cv_folds=3, groups=groups).warnings == ()
    assert dataset_from_loaders(splits, None, cv_folds=1).warnings == ()  # copies within training do no harm
