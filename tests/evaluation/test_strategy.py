"""The strategy and its excess: by hand, by a second bookkeeping, and their limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from cnn_lstm_hyperopt.evaluation import Market, TradingRules, long_flat
from cnn_lstm_hyperopt.evaluation.bootstrap import mean_interval, stationary_sums
from cnn_lstm_hyperopt.evaluation.strategy_text import strategy_lines

DAYS = np.datetime64("2020-01-01", "ns") + np.arange(400).astype("timedelta64[D]")


def market(returns, dates, symbols=None, *, horizon=1, cost_bps=0.0, **rules):
    symbols = np.full(len(returns), "A") if symbols is None else symbols
    return Market.of(returns, dates, symbols, TradingRules(horizon, cost_bps, **rules))


def bookkeeping(positions, returns, dates, symbols, horizon, cost):
    """A ledger for each symbol, date after date; returns by number of the period; positions at the decisions."""
    traded = ~np.isnan(returns)
    calendar, names = sorted(set(dates[traded].tolist())), sorted(set(symbols[traded].tolist()))
    earned, decided = [0.0] * len(calendar[::horizon]), {name: [] for name in names}
    for name in names:
        held, bars = 0, 0
        for number, date in enumerate(calendar):
            here = np.flatnonzero((dates == date) & (symbols == name) & traded)
            if len(here) == 0:
                continue
            if bars % horizon == 0:
                position = positions[here[0]]
                gain = position * returns[here[0]] - cost[name] / 1e4 * abs(position - held)
                earned[number // horizon] += gain / len(names)
                decided[name].append(position)
                held = position
            bars += 1
    return np.array(earned), decided


def coming_and_going(seed):
    """Shuffled windows of four symbols with missing dates and missing trades."""
    rng = np.random.default_rng(seed)
    keep = rng.random(120) < 0.7
    order = rng.permutation(keep.sum())
    dates, symbols = np.repeat(np.arange(30), 4)[keep][order], np.tile(["A", "B", "C", "D"], 30)[keep][order]
    returns = np.where(rng.random(keep.sum()) < 0.1, np.nan, rng.normal(scale=0.02, size=keep.sum()))
    return rng.integers(2, size=keep.sum()).astype(float), returns, dates, symbols


@pytest.mark.parametrize("horizon", [1, 3, 7])
def test_strategy_and_excess_equal_a_ledger_when_symbols_come_and_go(horizon):
    """Each symbol has a half-spread of its own; windows without a trade are left out."""
    positions, returns, dates, symbols = coming_and_going(horizon)
    spreads = {"A": 0.0, "B": 3.0, "C": 10.0, "D": 1.5}
    cost = {name: 25 + spread for name, spread in spreads.items()}
    traded = market(returns, dates, symbols, horizon=horizon, cost_bps=25.0, half_spreads=spreads)
    found, excess = traded.strategy(positions), traded.excess(positions)
    earned, decided = bookkeeping(positions, returns, dates, symbols, horizon, cost)
    np.testing.assert_allclose(found.returns, earned, atol=1e-12)
    trades = sum(np.count_nonzero(np.diff(held, prepend=0)) for held in decided.values())
    assert (found.n_trades, found.mean) == (trades, pytest.approx(np.mean(earned)))
    assert found.final_wealth == pytest.approx(np.prod(1 + earned))
    holding, centred = np.zeros_like(positions), returns.copy()
    for name in decided:
        own = np.flatnonzero((symbols == name) & ~np.isnan(returns))
        own = own[np.argsort(dates[own])][::horizon]
        holding[own] = [np.mean(decided[name][: number + 1]) for number in range(len(own))]
        centred[own] -= np.mean(returns[own])
    ours, held = (bookkeeping(each, centred, dates, symbols, horizon, cost)[0] for each in (positions, holding))
    np.testing.assert_allclose(excess.returns.returns, ours - held, atol=1e-12)
    assert excess.exposure == pytest.approx(np.mean(np.concatenate(list(decided.values()))))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.floats(-0.05, 0.05), st.floats(0, 50))
def test_constant_positions_have_no_excess_and_drift_does_not_change_it(seed, horizon, drift, cost_bps):
    positions, returns, dates, symbols = coming_and_going(seed)
    traded = market(returns, dates, symbols, horizon=horizon, cost_bps=cost_bps)
    for constant in (np.zeros_like(positions), np.ones_like(positions), np.full_like(positions, 0.3)):
        np.testing.assert_allclose(traded.excess(constant).returns.returns, 0, atol=1e-15)
    drifting = market(returns + drift, dates, symbols, horizon=horizon, cost_bps=cost_bps)
    both = [each.excess(positions).returns.returns for each in (traded, drifting)]
    np.testing.assert_allclose(*both, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(0.2, 1.0))
def test_no_bar_of_a_symbol_is_earned_twice_whatever_the_calendars(seed, horizon, share):
    """A return of 1 in a single bar shows whether that bar is held."""
    there = np.argwhere(np.random.default_rng(seed).random((40, 3)) < share)
    dates, symbols = there[:, 0], there[:, 1]
    for name in np.unique(symbols):
        own, decided = np.flatnonzero(symbols == name), []
        for bar, window in enumerate(own):
            returns = (np.arange(len(dates)) == window) * 1.0
            found = market(returns, dates, symbols, horizon=horizon).strategy(np.ones(len(dates)))
            decided += [bar] * bool(found.returns.any())
        assert decided == list(range(0, len(own), horizon))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_only_the_highest_class_is_long(n_classes):
    classes, returns = np.arange(30) % n_classes, np.random.default_rng(1).normal(size=30)
    rules, symbols = TradingRules(1, 0.0), np.full(30, "A")
    found = long_flat(np.eye(n_classes)[classes], returns, DAYS[:30], symbols, rules)
    up = (classes == n_classes - 1).astype(float)
    np.testing.assert_allclose(found.model.returns, up * returns)
    np.testing.assert_allclose(found.hold.returns, returns)
    so_far = np.cumsum(up) / np.arange(1, 31)
    np.testing.assert_allclose(found.excess.returns.returns, (up - so_far) * (returns - returns.mean()))
    assert found.hold.n_trades == 1
    assert long_flat(np.eye(n_classes)[classes], returns * np.nan, DAYS[:30], symbols, rules) is None


def test_ratios_and_intervals_are_annualised_by_the_dates():
    traded = market(np.random.default_rng(2).normal(0.001, 0.01, size=400), DAYS, horizon=7)
    found = traded.strategy(np.ones(400))
    assert found.periods_per_year == pytest.approx(365.25 / 7)
    assert found.sharpe == pytest.approx(found.returns.mean() / found.returns.std(ddof=1))
    assert found.annual_sharpe == pytest.approx(found.sharpe * np.sqrt(365.25 / 7))
    excess = traded.excess(np.arange(400) % 2)
    yearly = [excess.annual_return, *excess.annual_interval]
    assert yearly == pytest.approx(np.array([excess.returns.mean, *excess.interval]) * 365.25 / 7)


def test_unknown_ratios_are_none():
    flat = market(np.ones(20), DAYS[:20], cost_bps=5.0).strategy(np.zeros(20))
    assert (flat.sharpe, flat.annual_sharpe, flat.n_trades, flat.final_wealth) == (None, None, 0, 1)
    numbered = market(np.arange(20.0), np.arange(20)).excess(np.arange(20) % 2)
    assert (numbered.returns.sharpe is None, numbered.returns.annual_sharpe, numbered.annual_return) == (
        False,
        None,
        None,
    )
    assert (numbered.annual_interval, len(numbered.interval)) == (None, 2)
    once = market(np.zeros(2), DAYS[:2], horizon=5).excess(np.ones(2))
    assert (len(once.returns.returns), once.returns.sharpe, once.returns.periods_per_year, once.interval) == (
        1,
        *[None] * 3,
    )


def test_the_stationary_bootstrap_has_the_variance_of_its_closed_form():
    """Politis & Romano 1994, lemma 1: autocovariances with weights for random block lengths."""
    n, length = 60, 5.0
    values = np.convolve(np.random.default_rng(4).normal(size=n + 4), np.ones(5), "valid")
    sums = stationary_sums(values[:, None], length, 40_000, np.random.default_rng(5))[:, 0]
    centred, stay = values - values.mean(), 1 - 1 / length
    expected = centred @ centred / n
    for lag in range(1, n):
        weight = (1 - lag / n) * stay**lag + lag / n * stay ** (n - lag)
        expected += 2 * weight * (centred[: n - lag] @ centred[lag:]) / n
    assert sums.mean() / n == pytest.approx(values.mean(), abs=0.02)
    assert sums.var() / n == pytest.approx(expected, rel=0.03)


def test_the_interval_of_a_mean_is_repeatable_and_counts_days_not_bars():
    noise = np.random.default_rng(6).normal(1, 1, size=250)
    found = mean_interval(noise, DAYS[:250])
    assert found == mean_interval(noise, DAYS[:250])
    assert (found.high - found.low) == pytest.approx(2 * 1.96 / np.sqrt(250), rel=0.15)
    wide = mean_interval(noise, DAYS[:250], 0.975)
    assert (wide.high - wide.low) / (found.high - found.low) == pytest.approx(
        norm.ppf(0.9875) / norm.ppf(0.975), rel=0.1
    )
    assert mean_interval(noise[:9], DAYS[:9]) is None
    bars = (DAYS[:250, None] + np.timedelta64(10, "h") + np.arange(6) * np.timedelta64(1, "h")).ravel()
    repeated = mean_interval(np.repeat(noise, 6), bars)  # six equal bars a day tell as much as one
    assert (repeated.high - repeated.low) == pytest.approx(found.high - found.low, rel=0.05)


def test_older_results_and_unknown_intervals_are_shown_without_what_they_lack():
    returns = {"sharpe": 0.1, "annual_sharpe": None, "final_wealth": 1.25}
    old = {"cost_bps": 5.0, "long_flat": returns, "buy_and_hold": {**returns, "sharpe": None}}
    (line,) = strategy_lines(old)
    assert all(part in line for part in ("5 bps", "+0.10", "1.25"))
    excess = {"exposure": 0.4, "annual_return": None, "mean_return": 0.01, "mean_return_interval": None}
    new = {**old, "execution": "next_open", "half_spread_bps": {"A": 2.0, "B": 7.5}, "excess": excess}
    first, second = strategy_lines(new)
    assert all(part in first for part in ("next open", "5 bps", "2 to 7.5 bps"))
    assert all(part in second for part in ("+1.00% a period", "40%"))
    assert "interval" not in second
    excess |= {"mean_return_interval": [-0.01, 0.03]}
    assert all(part in strategy_lines(new)[1] for part in ("95 % interval", "-1.00% to +3.00%"))
    assert "98.33 % interval" in strategy_lines({**new, "excess": {**excess, "level": 1 - 0.05 / 3}})[1]
