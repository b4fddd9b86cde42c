"""Selection bias that results from choosing the best of many trials, estimated from the validation predictions of all trials."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.trades import TRADED
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation import (
    Dependence,
    Excess,
    Market,
    Overfitting,
    Returns,
    TradingRules,
    deflated_sharpe,
    goes_long,
    sharpe,
)
from cnn_lstm_hyperopt.evaluation.overfitting import BLOCKS, blocks_of, overfitting_of_blocks
from cnn_lstm_hyperopt.metrics import METRICS, as_scored, class_weights, decided
from cnn_lstm_hyperopt.utils.rng import stream

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class TrialSeries:
    """Statistics of all trials, computed on the validation windows of all folds.

    Attributes:
        numbers: numbers of the trials whose predictions were read.
        missing: numbers of the trials whose predictions are missing, are damaged or belong to other windows.
        of: name of the score by which the trials are compared, which is the study's metric.
        overfitting: estimate of the probability of backtest overfitting.
        returns: returns of a long/flat strategy with each trial's predictions; None if the classes are not directions.
        excess: the same strategies minus holding at their mean exposure; None if the classes are not directions.
    """

    numbers: tuple[int, ...]
    missing: tuple[int, ...]
    of: str
    overfitting: Overfitting
    returns: tuple[Returns, ...] | None
    excess: tuple[Excess, ...] | None = None


@dataclass(frozen=True)
class DeflatedSharpe:
    """Deflated Sharpe ratio of the selected trial's strategy on validation.

    Attributes:
        trial_number: number of the selected trial.
        n_trials: number of finished trials, including pruned ones.
        sharpe: Sharpe ratio of the strategy, not annualised; None for constant returns.
        annual_sharpe: annualised Sharpe ratio of the strategy; None for constant returns and for integer dates.
        deflated: probability that the true Sharpe ratio of the excess exceeds the expected maximum of ``n_trials`` trials
            without skill; None if the probability is unknown.
        exposure: mean position of the strategy.
        excess_sharpe: Sharpe ratio of the strategy minus holding at its mean exposure, not annualised; None for constant
            returns.
        excess_annual_sharpe: ``excess_sharpe``, annualised; None for constant returns and for integer dates.
    """

    trial_number: int
    n_trials: int
    sharpe: float | None
    annual_sharpe: float | None
    deflated: float | None
    exposure: float
    excess_sharpe: float | None
    excess_annual_sharpe: float | None


def read_trials(
    folder: Path,
    numbers: Collection[int],
    dataset: Dataset,
    *,
    metric: str,
    rules: TradingRules,
    beats_chance: bool = True,
    balances_classes: bool = False,
) -> TrialSeries | None:
    """Read the validation predictions of trials and return statistics of these trials; None if no predictions can be read.

    Args:
        folder: directory ``validation/``, with one file of predictions for each trial.
        numbers: numbers of the trials to read.
        dataset: dataset with the validation windows of the predictions.
        metric: the study's metric.
        rules: trading rules of the strategies.
        beats_chance: True if at least one trial beats chance. If no trial beats chance, the probability of overfitting is
            unknown, because it compares trials with each other and not with chance.
        balances_classes: True if the trials predict classes with decision weights, see :func:`.class_weights`.
    """
    validation = [fold.validation for fold in dataset.folds]
    labels = [each.labels.numpy() for each in validation]
    weights = _decision_weights(dataset) if balances_classes else [None] * len(validation)
    ends = np.cumsum([len(each) for each in labels])
    kind, unit, n_units = _units(validation)
    block = np.split(blocks_of(n_units)[unit], ends[:-1])
    traded = _Traded.of(validation, rules) if dataset.target == TRADED else None
    found: list[int] = []
    statistics: list[Floats] = []
    returns: list[Returns] = []
    excess: list[Excess] = []
    for number in sorted(numbers):
        probabilities = _probabilities(folder / f"trial_{number:05d}.parquet", int(ends[-1]))
        if probabilities is None:
            continue
        found.append(number)
        parts = [*zip(np.split(probabilities, ends[:-1]), weights, strict=True)]
        scored = zip(labels, [as_scored(metric, *part) for part in parts], block, strict=True)
        statistics.append(np.sum([METRICS[metric].block_statistics(*fold, BLOCKS) for fold in scored], axis=0))
        if traded is not None:
            up = goes_long(np.concatenate([decided(*part) for part in parts]))[traded.once]
            returns.append(traded.market.strategy(up))
            excess.append(traded.market.excess(up))
    if not found:
        return None
    overfitting = overfitting_of_blocks(METRICS[metric].block_scores, np.stack(statistics), n_units, unit=kind)
    return TrialSeries(
        numbers=tuple(found),
        missing=tuple(sorted(set(numbers) - set(found))),
        of=METRICS[metric].measured,
        overfitting=overfitting if beats_chance else overfitting.unknown("no trial beats chance"),
        returns=None if traded is None else tuple(returns),
        excess=None if traded is None else tuple(excess),
    )


def _decision_weights(dataset: Dataset) -> list[Floats | None]:
    """Return the decision weights of the trials' networks, for each fold."""
    return [class_weights(fold.train.labels.numpy(), dataset.n_classes) for fold in dataset.for_trials().folds]


