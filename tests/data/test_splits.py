"""Splits: exact dates by hand, purging, and that no label reaches into a later split."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.errors import raises
from cnn_lstm_hyperopt.data.features import segments
from cnn_lstm_hyperopt.data.splits import assign, cut_dates, evenly_spread
from cnn_lstm_hyperopt.data.window_table import reach_bars
from cnn_lstm_hyperopt.errors import DataError

SHARES = (0.70, 0.15, 0.15)


def test_cuts_are_the_first_dates_with_enough_windows_before_them():
    days = np.arange("2020-01-01", "2020-01-21", dtype="datetime64[D]")  # 20 days, one window each
    assert cut_dates(days, SHARES) == (np.datetime64("2020-01-15"), np.datetime64("2020-01-18"))
    # 20 windows on days 0..4, 10 on days 5..14: day 6 has 21 before it (70 % of 30), day 11 has 26 (85 % are 25.5)
    assert cut_dates(np.concatenate([np.arange(5, 15), np.repeat(np.arange(5), 4)]), SHARES) == (6, 11)


def test_exact_splits_of_a_hand_example():
    dates = np.arange(20)
    split = assign(dates, dates + 2, (14, 17), furthest=dates + 2)
    np.testing.assert_array_equal(split, [0] * 12 + [-1] * 2 + [1] + [-1] * 2 + [2] * 3)


@settings(max_examples=40)
@given(data=st.data(), horizon=st.integers(1, 5), extra=st.integers(0, 4))
def test_no_labels_interval_meets_a_later_split(make_frame, data, horizon, extra):
    """Several symbols with their own ranges and holes; the interval of a label is bars t+1..t+horizon."""
    purge = horizon + extra
    dates, reach, last_seen, names, parts = [], [], [], [], []
    for name in range(data.draw(st.integers(1, 3))):
        first = data.draw(st.sampled_from(["2010-01-04", "2010-03-01", "2010-05-12"]))
        hole = data.draw(st.integers(20, 100))
        index = make_frame(120, name, first, (hole,)).index
        segment = segments(index, 10)
        days = index.to_numpy()
        reached = reach_bars(segment, purge)
        parts += [(name, days[segment == number]) for number in (0, 1)]
        for t in range(len(days)):
            if t + horizon < len(days) and segment[t + horizon] == segment[t]:
                dates.append(days[t])
                reach.append(days[reached[t]])
                last_seen.append(days[t + horizon])
                names.append(name)
    dates, reach, last_seen, names = (np.array(each) for each in (dates, reach, last_seen, names))
    cuts = cut_dates(dates, SHARES)
    split = assign(dates, reach, cuts, furthest=reach)
    assert (last_seen[split == 0] < cuts[0]).all()
    assert (last_seen[split == 1] < cuts[1]).all()
    assert (dates[split == 1] >= cuts[0]).all()
    assert (dates[split == 2] >= cuts[1]).all()
    for name in set(names.tolist()):
        mine = names == name
        for cut in cuts:
            purged_here = mine & (split == -1) & (dates < cut) & (reach >= cut)
            assert purged_here.sum() <= purge
            for part in (part for owner, part in parts if owner == name):
                place = np.searchsorted(part, cut)
                if purge <= place <= len(part) - horizon:
                    assert purged_here.sum() == purge


def test_labels_of_unequal_length_are_purged_one_by_one():
    """Bars 0..9, cuts at 5 and 8: what matters is where each label ends, and never beyond its segment."""
    segment = np.array([0] * 8 + [1] * 2)
    reached = reach_bars(segment, np.array([1, 5, 2, 2, 1, 3, 1, 4, 1, 1]))
    np.testing.assert_array_equal(reached, [1, 6, 4, 5, 5, 7, 7, 7, 9, 9])
    split = assign(np.arange(10), reached, (5, 8), furthest=reached)
    np.testing.assert_array_equal(split, [0, -1, 0, -1, -1, 1, 1, 1, 2, 2])


def test_too_few_dates_or_a_split_that_purging_empties_are_errors():
    for days in ([3, 3, 3, 3], [1, 2]):
        with raises(DataError, "too-few-dates", "data.split"):
            cut_dates(np.array(days), SHARES)
    with raises(DataError, "empty-split", "data.split"):
        assign(np.arange(20), np.arange(20) + 3, (14, 17), furthest=np.arange(20) + 3)


def test_who_is_judged_depends_on_the_furthest_that_a_label_can_look_and_who_trains_on_its_own():
    """Bars 0..11, cuts at 5 and 9, labels that may look 3 bars ahead and happened to look 1."""
    days = np.arange(12)
    split = assign(days, days + 1, (5, 9), furthest=days + 3)
    np.testing.assert_array_equal(split, [0, 0, 0, 0, -1, 1, -1, -1, -1, 2, 2, 2])


def test_evenly_spread():
    found = [evenly_spread(n, share).tolist() for n, share in ((10, 0.5), (9, 1 / 3), (5, 0.01), (0, 0.5))]
    assert found == [[1, 3, 5, 7, 9], [1, 4, 7], [2], []]


@given(n=st.integers(1, 5000), share=st.floats(0.001, 1))
def test_evenly_spread_is_ascending_and_even(n, share):
    indices = evenly_spread(n, share)
    assert len(indices) == max(1, round(n * share))
    steps = np.diff(np.concatenate([[-1], indices, [n]]))[1:-1]
    assert indices[0] >= 0
    assert indices[-1] < n
    if len(steps):
        assert steps.min() >= 1
        assert steps.max() - steps.min() <= 1
