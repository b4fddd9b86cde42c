"""Splits and folds: exact indices by hand and by skfolio, and that no interval of a training label meets what is held out.

Second implementation: ``skfolio.model_selection`` 1.12.2, which needs cvxpy and solvers. So the tests have its published examples
and its documented rules as plain loops, which were compared with the package for the cases below.
"""

import math
from dataclasses import replace
from itertools import combinations, pairwise
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.errors import raises
from builders.frames import random_frame
from builders.questions import SCHEMES
from cnn_lstm_hyperopt.config.schema.data import CvScheme, DataSettings
from cnn_lstm_hyperopt.data.features import segments
from cnn_lstm_hyperopt.data.periods import MIN_DATES, cut_periods
from cnn_lstm_hyperopt.data.splits import (
    WindowDates,
    assign,
    combinatorial,
    cut_dates,
    evenly_spread,
    make_folds,
    spread_positions,
    walk_forward,
)
from cnn_lstm_hyperopt.data.window_table import reach_bars
from cnn_lstm_hyperopt.errors import DataError


def daily(windows: int, purge: int, embargo: int = 0) -> WindowDates:
    """One window a day; labels may reach beyond the last one."""
    days = np.arange(windows)
    return WindowDates(days, days + purge, days + purge + embargo, days + purge)


def shown(folds) -> list[tuple[list[int], list[int]]]:
    return [(fold.train.tolist(), fold.validation.tolist()) for fold in folds]


def skfolio_walk_forward(observations, test_size, train_size, purged_size, expand):
    """Rules of ``WalkForward``: the first test set begins train_size + purged_size in; between train and test purged_size go."""
    first = train_size + purged_size
    return [
        (list(range(0 if expand else start - first, start - purged_size)), list(range(start, start + test_size)))
        for start in range(first, observations - test_size + 1, test_size)
    ]