def _units(validation: Sequence[Windows]) -> tuple[str, Integers, int]:
    """Return the units from which blocks are formed.

    The units are groups in random order if there are groups, else dates in time order if there are dates, else windows in
    random order.

    Returns:
        The kind of the units; the number of each window's unit, (windows,); the number of units.
    """
    groups = [each.groups for each in validation if each.groups is not None]
    if len(groups) == len(validation):
        units = Dependence.by_group(np.concatenate(groups))
    elif all(each.dated for each in validation):
        units = Dependence.by_date(np.concatenate([each.dates for each in validation]))
    else:
        units = Dependence.independent(sum(map(len, validation)))
    unit = units.unit
    if units.kind in ("groups", "windows"):  # the order of files or groups may depend on the class
        unit = stream(0, 0, "blocks of overfitting").permutation(units.n_units)[unit]
    return units.kind, unit, units.n_units


class _Traded(NamedTuple):
    """Validation windows that a strategy trades. Each window occurs once.

    Attributes:
        once: positions of these windows among the windows of all folds. If a window is in several combinatorial folds, the
            position in the first fold is used.
        market: trading decisions in these windows.
    """

    once: Integers
    market: Market

    @classmethod
    def of(cls, validation: Sequence[Windows], rules: TradingRules) -> "_Traded | None":
        """Return the windows that have a trade, or None if no window has a trade."""
        known = [each.traded for each in validation if each.traded is not None]
        if len(known) < len(validation):
            return None
        dates = np.concatenate([each.dates for each in validation])
        symbols = np.concatenate([each.symbols for each in validation])
        who, day = (np.unique(marks, return_inverse=True)[1] for marks in (symbols, dates))
        once = np.unique(np.stack([day, who]), axis=1, return_index=True)[1]
        market = Market.of(np.concatenate(known)[once], dates[once], symbols[once], rules)
        return None if market is None else cls(once, market)


def _probabilities(path: Path, n_windows: int) -> NDArray[np.floating] | None:
    """Return the probabilities in a file, ``(windows, classes)``.

    Return None if the file is missing, is damaged or belongs to other windows.
    """
    try:
        with path.open("rb") as file:  # Arrow might read a path as a URI
            names = [name for name in pq.read_schema(file).names if name.startswith("probability_")]
            table = pq.read_table(file, columns=names)
    except (OSError, pa.ArrowException):
        return None
    if table.num_rows != n_windows or not names:
        return None
    others = np.column_stack([column.to_numpy() for column in table.columns])
    return np.column_stack([1 - others.sum(axis=1), others])


def deflated(series: TrialSeries, chosen: int | None, *, n_trials: int) -> DeflatedSharpe | None:
    """Return the deflated Sharpe ratio of the trial ``chosen`` out of ``n_trials`` trials, or None if the trial has no returns.

    The ratio is that of the excess over holding, so that the drift of the market does not count as skill.
    """
    if series.returns is None or series.excess is None or chosen is None or chosen not in series.numbers:
        return None
    place = series.numbers.index(chosen)
    own, excess = series.returns[place], series.excess[place]
    sharpes = [ratio for ratio in (sharpe(each.returns.returns) for each in series.excess) if ratio is not None]
    return DeflatedSharpe(
        trial_number=chosen,
        n_trials=n_trials,
        sharpe=own.sharpe,
        annual_sharpe=own.annual_sharpe,
        deflated=deflated_sharpe(excess.returns.returns, sharpes, max(n_trials, len(sharpes))),
        exposure=excess.exposure,
        excess_sharpe=excess.returns.sharpe,
        excess_annual_sharpe=excess.returns.annual_sharpe,
    )
