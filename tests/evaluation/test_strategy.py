"""The strategy: by hand, by a second bookkeeping, and its limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.evaluation import long_flat, strategy_returns

DAYS = np.datetime64("2020-01-01", "ns") + np.arange(400).astype("timedelta64[D]")


def alone(positions, values, dates, *, horizon=1, cost_bps=0):
    """The strategy on one symbol."""
    return strategy_returns(positions, values, dates, np.full(len(values), "A"), horizon=horizon, cost_bps=cost_bps)


def bookkeeping(positions, values, dates, symbols, horizon, cost_bps):
    """A ledger for each symbol, date after date; returns by number of the period."""
    calendar, names = sorted(set(dates.tolist())), sorted(set(symbols.tolist()))
    returns, trades = [0.0] * len(calendar[::horizon]), 0
    for name in names:
        held, bars = 0, 0
        for number, date in enumerate(calendar):
            here = np.flatnonzero((dates == date) & (symbols == name))
            if len(here) == 0:
                continue
            if bars % horizon == 0:
                position, value = positions[here[0]], values[here[0]]
                gain = position * (np.exp(value) - 1) - cost_bps / 1e4 * abs(position - held)
                returns[number // horizon] += gain / len(names)
                trades += position != held
                held = position
            bars += 1
    return returns, trades


@pytest.mark.parametrize("horizon", [1, 3, 7])
def test_it_equals_a_ledger_when_symbols_come_and_go(horizon):
    rng = np.random.default_rng(horizon)
    keep = rng.random(120) < 0.7
    order = rng.permutation(keep.sum())
    dates, symbols = np.repeat(np.arange(30), 4)[keep][order], np.tile(["A", "B", "C", "D"], 30)[keep][order]
    positions, values = rng.integers(2, size=keep.sum()), rng.normal(scale=0.02, size=keep.sum())
    found = strategy_returns(positions, values, dates, symbols, horizon=horizon, cost_bps=25)
    returns, trades = bookkeeping(positions, values, dates, symbols, horizon, 25)
    np.testing.assert_allclose(found.returns, returns, atol=1e-12)
    assert (found.n_trades, found.mean) == (trades, pytest.approx(np.mean(returns)))
    assert found.final_wealth == pytest.approx(np.prod(1 + np.array(returns)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(0.2, 1.0))
def test_no_bar_of_a_symbol_is_earned_twice_whatever_the_calendars(seed, horizon, share):
    """A value of 1 in a single bar shows whether that bar is held."""
    there = np.argwhere(np.random.default_rng(seed).random((40, 3)) < share)
    dates, symbols = there[:, 0], there[:, 1]
    for name in np.unique(symbols):
        own, decided = np.flatnonzero(symbols == name), []
        for bar, window in enumerate(own):
            values = (np.arange(len(dates)) == window) * 1.0
            found = strategy_returns(np.ones(len(dates)), values, dates, symbols, horizon=horizon, cost_bps=0)
            decided += [bar] * bool(found.returns.any())
        assert decided == list(range(0, len(own), horizon))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_only_the_highest_class_is_long(n_classes):
    classes, values = np.arange(30) % n_classes, np.random.default_rng(1).normal(size=30)
    found = long_flat(np.eye(n_classes)[classes], values, DAYS[:30], np.full(30, "A"), horizon=1, cost_bps=0)
    np.testing.assert_allclose(found.model.returns, np.where(classes == n_classes - 1, np.expm1(values), 0))
    np.testing.assert_allclose(found.hold.returns, np.expm1(values))
    assert found.hold.n_trades == 1


def test_the_sharpe_ratio_is_annualised_by_the_dates():
    found = alone(np.ones(400), np.random.default_rng(2).normal(0.001, 0.01, size=400), DAYS, horizon=7)
    assert found.periods_per_year == pytest.approx(365.25 / 7)
    assert found.sharpe == pytest.approx(found.returns.mean() / found.returns.std(ddof=1))
    assert found.annual_sharpe == pytest.approx(found.sharpe * np.sqrt(365.25 / 7))


def test_unknown_ratios_are_none():
    flat = alone(np.zeros(20), np.ones(20), DAYS[:20], cost_bps=5)
    assert (flat.sharpe, flat.annual_sharpe, flat.n_trades, flat.final_wealth) == (None, None, 0, 1)
    numbered = alone(np.ones(20), np.arange(20.0), np.arange(20))
    assert (numbered.sharpe is None, numbered.annual_sharpe) == (False, None)
    once = alone(np.ones(2), np.zeros(2), DAYS[:2], horizon=5)
    assert (len(once.returns), once.sharpe, once.periods_per_year) == (1, None, None)
