"""Is chance or market structure taken for timing? Simulated markets in which no strategy has skill.

*deflated*: the best of 30 long/flat strategies without skill, in markets with drift. Shares of runs in which its deflated Sharpe
ratio is above 0.95: from the returns, from the excess over the mean position of the whole period, and from the excess in use;
share of the intervals of the mean excess that contain 0.

*bounce*: a random walk whose closes and opens are at the bid or at the ask (Roll 1984). The strategy is long after a close that
fell. Annual Sharpe ratios by execution.

*spreads*: estimates of ``half_spread_bps: auto`` in a random walk with a known half-spread, and for the embedded bars.

    python benchmarks/evaluation_money.py deflated --runs 75
    python benchmarks/evaluation_money.py bounce --runs 200
    python benchmarks/evaluation_money.py spreads --runs 100
"""

import argparse
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.config.schema.retrain import Execution
from cnn_lstm_hyperopt.data.bars import Bars
from cnn_lstm_hyperopt.data.sources import load_bars
from cnn_lstm_hyperopt.data.trades import half_spreads, trades
from cnn_lstm_hyperopt.evaluation import Market, TradingRules, deflated_sharpe, sharpe
from cnn_lstm_hyperopt.utils.rng import stream
from machine import machine_line

Floats = NDArray[np.float64]
DAYS_A_YEAR = 252
TRIALS = 30
DAILY = 0.01
"""Daily standard deviation of the market."""


def market_returns(random: np.random.Generator, days: int, symbols: int, annual_sharpe: float) -> Floats:
    """Daily returns ``(days, symbols)`` with volatility clusters, fat tails, correlation 0.5 and this annual Sharpe ratio."""
    volatility = np.exp(np.cumsum(random.normal(0, 0.05, days)))
    volatility /= np.sqrt((volatility**2).mean())
    common, own = random.standard_t(5, (days, 1)), random.standard_t(5, (days, symbols))
    noise = common if symbols == 1 else np.sqrt(0.5) * common + np.sqrt(0.5) * own
    # the Sharpe ratio is that of the equally weighted portfolio
    portfolio = np.sqrt(0.5 + 0.5 / symbols) if symbols > 1 else 1.0
    noise = noise * np.sqrt(3 / 5) * DAILY * volatility[:, None]
    return np.asarray(noise + annual_sharpe / np.sqrt(DAYS_A_YEAR) * DAILY * portfolio)


def chance(random: np.random.Generator, returns: Floats, stay: int) -> Floats:
    """Positions ``(days, symbols)`` that do not depend on the market and last ``stay`` days on average."""
    flips = random.random(returns.shape) < (0.5 if stay == 1 else 1 / stay)
    share = random.random()  # mean exposure of the strategy
    fresh = random.random(returns.shape) < share
    last = np.maximum.accumulate(np.where(flips, np.arange(len(returns))[:, None], 0), axis=0)
    return np.take_along_axis(fresh, last, axis=0).astype(np.float64)


def rule(random: np.random.Generator, returns: Floats, side: int) -> Floats:
    """Positions that follow (``side`` 1) or oppose (−1) the mean of the last 2 to 120 returns."""
    span = int(random.integers(2, 121))
    total = np.cumsum(np.concatenate([np.zeros((span, returns.shape[1])), returns]), axis=0)
    past = np.concatenate([np.zeros((1, returns.shape[1])), (total[span:] - total[:-span])[:-1]])
    return np.asarray((side * past > 0).astype(np.float64))


SIZES = ((250, 1), (500, 1), (250, 5), (500, 5))
"""Days and symbols of the simulated markets."""
KINDS = {
    "chance, 1 day": (chance, 1),
    "chance, 20 days": (chance, 20),
    "follow returns": (rule, 1),
    "oppose returns": (rule, -1),
}


def deflated_run(random: np.random.Generator, days: int, symbols: int, drift: float, kind: str) -> list[bool]:
    """Whether the best strategy's ratio is above 0.95, by three definitions; whether the interval of a strategy contains 0.

    The definitions: from the returns; from the excess over the mean position of the whole period; from the excess in use.
    """
    returns = market_returns(random, days, symbols, drift)
    draw, argument = KINDS[kind]
    dates = np.datetime64("2020-01-01", "ns") + np.repeat(np.arange(days), symbols).astype("timedelta64[D]")
    names = np.tile(np.arange(symbols).astype(str), days)
    market = Market.of(returns.ravel(), dates, names, TradingRules(1, 0.0))
    assert market is not None
    positions = [draw(random, returns, argument) for _ in range(TRIALS)]
    excess = [market.excess(each.ravel()) for each in positions]
    found = []
    for series in (
        [(each * returns).mean(axis=1) for each in positions],
        [((each - each.mean(axis=0)) * returns).mean(axis=1) for each in positions],
        [each.returns.returns for each in excess],
    ):
        ratios = [ratio for each in series if (ratio := sharpe(each)) is not None]
        best = max(series, key=lambda each: sharpe(each) or -np.inf)
        found.append((deflated_sharpe(best, ratios, TRIALS) or 0.0) > 0.95)
    interval = excess[0].interval
    return [*found, interval is not None and interval.low <= 0 <= interval.high]


