"""The strategy: by hand, by a second bookkeeping, and its limits."""

import numpy as np
import pytest

from cnn_lstm_hyperopt.evaluation import long_flat, strategy_returns

DAYS = np.datetime64("2020-01-01", "ns") + np.arange(400).astype("timedelta64[D]")


def test_two_symbols_by_hand():
    """A: long, long, flat; B: flat, long, long; 10 bp of what changes hands."""
    dates, symbols = np.repeat(DAYS[:3], 2), np.array(["A", "B"] * 3)
    positions = np.array([1, 0, 1, 1, 0, 1])
    values = np.log([1.02, 1.50, 0.99, 1.04, 1.50, 0.98])
    found = strategy_returns(positions, values, dates, symbols, horizon=1, cost_bps=10)
    np.testing.assert_allclose(
        found.returns, [(0.02 - 0.001) / 2, (-0.01 + 0.04 - 0.001) / 2, (-0.02 - 0.001) / 2], atol=1e-12
    )
    assert found.n_trades == 3
    assert found.final_wealth == pytest.approx(1.0095 * 1.0145 * 0.9895)
    assert found.mean == pytest.approx(np.mean([0.0095, 0.0145, -0.0105]))


def bookkeeping(positions, values, dates, symbols, horizon, cost_bps):
    """A ledger of positions by name, date after date."""
    held, returns, trades = {}, [], 0
    for date in sorted(set(dates.tolist()))[::horizon]:
        today = {
            s: (p, v)
            for p, v, d, s in zip(positions, values, dates.tolist(), symbols.tolist(), strict=True)
            if d == date
        }
        gain = sum(p * (np.exp(v) - 1) for p, v in today.values())
        changed = [abs(today.get(s, (0, 0))[0] - held.get(s, 0)) for s in {*today, *held}]
        returns.append((gain - cost_bps / 1e4 * sum(changed)) / len(today))
        trades += sum(change > 0 for change in changed)
        held = {s: p for s, (p, _) in today.items()}
    return returns, trades


@pytest.mark.parametrize("horizon", [1, 3, 7])
def test_it_equals_a_ledger_when_symbols_come_and_go(horizon):
    rng = np.random.default_rng(horizon)
    keep = rng.random(120) < 0.7
    dates, symbols = np.repeat(np.arange(30), 4)[keep], np.tile(["A", "B", "C", "D"], 30)[keep]
    order = rng.permutation(keep.sum())
    dates, symbols = dates[order], symbols[order]
    positions, values = rng.integers(2, size=keep.sum()), rng.normal(scale=0.02, size=keep.sum())
    found = strategy_returns(positions, values, dates, symbols, horizon=horizon, cost_bps=25)
    returns, trades = bookkeeping(positions, values, dates, symbols, horizon, 25)
    np.testing.assert_allclose(found.returns, returns, atol=1e-12)
    assert found.n_trades == trades


def test_decisions_are_a_horizon_apart_so_that_returns_of_the_whole_add_up():
    """Holding for 5 bars at a time earns what the price did, once, whatever the overlapping labels between."""
    log_price = np.cumsum(np.random.default_rng(0).normal(scale=0.01, size=101))
    values = log_price[5:] - log_price[:-5]
    found = strategy_returns(np.ones(96), values, DAYS[:96], np.full(96, "A"), horizon=5, cost_bps=0)
    assert len(found.returns) == 20
    assert found.final_wealth == pytest.approx(np.exp(log_price[100] - log_price[0]))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_only_the_highest_class_is_long(n_classes):
    classes = np.arange(30) % n_classes
    values = np.random.default_rng(1).normal(size=30)
    found = long_flat(np.eye(n_classes)[classes], values, DAYS[:30], np.full(30, "A"), horizon=1, cost_bps=0)
    np.testing.assert_allclose(found.model.returns, np.where(classes == n_classes - 1, np.expm1(values), 0))
    np.testing.assert_allclose(found.hold.returns, np.expm1(values))
    assert found.hold.n_trades == 1


def test_costs_are_paid_at_each_change_and_never_earned():
    positions = np.arange(50) % 2
    free, dear = (
        strategy_returns(positions, np.zeros(50), DAYS[:50], np.full(50, "A"), horizon=1, cost_bps=bps)
        for bps in (0, 20)
    )
    assert free.final_wealth == 1
    assert dear.n_trades == 49
    assert dear.final_wealth == pytest.approx(0.998**49)


def test_the_sharpe_ratio_is_annualised_by_the_dates():
    """One decision a week for a year and more."""
    values = np.random.default_rng(2).normal(0.001, 0.01, size=400)
    found = strategy_returns(np.ones(400), values, DAYS, np.full(400, "A"), horizon=7, cost_bps=0)
    assert found.periods_per_year == pytest.approx(365.25 / 7)
    assert found.sharpe == pytest.approx(found.returns.mean() / found.returns.std(ddof=1))
    assert found.annual_sharpe == pytest.approx(found.sharpe * np.sqrt(365.25 / 7))


def test_what_cannot_be_told_is_none():
    flat = strategy_returns(np.zeros(20), np.ones(20), DAYS[:20], np.full(20, "A"), horizon=1, cost_bps=5)
    assert (flat.sharpe, flat.annual_sharpe, flat.n_trades, flat.final_wealth) == (None, None, 0, 1)
    numbered = strategy_returns(np.ones(20), np.arange(20.0), np.arange(20), np.full(20, "A"), horizon=1, cost_bps=5)
    assert numbered.sharpe is not None
    assert numbered.annual_sharpe is None
    once = strategy_returns(np.ones(2), np.zeros(2), DAYS[:2], np.full(2, "A"), horizon=5, cost_bps=5)
    assert (len(once.returns), once.sharpe, once.periods_per_year) == (1, None, None)