def skfolio_combinatorial(observations, n_folds, n_test_folds, purged_size, embargo_size):
    """Rules of ``CombinatorialPurgedCV``: purged_size go on both sides of each run of test folds, embargo_size more after it."""
    size = observations // n_folds
    fold = [min(i // size, n_folds - 1) for i in range(observations)]
    found = []
    for tested in combinations(range(n_folds), n_test_folds):
        test = [i for i in range(observations) if fold[i] in tested]
        gone = set(test)
        for i in test:
            gone |= set(range(i - purged_size, i + purged_size + embargo_size + 1))
        found.append(([i for i in range(observations) if i not in gone], test))
    return found


@pytest.mark.parametrize("expand", [True, False])
@pytest.mark.parametrize(
    ("observations", "test_size", "train_size", "purge"),
    [(17, 3, 6, 2), (15, 3, 6, 0), (61, 10, 10, 1), (40, 5, 12, 3)],
)
def test_walk_forward_folds_are_those_of_skfolio(observations, test_size, train_size, purge, expand):
    expected = skfolio_walk_forward(observations, test_size, train_size, purge, expand)
    cuts = observations - test_size, observations + purge  # our validation is the last test block
    assert shown(walk_forward(daily(observations, purge), cuts, len(expected), rolling=not expand)) == expected


def test_the_examples_in_skfolios_documentation():
    """12 observations, 3 folds, 2 of them tested; no purge, purge 1, embargo 1."""
    whole = [[8, 9, 10, 11], [4, 5, 6, 7], [0, 1, 2, 3]]
    purged = [[9, 10, 11], [5, 6], [0, 1, 2]]
    embargoed = [[9, 10, 11], [5, 6, 7], [0, 1, 2, 3]]
    held = [[*range(8)], [0, 1, 2, 3, 8, 9, 10, 11], [*range(4, 12)]]
    for (purge, embargo), trains in {(0, 0): whole, (1, 0): purged, (0, 1): embargoed}.items():
        found = shown(combinatorial(daily(12, purge, embargo), (0, 12 + purge), 3, 2))
        assert found == list(zip(trains, held, strict=True))
    folds = combinatorial(daily(12, 1), (0, 13), 3, 2)
    assert [fold.blocks for fold in folds] == [((0, 3), (4, 7)), ((0, 3), (8, 11)), ((4, 7), (8, 11))]


@pytest.mark.parametrize(
    ("observations", "n_folds", "n_test_folds", "purge", "embargo"),
    [(12, 3, 2, 1, 0), (30, 5, 2, 1, 1), (30, 5, 3, 2, 1), (40, 4, 2, 3, 2), (60, 6, 2, 2, 4)],
)
def test_combinatorial_folds_are_those_of_skfolio(observations, n_folds, n_test_folds, purge, embargo):
    dates = daily(observations, purge, embargo)
    folds = combinatorial(dates, (0, observations + purge), n_folds, n_test_folds)
    assert shown(folds) == skfolio_combinatorial(observations, n_folds, n_test_folds, purge, embargo)


def test_blocks_of_an_uneven_number_of_windows_differ_by_one_at_most():
    sizes = [len(fold.validation) for fold in combinatorial(daily(101, 1), (0, 102), 7, 1)]
    assert sum(sizes) == 101
    assert max(sizes) - min(sizes) == 1


LABEL_BARS = 6


@st.composite
def markets(draw) -> WindowDates:
    """Symbols with their own trading days, labels of unequal length (LABEL_BARS at most), and a purge and an embargo in bars of
    their symbol."""
    purge, embargo = draw(st.integers(0, LABEL_BARS)), draw(st.integers(0, 8))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        rng = np.random.default_rng(draw(st.integers(0, 2**20)))
        days = np.flatnonzero(rng.random(400) < draw(st.sampled_from([0.6, 1.0])))
        place = np.arange(len(days))
        reach = np.maximum(rng.integers(1, LABEL_BARS + 1, len(days)), purge)
        last = len(days) - 1
        ahead = (reach, reach + embargo, LABEL_BARS)
        parts.append([days, *(days[np.minimum(place + bars, last)] for bars in ahead)])
    order = np.random.default_rng(0).permutation(sum(len(part[0]) for part in parts))  # in any order
    return WindowDates(*(np.concatenate(column)[order] for column in zip(*parts, strict=True)))


@pytest.mark.parametrize("asked", SCHEMES.values(), ids=SCHEMES)
@settings(max_examples=40)
@given(dates=markets())
def test_no_training_labels_interval_meets_a_held_out_one_or_the_test_period(asked, dates):
    cuts = cut_dates(dates.decided, (0.6, 0.15, 0.25))
    folds = make_folds(dates, cuts, DataSettings(**asked))
    for fold in folds:
        assert len(fold.train) > 0
        assert not set(fold.train) & set(fold.validation)
        for part in (fold.train, fold.validation):
            assert (np.diff(part) > 0).all()
            assert dates.reach[part].max() < cuts[1]
        decided, known = dates.decided[fold.train, None], dates.reach[fold.train, None]
        meet = (decided <= dates.reach[fold.validation]) & (dates.decided[fold.validation] <= known)
        assert not meet.any()


def test_every_scheme_is_a_member():
    assert set(SCHEMES) == set(get_args(CvScheme))


@settings(max_examples=30)
@given(dates=markets(), rolling=st.booleans(), n_folds=st.integers(1, 4))
def test_walk_forward_is_in_order_of_time_and_holds_each_window_out_once(dates, rolling, n_folds):
    cuts = cut_dates(dates.decided, (0.6, 0.12, 0.28))
    folds = walk_forward(dates, cuts, n_folds, rolling=rolling)
    held = np.concatenate([fold.validation for fold in folds])
    judged = dates.furthest < cuts[1]
    assert len(set(held)) == len(held)
    first = dates.decided[held].min()
    assert set(held) == set(np.flatnonzero(judged & (dates.decided >= first)))  # without a gap between blocks
    sizes = [len(fold.validation) for fold in folds]
    symbols = 3
    assert max(sizes[:-1], default=0) - min(sizes[:-1], default=0) < 2 * symbols  # a date has one of each symbol
    assert sizes[-1] <= min(sizes) + symbols  # the last one is purged
    for before, after in pairwise(folds):
        assert dates.decided[before.validation].max() < dates.decided[after.validation].min()
        assert dates.decided[before.train].max() <= dates.decided[after.train].max()
    for fold in folds:
        assert dates.decided[fold.train].max() < dates.decided[fold.validation].min()
    if rolling:  # as long a stretch as the first one, before purging
        stretches = []
        for fold in folds:
            start = dates.decided[fold.train].min()
            stretches.append(int(((dates.decided >= start) & (dates.decided < fold.blocks[0][0])).sum()))
        assert max(stretches) - stretches[0] <= 2 * symbols
    else:
        np.testing.assert_array_equal(folds[-1].train, np.flatnonzero(dates.reach < cuts[0]))


@settings(max_examples=20)
@given(dates=markets(), n_blocks=st.integers(3, 5), held_out=st.integers(1, 2))
def test_combinatorial_holds_each_window_out_in_as_many_folds_as_there_are_choices_of_the_other_blocks(
    dates, n_blocks, held_out
):
    cuts = cut_dates(dates.decided, (0.6, 0.15, 0.25))
    folds = combinatorial(dates, cuts, n_blocks, held_out)
    assert len(folds) == math.comb(n_blocks, held_out)
    times = np.zeros(len(dates.decided), dtype=int)
    for fold in folds:
        times[fold.validation] += 1
    judged = dates.furthest < cuts[1]
    assert (times[judged] == math.comb(n_blocks - 1, held_out - 1)).all()
    assert (times[~judged] == 0).all()


@pytest.mark.parametrize("asked", SCHEMES.values(), ids=SCHEMES)
@settings(max_examples=20)
@given(dates=markets(), seed=st.integers(0, 99))
def test_who_is_judged_does_not_depend_on_when_labels_end(asked, dates, seed):
    """Prices after the decision move ``reach``, and nothing else of the dates."""
    cuts = cut_dates(dates.decided, (0.6, 0.15, 0.25))
    earlier = np.where(np.random.default_rng(seed).random(len(dates.decided)) < 0.5, dates.decided, dates.reach)
    quick = replace(dates, reach=earlier)
    for mine, other in zip(*(make_folds(each, cuts, DataSettings(**asked)) for each in (dates, quick)), strict=True):
        np.testing.assert_array_equal(mine.validation, other.validation)
        assert mine.blocks == other.blocks


def test_a_window_in_a_held_out_block_is_not_trained_on_because_it_is_not_judged():
    """Labels that may look 5 bars and looked 0: the last five of 40 reach nothing, but could have."""
    days = np.arange(40)
    folds = combinatorial(WindowDates(days, days, days, days + 5), (0, 40), 4, 1)
    assert folds[3].validation.tolist() == list(range(30, 35))
    assert folds[3].train.tolist() == list(range(30))
    assert folds[0].train.tolist() == list(range(10, 40))


@settings(max_examples=20)
@given(dates=markets())
def test_nothing_decided_within_the_embargo_after_a_block_is_trained_on(dates):
    cuts = cut_dates(dates.decided, (0.6, 0.15, 0.25))
    for fold in combinatorial(dates, cuts, 4, 2):
        for first, last in fold.blocks:
            inside = (dates.decided >= first) & (dates.decided <= last) & (dates.furthest < cuts[1])
            until = dates.embargo[inside].max()
            assert not ((dates.decided[fold.train] > last) & (dates.decided[fold.train] <= until)).any()


@settings(max_examples=40)
@given(dates=markets(), n_periods=st.integers(1, 3))
def test_periods_test_each_window_once_and_train_on_nothing_that_reaches_them(dates, n_periods):
    """By loops over the windows, in the units of the definition."""
    cuts = cut_dates(dates.decided, (0.5, 0.12, 0.38))
    periods = cut_periods(dates, cuts, n_periods)
    tested = np.concatenate([each.test for each in periods])
    assert sorted(tested) == np.flatnonzero(dates.decided >= cuts[1]).tolist()
    split = assign(dates.decided, dates.reach, cuts, furthest=dates.furthest)
    for part, number in ((periods[0].train, 0), (periods[0].validation, 1)):
        assert part.tolist() == np.flatnonzero(split == number).tolist()
    on_a_date = np.bincount(dates.decided).max()
    in_validation = ((dates.decided >= cuts[0]) & (dates.decided < cuts[1])).sum()
    for number, each in enumerate(periods):
        first, last = dates.decided[each.test].min(), dates.decided[each.test].max()
        assert abs(len(each.test) - len(tested) / n_periods) <= 2 * on_a_date
        assert number == 0 or dates.decided[periods[number - 1].test].max() < first
        assert number == n_periods - 1 or last < dates.decided[periods[number + 1].test].min()
        begun = [t for t in range(len(dates.decided)) if dates.decided[t] < first]
        latest = sorted(dates.decided[t] for t in begun)[-in_validation]
        assert each.validation.tolist() == [
            t for t in begun if dates.decided[t] >= latest and dates.furthest[t] < first
        ]
        assert each.train.tolist() == [t for t in begun if dates.decided[t] < latest and dates.reach[t] < latest]
        assert each.purged.tolist() == sorted(set(begun) - {*each.train.tolist(), *each.validation.tolist()})


def test_a_session_day_belongs_to_one_period():
    minutes = np.datetime64("2024-01-02T09:30", "ns") + np.arange(13) * np.timedelta64(30, "m")
    days = np.concatenate([minutes + np.timedelta64(day, "D") for day in range(300)])
    dates = WindowDates(days, days, days, days)
    periods = cut_periods(dates, (days[13 * 100], days[13 * 200 + 5]), 3)
    for each in periods[1:]:
        assert days[each.test][0] == days[each.test][0].astype("datetime64[D]") + np.timedelta64(570, "m")
    assert [len(each.test) // 13 for each in periods] == [33, 33, 33]


def test_a_period_needs_a_minimum_of_dates():
    dates, cuts = daily(500, 1), (300, 400)
    assert [len(each.test) for each in cut_periods(dates, cuts, 100 // MIN_DATES)] == [MIN_DATES] * 5
    with raises(DataError, "period-too-short", "evaluation.test_periods"):
        cut_periods(dates, cuts, 6)


SHORT = np.arange(10)
LONGER = SHORT + np.where((SHORT >= 2) & (SHORT < 5), 3, 1)  # labels of one bar, but for those before the second block


@pytest.mark.parametrize(
    ("code", "make", "arguments", "options"),
    [
        *(("too-many-folds", walk_forward, (daily(100, p), (70, 90), n), {}) for p in (1, 4) for n in (5, 9)),
        ("too-many-folds", walk_forward, (daily(10, 5), (4, 9), 1), {}),
        ("fold-without-training", walk_forward, (WindowDates(SHORT, *[LONGER] * 3), (5, 8), 2), {"rolling": True}),
        ("fold-without-training", combinatorial, (daily(6, 1), (0, 6), 9, 2), {}),
        ("fold-without-training", combinatorial, (daily(100, 1, 99), (0, 100), 2, 1), {}),
    ],
)
def test_folds_with_nothing_to_train_on_are_refused(code, make, arguments, options):
    with raises(DataError, code, "data.cv_folds"):
        make(*arguments, **options)


def test_fewer_or_expanding_folds_are_allowed():
    assert all(len(walk_forward(daily(100, purge), (70, 90), 4)[0].train) > 0 for purge in (1, 4))
    assert len(walk_forward(WindowDates(SHORT, *[LONGER] * 3), (5, 8), 2)) == 2


@pytest.mark.parametrize("asked", [(1, 1), (2, 2), (3, 5), (10, 3)])
def test_the_number_of_combinatorial_folds_is_limited(asked):
    with pytest.raises(ValueError, match="cv_test_blocks"):
        DataSettings(cv_scheme="combinatorial", cv_folds=asked[0], cv_test_blocks=asked[1])
    for allowed in ({"cv_scheme": "combinatorial", "cv_folds": 10}, {"cv_folds": 2, "cv_test_blocks": 9}):
        assert DataSettings(**allowed)


SHARES = (0.70, 0.15, 0.15)


def test_cuts_are_the_first_dates_with_enough_windows_before_them():
    days = np.arange("2020-01-01", "2020-01-21", dtype="datetime64[D]")  # 20 days, one window each
    assert cut_dates(days, SHARES) == (np.datetime64("2020-01-15"), np.datetime64("2020-01-18"))
    # 20 windows on days 0..4, 10 on days 5..14: day 6 has 21 before it (70 % of 30), day 11 has 26 (85 % are 25.5)
    assert cut_dates(np.concatenate([np.arange(5, 15), np.repeat(np.arange(5), 4)]), SHARES) == (6, 11)


@settings(max_examples=40)
@given(data=st.data(), horizon=st.integers(1, 5), extra=st.integers(0, 4))
def test_no_labels_interval_meets_a_later_split(data, horizon, extra):
    """Several symbols with their own ranges and holes; the interval of a label is bars t+1..t+horizon."""
    purge = horizon + extra
    dates, reach, last_seen, names, parts = [], [], [], [], []
    for name in range(data.draw(st.integers(1, 3))):
        first = data.draw(st.sampled_from(["2010-01-04", "2010-03-01", "2010-05-12"]))
        hole = data.draw(st.integers(20, 100))
        index = random_frame(120, name, first, (hole,)).index
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


def test_too_few_dates_or_a_split_that_purging_empties_are_errors():
    for days in ([3, 3, 3, 3], [1, 2]):
        with raises(DataError, "too-few-dates", "data.split"):
            cut_dates(np.array(days), SHARES)
    with raises(DataError, "empty-split", "data.split"):
        assign(np.arange(20), np.arange(20) + 3, (14, 17), furthest=np.arange(20) + 3)


@given(n=st.integers(0, 300), limit=st.integers(1, 300))
def test_spread_positions_are_all_items_or_as_many_as_the_limit(n, limit):
    positions = spread_positions(n, limit)
    assert positions.tolist() == (list(range(n)) if n <= limit else evenly_spread(n, limit / n).tolist())
    assert len(positions) == min(n, limit)


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