def deflated(runs: int, seed: int, kinds: Sequence[str]) -> None:
    """Print the table of deflated Sharpe ratios; in brackets the highest share of the four sizes."""
    print(
        "| strategies | market Sharpe | returns | whole-period mean | excess | intervals with 0 |\n|---|---|---|---|---|---|"
    )
    for kind in kinds:
        for drift in (0.0, 0.6, 1.0, 1.5):
            shares = []
            for days, symbols in SIZES:
                random = stream(seed, days * symbols, f"{kind} {drift}")
                rows = np.array([deflated_run(random, days, symbols, drift, kind) for _ in range(runs)])
                shares.append(rows.mean(axis=0))
            mean, highest = np.mean(shares, axis=0), np.max(shares, axis=0)
            cells = [f"{share:.1%} ({most:.1%})" for share, most in zip(mean[:3], highest[:3], strict=True)]
            print(f"| {kind} | {drift} | {' | '.join(cells)} | {mean[3]:.1%} |", flush=True)


def bounce_run(random: np.random.Generator, half_spread_bps: float, execution: Execution, charged: float) -> float:
    """Annual Sharpe ratio of the bet on the reversal after 5 bps and the ``charged`` half-spread, on 1,000 days."""
    days = 1000
    middle = np.cumsum(random.normal(0, DAILY / np.sqrt(2), 2 * days))  # open and close of each day
    prices = np.exp(middle + half_spread_bps / 1e4 * random.choice([-1, 1], 2 * days)).reshape(days, 2)
    index = pd.bdate_range("2016-01-04", periods=days, name="date")
    frame = pd.DataFrame({"open": prices[:, 0], "close": prices[:, 1]}, index=index)
    decided = np.arange(1, days)
    returns, _ = trades(frame, np.zeros(days, dtype=np.int64), decided, horizon=1, execution=execution)
    rules = TradingRules(1, 5.0, {"A": charged}, execution)
    market = Market.of(returns, index.to_numpy()[decided], np.full(len(decided), "A"), rules)
    assert market is not None
    fell = (np.diff(prices[:, 1]) < 0).astype(np.float64)
    return market.strategy(fell).annual_sharpe or 0.0


def bounce(runs: int, seed: int) -> None:
    """Print the table of the bid-ask bounce."""
    print("| half-spread (bps) | execution | charged (bps) | Sharpe ratio | standard error |\n|---|---|---|---|---|")
    executions: Sequence[Execution] = ("same_close", "next_close", "next_open")
    for spread in (20.0, 50.0, 100.0):
        for execution in executions:
            for charged in (0.0, spread):
                random = stream(seed, int(spread), f"bounce {execution} {charged}")
                found = np.array([bounce_run(random, spread, execution, charged) for _ in range(runs)])
                error = found.std(ddof=1) / np.sqrt(runs)
                print(f"| {spread:g} | {execution} | 5 + {charged:g} | {found.mean():+.2f} | {error:.2f} |", flush=True)


def spreads(runs: int, seed: int) -> None:
    """Print the table of estimated half-spreads."""
    ticks = 390
    print("| bars | half-spread (bps) | estimates (bps) | standard deviation |\n|---|---|---|---|")
    for bars, deviation, spread in ((500, 0.02, 0.0), (500, 0.02, 10.0), (500, 0.02, 50.0), (2000, 0.001, 1.0)):
        random = stream(seed, bars, f"spread {deviation} {spread}")
        found = []
        for _ in range(runs):
            walk = np.cumsum(random.normal(0, deviation / np.sqrt(ticks), bars * ticks))
            prices = np.exp(walk + spread / 1e4 * random.choice([-1, 1], bars * ticks)).reshape(bars, ticks)
            found.append(_estimate(prices[:, 0], prices.max(axis=1), prices.min(axis=1), prices[:, -1]))
        print(f"| {bars:,} of {deviation:.1%} | {spread:g} | {np.mean(found):.1f} | {np.std(found):.1f} |", flush=True)
    for symbol in ("AAPL", "AMZN", "GOOGL", "IBM", "MSFT", "NVDA"):
        (bars_of_symbol,), _ = load_bars(DataSettings(source="embedded", symbols=(symbol,)))
        found_here = half_spreads([bars_of_symbol], "auto", before=np.datetime64("2100-01-01"))[symbol]
        print(f"| {symbol}, {len(bars_of_symbol.frame):,} daily | unknown | {found_here:.1f} | |", flush=True)


def _estimate(opened: Floats, high: Floats, low: Floats, close: Floats) -> float:
    index = pd.date_range("2000-01-01", periods=len(close), freq="h", name="date")
    prices = {"open": opened, "high": high, "low": low, "close": close, "volume": np.ones(len(close))}
    bars = Bars("A", pd.DataFrame(prices, index=index), "none")
    return half_spreads([bars], "auto", before=np.datetime64("2100-01-01"))["A"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a simulation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("simulation", choices=("deflated", "bounce", "spreads"))
    parser.add_argument("--runs", type=int, default=150, help="runs of each size")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    print(machine_line())
    if options.simulation == "deflated":
        deflated(options.runs, options.seed, options.kinds)
    else:
        {"bounce": bounce, "spreads": spreads}[options.simulation](options.runs, options.seed)


if __name__ == "__main__":
    main()
