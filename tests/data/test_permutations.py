"""Permutations in blocks: units, exchanged windows, and shadow inputs."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from cnn_lstm_hyperopt.data.permutations import block_order, exchanged, units_of, with_shadows
from cnn_lstm_hyperopt.data.trial_data import TrialData
from cnn_lstm_hyperopt.data.windows import Fold, Windows

LOOKBACK = 4


def windows_of(dates, symbols, *, dated=True, groups=None, rows=None):
    """Windows at given dates and symbols, on a series of two random channels."""
    n = len(dates)
    rows = n + LOOKBACK if rows is None else rows
    series = torch.from_numpy(np.random.default_rng(1).standard_normal((rows, 2)).astype(np.float32))
    labels = torch.zeros(n, dtype=torch.int64)
    return Windows(
        series,
        torch.arange(n),
        LOOKBACK,
        labels,
        None,
        np.asarray(dates),
        np.asarray(symbols),
        dated=dated,
        groups=groups,
    )


@pytest.mark.parametrize(("n", "length"), [(10, 3), (9, 3), (7, 1), (5, 9), (0, 2)])
def test_blocks_change_places_and_keep_their_order(n, length):
    order = block_order(n, length, np.random.default_rng(0))
    assert sorted(order) == list(range(n))
    inside = [(a, b) for a, b in pairwise(order) if a // length == b // length]
    assert all(b == a + 1 for a, b in inside)
    assert len(inside) == n - -(-n // length)  # every pair of neighbours within a block stays


def test_windows_get_inputs_of_the_same_symbol_at_another_date_in_blocks():
    dates = np.repeat(np.datetime64("2020-01-01", "ns") + np.arange(60) * np.timedelta64(1, "D"), 2)
    symbols = np.tile(["A", "B"], 60)
    found = exchanged(windows_of(dates, symbols), np.random.default_rng(3))
    assert sorted(found) == list(range(120))
    assert (symbols[found] == symbols).all()
    day = (dates[found][::2] - dates[0]) // np.timedelta64(1, "D")
    assert (day == (dates[found][1::2] - dates[0]) // np.timedelta64(1, "D")).all()  # both symbols move together
    steps = np.diff(day) % 60
    assert (steps == 1).mean() > 0.6  # blocks of four dates
    assert (day != np.arange(60)).mean() > 0.8


def test_a_symbol_without_a_window_at_the_new_date_gets_another_symbol():
    dates = np.array([0, 0, 1, 2, 2, 3])
    found = exchanged(windows_of(dates, ["A", "B", "A", "A", "B", "B"]), np.random.default_rng(0))
    new = {int(date): set(dates[found][dates == date]) for date in dates}
    assert all(len(targets) == 1 for targets in new.values())  # all windows of a date get inputs of one date
    assert len(set.union(*new.values())) == 4


def test_groups_and_windows_without_dates_are_units():
    groups = np.array([5, 5, 2, 2])
    units = units_of(windows_of([0, 1, 2, 3], ["A"] * 4, dated=False, groups=groups))
    assert (units.of_window.tolist(), units.number, units.in_time) == ([1, 1, 0, 0], 2, False)
    single = units_of(windows_of([0, 1, 2, 3], ["A"] * 4, dated=False))
    assert (single.number, single.in_time) == (4, False)


def test_shadows_have_the_values_of_their_inputs_and_nothing_else_changes():
    windows = windows_of(np.arange(496), ["A"] * 496)
    fold = Fold(windows.subset(np.arange(300)), windows.subset(np.arange(310, 496)), 0.0, 1.0)
    data = TrialData((fold,), 2, False, columns={"own.b": (1,)})
    found = with_shadows(data, {"own.b": (1,)}, np.random.default_rng(0))
    assert found.shadows == {"own.b": (2,)}
    assert found.data.columns == data.columns  # no group has the shadow, so no configuration leaves it out
    train = found.data.folds[0].train
    assert train.series is found.data.folds[0].validation.series
    torch.testing.assert_close(train.series[:, :2], windows.series, rtol=0, atol=0)
    original, shadow = windows.series[:, 1].numpy(), train.series[:, 2].numpy()
    assert sorted(original) == sorted(shadow)
    assert abs(np.corrcoef(original, shadow)[0, 1]) < 0.2
    pairs = set(pairwise(original))
    kept = np.mean([pair in pairs for pair in pairwise(shadow)])
    assert kept == pytest.approx(1 - 1 / LOOKBACK, abs=0.02)  # the order within blocks of a window's length
