"""Are the baselines strong? On real bars, and on simulated markets whose signal ridge regression captures completely.

``bars`` fits all baselines on the embedded bars and prints their log loss on the test windows, with the interval of the
difference from logistic regression.

``signal`` simulates markets in which ln range is a linear function of earlier ln ranges (HAR, Corsi 2009) plus normal noise, so
that the true probability of each class is known. The table shows the log loss of logistic and ridge regression above that of the
true probabilities, and how often three models are better than these baselines: a small neural network (mean of three seeds,
early stopping on validation) with the inputs of a window, the same network that also knows the columns of ridge regression, and
the true probabilities.

    python benchmarks/evaluation_baselines.py bars
    python benchmarks/evaluation_baselines.py signal --seeds 20
"""

import argparse
import os
import time
from collections.abc import Mapping
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import ndtr

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.bars import Bars, normalise_bars
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.evaluation import Dependence, Grade, baselines, judge, paired_interval
from cnn_lstm_hyperopt.metrics import score
from cnn_lstm_hyperopt.pipeline.baseline_forecasts import baseline_forecasts
from cnn_lstm_hyperopt.utils.rng import stream
from machine import machine_line

Floats = NDArray[np.float64]
SYMBOLS = ["AAPL", "IBM", "MSFT", "NVDA", "AMZN"]
DEMO = {"start": "2000-03-01", "end": "2013-03-01"}
REAL: dict[str, Mapping[str, Any]] = {
    "volatility, demo (lookback 30)": {**DEMO, "lookback": 30},
    "volatility, demo dates": DEMO,
    "volatility, all dates": {},
    "volatility, demo dates, horizon 5": {**DEMO, "horizon": 5},
    "direction, demo dates": {**DEMO, "target": "direction"},
    "triple barrier, demo dates, horizon 10": {**DEMO, "target": "triple_barrier", "horizon": 10},
}
WEIGHTS = {1: 0.25, 5: 0.3, 22: 0.3}
"""Weights of the mean ln ranges in the simulated markets."""
NOISE, USUAL = 0.35, -4.2
"""Deviation of the noise of ln range, and mean ln range (1.5 %)."""


def bars() -> None:
    """Print a table for each dataset of real bars."""
    for title, data in REAL.items():
        settings = {"source": "embedded", "symbols": SYMBOLS, "target": "volatility", "lookback": 60, **data}
        dataset = prepare_dataset(load_settings({"data": settings}, {}).data)
        test, began = dataset.test.open(), time.perf_counter()
        found = baseline_forecasts(dataset, (dataset.train, dataset.validation, test), seed=0).probabilities
        print(f"\n{title}: {len(dataset.train):,} training and {len(test):,} test windows", end="")
        print(
            f", {time.perf_counter() - began:.0f} s\n\n| baseline | log loss | accuracy | gain over logistic regression |"
        )
        print("|---|---|---|---|")
        labels, dependence = test.labels.numpy(), Dependence.of(test, horizon=dataset.horizon)
        for each, said in found.items():
            interval = paired_interval("log_loss", labels, said, found["logistic regression"], dependence)
            gain = "–" if each == "logistic regression" or interval is None else "{:+.4f} to {:+.4f}".format(*interval)
            print(
                f"| {each} | {-score('log_loss', labels, said):.4f} | {score('accuracy', labels, said):.4f} | {gain} |"
            )


def simulated(symbol: str, n_bars: int, rng: np.random.Generator) -> tuple[Bars, Floats]:
    """Return bars whose ln range follows a HAR model, and the expected ln range of the bar after each bar."""
    ranges = np.full(n_bars, USUAL)
    expected = np.full(n_bars, USUAL)
    for t in range(22, n_bars):
        ranges[t] = expected[t - 1] + NOISE * rng.normal()
        means = sum(weight * ranges[t - span + 1 : t + 1].mean() for span, weight in WEIGHTS.items())
        expected[t] = (1 - sum(WEIGHTS.values())) * USUAL + means
    size = np.exp(ranges)
    open_at, close_at = rng.random((2, n_bars))
    low = np.cumsum((close_at - open_at) * size) - close_at * size  # each bar opens at the last close
    index = pd.bdate_range("2000-01-03", periods=n_bars, name="date")
    prices = {"open": low + open_at * size, "high": low + size, "low": low, "close": low + close_at * size}
    frame = pd.DataFrame({name: 50 * np.exp(values) for name, values in prices.items()}, index=index)
    return normalise_bars(symbol, frame.assign(volume=1e6).reset_index(), "simulated"), expected


