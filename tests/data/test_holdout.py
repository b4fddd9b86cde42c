"""The validation windows of arrays: no date, group or copy is in training, too."""

import contextlib

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataloaders.arrays import Arrays, dataset_from_arrays
from cnn_lstm_hyperopt.data.dataloaders.dates_and_groups import Marks
from cnn_lstm_hyperopt.data.dataloaders.holdout import hold_out
from cnn_lstm_hyperopt.errors import ArrayError

NO_MARKS = Marks(None, None)


def split(labels, marks=NO_MARKS, *, share=0.25, horizon=1, seed=0):
    labels = np.asarray(labels)
    names = [str(label) for label in range(labels.max() + 1)]
    return hold_out(labels, marks, names, share=share, horizon=horizon, seed=seed)


@settings(max_examples=60)
@given(
    labels=st.lists(st.integers(0, 2), min_size=12, max_size=40).filter(lambda found: {0, 1, 2} == set(found)),
    seed=st.integers(0, 9),
)
def test_stratified_parts_share_no_window_and_training_has_every_class(labels, seed):
    found = split(labels, seed=seed)
    assert sorted([*found.train, *found.validation]) == list(range(len(labels)))
    labels = np.array(labels)
    assert set(labels[found.train]) == {0, 1, 2}
    for label, count in enumerate(np.bincount(labels)):
        held = int((labels[found.validation] == label).sum())
        assert held == (0 if count == 1 else max(1, round(0.25 * count)))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 7)), min_size=20, max_size=60))
def test_no_group_is_in_both_parts(windows):
    labels, groups = (np.array(each) for each in zip(*windows, strict=True))
    assume(labels.min() < labels.max())
    with contextlib.suppress(ArrayError):  # no group can leave training
        found = split(labels, Marks(None, groups))
        assert not set(groups[found.train]) & set(groups[found.validation])
        assert set(labels[found.train]) == set(labels)


def test_validation_is_the_last_dates_and_the_horizon_before_them_is_left_out():
    dates = np.repeat(np.arange(10), 2)[::-1].copy()
    found = split(np.arange(20) % 2, Marks(dates, None), share=0.3, horizon=2)
    assert set(dates[found.validation]) == {7, 8, 9}
    assert set(dates[found.train]) == {0, 1, 2, 3, 4}


def test_a_class_that_only_the_last_dates_have_is_refused():
    with pytest.raises(ArrayError) as caught:
        split([0, 1] * 4 + [2, 2], Marks(np.arange(10), None))
    assert (caught.value.field, caught.value.code) == ("y", "class-not-in-training")


def test_too_few_dates_are_refused():
    with pytest.raises(ArrayError) as caught:
        split([0, 1, 0, 1], Marks(np.array([0, 0, 1, 1]), None))
    assert (caught.value.field, caught.value.code) == ("dates", "too-few-dates")


def dataset(x, labels, *, dates=None, groups=None, folds=1):
    arrays = Arrays(x.astype(np.float32), np.asarray(labels), None, ("a", "b"), ("f", "g"), dates, groups)
    return dataset_from_arrays(arrays, validation_share=0.25, settings=DataSettings(cv_folds=folds), seed=0)


def test_copies_of_a_window_are_in_one_part():
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(12, 4, 2)), 3, axis=0)
    data = dataset(x, np.repeat(np.arange(12) % 2, 3)).dataset
    train, validation = data.train, data.validation
    rows = [{row.numpy().tobytes() for row in part.series.reshape(len(part), -1)} for part in (train, validation)]
    assert all(rows)
    assert not rows[0] & rows[1]


def test_the_scaler_knows_the_training_windows_alone():
    rng = np.random.default_rng(1)
    x, labels, dates = rng.normal(size=(40, 5, 2)), np.arange(40) % 2, np.arange(40)
    x[30:] += 100
    data = dataset(x, labels, dates=dates)
    used = x[:29]  # one date before validation is left out
    np.testing.assert_allclose(data.scaler.mean, used.reshape(-1, 2).mean(axis=0), rtol=1e-5)
    assert data.dataset.validation.dates.min() == 30
    assert abs(float(data.dataset.train.series.mean())) < 1e-5


def test_each_fold_has_the_scaler_of_its_own_training_windows():
    rng = np.random.default_rng(2)
    x, labels = rng.normal(size=(40, 5, 2)), np.arange(40) % 2
    data = dataset(x, labels, folds=4)
    assert len(data.fold_scalers) == len(data.dataset.folds) == 4
    assert len(set(data.fold_scalers)) == 4
    for fold in data.dataset.folds:
        rows = fold.train.series.double()
        assert rows.mean(dim=0).abs().max() < 1e-5
        assert (rows.std(dim=0, unbiased=False) - 1).abs().max() < 1e-5


def test_the_order_of_the_windows_has_no_effect():
    rng = np.random.default_rng(3)
    x, labels = rng.normal(size=(30, 5, 2)), np.arange(30) % 2
    order = rng.permutation(30)
    one, other = dataset(x, labels), dataset(x[order], labels[order])
    assert one.dataset.description["sha256"] == other.dataset.description["sha256"]
    assert one.scaler == other.scaler


@pytest.mark.parametrize(
    ("marks", "field"),
    [({"dates": np.arange(3)}, "dates"), ({"groups": [0.5] * 20}, "groups"), ({"dates": [True] * 20}, "dates")],
)
def test_wrong_dates_and_groups_are_named(marks, field):
    with pytest.raises(ArrayError) as caught:
        dataset(panel_of(20), np.arange(20) % 2, **marks)
    assert caught.value.field == field


def panel_of(n):
    return np.random.default_rng(4).normal(size=(n, 5, 2))
