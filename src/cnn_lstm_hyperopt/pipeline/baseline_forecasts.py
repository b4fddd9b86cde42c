"""Baselines fitted on a dataset, and their forecasts, computed in parts that fit into memory."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.splits import spread_positions
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation import (
    BASELINES,
    OwnForecast,
    Sample,
    earlier_windows,
    fit_baselines,
    last_labels,
    last_values,
    not_installed,
    recent_counts,
)
from cnn_lstm_hyperopt.evaluation.baselines.base import Baseline

BASELINE_WINDOWS, BASELINE_NUMBERS = 50_000, 150_000_000
"""Maximum number of windows that baselines process at once, and maximum number of inputs in these windows."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BaselineForecasts:
    """Forecasts of the baselines for a set of windows.

    Attributes:
        probabilities: class probabilities ``(windows, classes)`` by name of the baseline. The majority class is first.
        values: forecasts ``(windows,)`` of the regression target by name of the baseline, for baselines that forecast it.
        n_training_windows: number of training windows that the baselines used.
        not_installed: names of baselines that are missing because their packages are not installed.
    """

    probabilities: dict[str, Floats]
    values: dict[str, NDArray[np.float32]]
    n_training_windows: int
    not_installed: tuple[str, ...] = ()

    @property
    def references(self) -> dict[str, NDArray[np.float32]]:
        """Forecasts of the regression target, by name of the forecast, such as ``training mean``."""
        named = {name: BASELINES[name].value_name for name in self.values if name in BASELINES}
        return {named.get(name, name): each for name, each in self.values.items()}

    def joined_by(self, name: str, forecast: OwnForecast) -> "BaselineForecasts":
        """Return a copy with the forecasts of one of the user's baselines, which has this name."""
        values = {} if forecast.values is None else {name: forecast.values.astype(np.float32)}
        return replace(
            self,
            probabilities={**self.probabilities, name: forecast.probabilities},
            values={**self.values, **values},
        )

    def with_rows(self, there: NDArray[np.int64], other: "BaselineForecasts") -> "BaselineForecasts":
        """Return a copy in which the forecasts at the positions ``there`` are replaced by the last rows of other forecasts.

        If a baseline is missing in the other forecasts, its forecasts stay unchanged. An example is persistence without a
        known label.
        """

        def merged(mine: Mapping[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
            return {
                name: replaced(whole, there, theirs[name][-len(there) :]) if name in theirs else whole
                for name, whole in mine.items()
            }

        return replace(
            self,
            probabilities=merged(self.probabilities, other.probabilities),
            values=merged(self.values, other.values),
        )


def window_limit(dataset: Dataset, windows: int, numbers: int) -> int:
    """Return the maximum number of windows so that there are at most ``windows`` windows with at most ``numbers`` inputs."""
    return max(1, min(windows, numbers // (dataset.lookback * len(dataset.feature_names))))


def baseline_forecasts(
    dataset: Dataset,
    splits: tuple[Windows, Windows, Windows],
    *,
    seed: int,
    kinds: Mapping[str, type[Baseline]] | None = None,
    training_limit: int | None = None,
) -> BaselineForecasts:
    """Fit baselines on training windows, tune them on validation windows, and return their forecasts for all test windows.

    Args:
        dataset: the dataset of the windows.
        splits: training, validation and test windows of one series. The labels that are known at the end of a window may
            belong to windows of any split.
        seed: seed of the baselines' random choices.
        kinds: baselines by name; None: all of :data:`.BASELINES`.
        training_limit: maximum number of training windows. None: as many as baselines process at once.
    """
    samples = _Samples(dataset, splits)
    limit = window_limit(dataset, BASELINE_WINDOWS, BASELINE_NUMBERS)
    limits = limit if training_limit is None else training_limit, limit
    train, validation = (samples.of(part, spread_positions(len(splits[part]), limits[part])) for part in (0, 1))
    baselines = fit_baselines(train, validation, n_classes=dataset.n_classes, seed=seed, kinds=kinds)
    probabilities: dict[str, list[Floats]] = {name: [] for name in baselines}
    values: dict[str, list[Floats]] = {name: [] for name in baselines}
    lacking = set(baselines)
    for first in range(0, len(splits[2]), limit):
        test = samples.of(2, np.arange(first, min(first + limit, len(splits[2]))))
        for name, baseline in baselines.items():
            probabilities[name].append(baseline.probabilities(test))
            if (found := baseline.values(test)) is not None:
                values[name].append(found)
            if baseline.lacks(test) is None:
                lacking.discard(name)
    return BaselineForecasts(
        {name: np.concatenate(parts) for name, parts in probabilities.items() if name not in lacking},
        {
            name: np.concatenate(parts).astype(np.float32)
            for name, parts in values.items()
            if parts and name not in lacking
        },
        len(train),
        not_installed(train, kinds),
    )


def replaced(whole: NDArray[Any], there: NDArray[np.int64], part: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of the array ``whole`` in which the rows ``there`` are replaced by ``part``."""
    found = whole.copy()
    found[there] = part
    return found


class _Samples:
    """Samples of the windows of three splits, with the labels and values that are known at the end of each window."""

    def __init__(self, dataset: Dataset, splits: tuple[Windows, Windows, Windows]) -> None:
        self._dataset, self._splits = dataset, splits
        self._offsets = np.cumsum([0, *(len(part) for part in splits)])
        names = np.concatenate([part.symbols for part in splits])
        self._symbols = np.unique(names, return_inverse=True)[1]  # numbers compare faster than names
        self._starts = np.concatenate([part.starts.numpy() for part in splits])
        self._labels = np.concatenate([part.labels.numpy() for part in splits])
        values = [part.values.numpy().astype(np.float64) for part in splits if part.values is not None]
        self._values = np.concatenate(values) if len(values) == len(splits) else None
        # windows of DataLoaders share no rows, so their order is unknown
        nothing = np.full(len(self._starts), -1)
        self._earlier = (
            nothing if dataset.from_loaders else earlier_windows(self._symbols, self._starts, dataset.horizon)
        )

    def of(self, part: int, chosen: NDArray[np.int64]) -> Sample:
        """Return the windows at the positions ``chosen`` of a split, as a sample for baselines."""
        dataset, windows, here = self._dataset, self._splits[part], self._offsets[part] + chosen
        earlier, values = self._earlier[here], self._values
        return Sample(
            inputs=windows.gather(torch.from_numpy(chosen)).numpy(),
            labels=self._labels[here],
            last_labels=last_labels(self._labels, earlier),
            recent=None
            if dataset.from_loaders
            else recent_counts(self._symbols, self._starts, self._labels, dataset.horizon, dataset.n_classes, here),
            values=None if values is None else values[here],
            last_values=None if values is None else last_values(values, earlier),
            market=dataset.market,
            rows=None if dataset.market is None else self._starts[here] + dataset.lookback - 1,
        )