def true_probabilities(dataset: Dataset, expected: Mapping[str, pd.Series]) -> Floats:
    """Return the true probabilities of the classes on the test windows, (windows, 2)."""
    test = dataset.test.open()
    rows = test.starts.numpy() + dataset.lookback - 1
    of_next = np.array([expected[name][when] for name, when in zip(test.symbols, test.dates, strict=True)])
    above = ndtr((of_next - dataset.market.level[rows]) / NOISE)
    return np.column_stack([1 - above, above])


def network(dataset: Dataset, seed: int, *, with_market: bool) -> Floats:
    """Return the test probabilities of a small network, the mean of three seeds, (windows, 2)."""
    parts = []
    for windows in (dataset.train, dataset.validation, dataset.test.open()):
        inputs = windows.gather(torch.arange(len(windows))).reshape(len(windows), -1)
        rows = windows.starts.numpy() + dataset.lookback - 1
        columns = torch.from_numpy(dataset.market.columns[rows])
        parts.append((torch.cat([inputs, columns], dim=1) if with_market else inputs, windows.labels))
    (x, y), (held, truth), (test, _) = parts
    said = []
    for run in range(3):
        torch.manual_seed(1000 * seed + run)
        net = torch.nn.Sequential(torch.nn.Linear(x.shape[1], 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.1)
        lowest, best = float("inf"), torch.zeros(0)
        for _ in range(15):
            for batch in torch.randperm(len(x)).split(128):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
                optimizer.step()
            with torch.no_grad():
                loss = float(torch.nn.functional.cross_entropy(net(held), truth))
                if loss < lowest:
                    lowest, best = loss, net(test).softmax(dim=1)
        said.append(best.double().numpy())
    return np.mean(said, axis=0)


def signal(seeds: int, n_bars: int) -> None:
    """Print the table of the simulated markets."""
    settings = load_settings(
        {"data": {"target": "volatility", "lookback": 30, "symbols": ["A", "B", "C", "D", "E"]}}, {}
    ).data
    for name in set(baselines.BASELINES) - {"majority class", "logistic regression", "ridge regression"}:
        del baselines.BASELINES[name]  # the others are slow, and ridge regression captures the signal
    better: dict[str, int] = {}
    above: dict[str, list[float]] = {}
    for seed in range(seeds):
        rng = stream(seed, 0, "simulated markets")
        made = {name: simulated(name, n_bars, rng) for name in "ABCDE"}
        dataset = prepare_dataset(settings, ([each for each, _ in made.values()], []))
        expected = {name: pd.Series(values, index=each.frame.index) for name, (each, values) in made.items()}
        test = dataset.test.open()
        simple = baseline_forecasts(dataset, (dataset.train, dataset.validation, test), seed=seed).probabilities
        models = {
            "network": network(dataset, seed, with_market=False),
            "network with the columns of ridge regression": network(dataset, seed, with_market=True),
            "true probabilities": true_probabilities(dataset, expected),
        }
        labels, dependence = test.labels.numpy(), Dependence.of(test, horizon=1)
        truth = score("log_loss", labels, models["true probabilities"])
        for name, said in {**models, **simple}.items():
            above.setdefault(name, []).append(truth - score("log_loss", labels, said))
        for name, said in models.items():
            grade = judge("log_loss", labels, said, simple, dependence).grade
            better[name] = better.get(name, 0) + (grade is Grade.BETTER)
    print(f"\n{seeds} simulated markets of 5 symbols × {n_bars:,} bars\n")
    print("| forecast | log loss above that of the true probabilities | better than these baselines |")
    print("|---|---|---|")
    for name, found in above.items():
        spread = f"{np.mean(found):+.4f} ± {np.std(found, ddof=1) / np.sqrt(seeds):.4f}"
        print(f"| {name} | {spread} | {f'{better[name]} of {seeds}' if name in better else ''} |")


def main() -> None:
    """Run the simulation that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["bars", "signal"])
    parser.add_argument("--seeds", type=int, default=20, help="number of simulated markets")
    parser.add_argument("--bars", type=int, default=3000, help="bars of a symbol")
    options = parser.parse_args()
    print(machine_line())
    if options.what == "bars":
        bars()
    else:
        signal(options.seeds, options.bars)


if __name__ == "__main__":
    main()
