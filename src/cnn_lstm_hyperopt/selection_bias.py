"""What choosing the best of many trials does: statistics of all trials' predictions on validation."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.evaluation import (
    Overfitting,
    deflated_sharpe,
    probability_of_backtest_overfitting,
    sharpe,
    strategy_returns,
)


@dataclass(frozen=True, eq=False)
class TrialSeries:
    """What the trials said of the validation windows (with several folds: of all of them, fold after fold).

    Attributes:
        numbers: ``(trials,)``.
        classes: ``(windows, trials)`` int8, the most probable one.
    """

    numbers: tuple[int, ...]
    classes: NDArray[np.int8]


@dataclass(frozen=True)
class DeflatedSharpe:
    """The strategy of the trial that was chosen, on validation, where it was chosen: every trial counts.

    Attributes:
        trial_number: the one that is judged.
        n_trials: all that were finished, out of which it was chosen.
        sharpe: of a period; None for constant returns.
        annual_sharpe: None where dates are mere integers, too.
        deflated: probability that the true Sharpe ratio is above what luck gives the best of so many; None: not known.
    """

    trial_number: int
    n_trials: int
    sharpe: float | None
    annual_sharpe: float | None
    deflated: float | None


@dataclass(frozen=True)
class SelectionBias:
    """Statistics of all trials together.

    Attributes:
        overfitting: probability of backtest overfitting, of the accuracy by date.
        strategy: of the chosen trial, where classes are directions and there is one.
    """

    overfitting: Overfitting
    strategy: DeflatedSharpe | None


def read_series(folder: Path, numbers: Collection[int]) -> TrialSeries | None:
    """The predictions of these trials, as far as ``folder`` (``validation/``) has them; None without any."""
    found: list[int] = []
    columns: list[NDArray[np.int8]] = []
    for path in sorted(folder.glob("trial_*.parquet")):
        number = int(path.stem.removeprefix("trial_"))
        if number not in numbers:
            continue
        names = [name for name in pq.read_schema(path).names if name.startswith("probability_")]
        others = np.column_stack([column.to_numpy() for column in pq.read_table(path, columns=names).columns])
        probabilities = np.column_stack([1 - others.sum(axis=1), others])
        found.append(number)
        columns.append(probabilities.argmax(axis=1).astype(np.int8))
    return TrialSeries(tuple(found), np.column_stack(columns)) if found else None


def selection_bias(
    series: TrialSeries, dataset: Dataset, *, chosen: int | None, n_trials: int, cost_bps: float
) -> SelectionBias:
    """What is known of the choice of trial ``chosen`` out of ``n_trials`` (None: nothing was chosen)."""
    validation = [fold.validation for fold in dataset.folds]
    labels = np.concatenate([windows.labels.numpy() for windows in validation])
    dates = np.concatenate([windows.dates for windows in validation])
    _, day, counts = np.unique(dates, return_inverse=True, return_counts=True)
    order = np.argsort(day, kind="stable")
    hits = (series.classes == labels[:, None])[order]
    firsts = np.cumsum(counts) - counts
    sums = np.add.reduceat(hits, firsts, axis=0, dtype=np.float64)
    overfitting = probability_of_backtest_overfitting(sums, counts.astype(np.float64))
    if dataset.target != "direction" or not dataset.has_regression or chosen is None or chosen not in series.numbers:
        return SelectionBias(overfitting, None)

    values = np.concatenate([windows.values.numpy() for windows in validation if windows.values is not None])
    symbols = np.concatenate([windows.symbols for windows in validation])
    once = np.unique(np.stack([day, np.unique(symbols, return_inverse=True)[1]]), axis=1, return_index=True)[1]
    up = (series.classes == dataset.n_classes - 1).astype(np.float64)
    facts: dict[str, Any] = {"horizon": dataset.horizon, "cost_bps": cost_bps}
    returns = [
        strategy_returns(up[once, place], values[once], dates[once], symbols[once], **facts)
        for place in range(len(series.numbers))
    ]
    own = returns[series.numbers.index(chosen)]
    sharpes = [ratio for ratio in (sharpe(each.returns) for each in returns) if ratio is not None]
    return SelectionBias(
        overfitting,
        DeflatedSharpe(
            trial_number=chosen,
            n_trials=n_trials,
            sharpe=own.sharpe,
            annual_sharpe=own.annual_sharpe,
            deflated=deflated_sharpe(own.returns, sharpes, max(n_trials, len(sharpes))),
        ),
    )
