"""Do sample weights by uniqueness (López de Prado 2018, ch. 4) improve models of overlapping labels?

The uniqueness of a label is the mean, over its bars, of 1 / number of labels of the symbol that use this bar. Logistic regression
and gradient boosting are fitted with and without these weights, in four walk-forward periods of the embedded bars.

    python benchmarks/evaluation_uniqueness.py
"""

import os
import sys

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.labels import labeller
from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource
from cnn_lstm_hyperopt.metrics import score
from evaluation_skill import SYMBOLS, Floats, summaries

PERIODS, FIRST, LENGTH = 4, 0.5, 0.12
"""Number of periods, and share of the dates before the first period and in each period."""


def uniqueness(settings: DataSettings, dates: NDArray[np.datetime64], symbols: NDArray[np.str_]) -> Floats:
    """Average uniqueness of the label of each window, ``(windows,)``."""
    found = np.full(len(dates), np.nan)
    for bars in EmbeddedSource().load(tuple(np.unique(symbols)), None, None)[0]:
        labels, n = labeller(settings).label(bars.frame.astype(float)), len(bars.frame)
        first = np.flatnonzero(labels.valid) + 1
        end = first + labels.reach[labels.valid]
        count = np.cumsum(np.bincount(first, minlength=n + 1) - np.bincount(end, minlength=n + 1))
        shares = np.concatenate([[0.0], np.cumsum(1 / np.maximum(count, 1))])
        mean = dict(zip(bars.frame.index[labels.valid], (shares[end] - shares[first]) / (end - first), strict=True))
        own = symbols == bars.symbol
        found[own] = [mean[date] for date in dates[own]]
    return found


def main() -> int:
    """Print the table."""
    print(
        "| labels | weights, 1 % to 99 % | weighted minus unweighted log loss: logistic regression | gradient boosting |"
    )
    print("|---|---|---|---|")
    for target, horizon in (("triple_barrier", 5), ("triple_barrier", 20), ("direction", 5), ("direction", 20)):
        data = {"source": "embedded", "symbols": SYMBOLS, "target": target, "horizon": horizon}
        settings = load_settings({"data": data}, {}).data
        dataset = prepare_dataset(settings)
        parts = dataset.train, dataset.validation
        x, dates = (np.concatenate(each) for each in zip(*((summaries(p), p.dates) for p in parts), strict=True))
        y, symbols = (np.concatenate(each) for each in zip(*((p.labels, p.symbols) for p in parts), strict=True))
        weights, days = uniqueness(settings, dates, symbols), np.unique(dates)
        gains = []
        for period in range(PERIODS):
            start, end = (int(len(days) * (FIRST + LENGTH * (period + each))) for each in (0, 1))
            train = dates < days[start - horizon]
            test = (dates >= days[start]) & (dates < days[min(end, len(days) - 1)])
            scaled = (x - x[train].mean(axis=0)) / (x[train].std(axis=0) + 1e-9)
            own = weights[train] / weights[train].mean()
            for model in (
                LogisticRegression(C=0.003, max_iter=300),
                HistGradientBoostingClassifier(max_iter=40, learning_rate=0.05, max_leaf_nodes=8, random_state=0),
            ):
                losses = [
                    -score("log_loss", y[test], model.fit(scaled[train], y[train], each).predict_proba(scaled[test]))
                    for each in (own, None)
                ]
                gains.append(losses[0] - losses[1])
        low, high = np.quantile(weights / weights.mean(), [0.01, 0.99])
        cells = [" ".join(f"{gain:+.4f}" for gain in gains[model::2]) for model in (0, 1)]
        print(f"| {target}, horizon {horizon} | {low:.2f} to {high:.2f} | {cells[0]} | {cells[1]} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
