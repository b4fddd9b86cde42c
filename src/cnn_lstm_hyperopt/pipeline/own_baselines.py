"""A user's baselines on the windows of a dataset: forecasts, and a check before the first trial."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.splits import spread_positions
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation import BaselineWindows, OwnForecast, own_forecast
from cnn_lstm_hyperopt.pipeline.baseline_forecasts import (
    BASELINE_NUMBERS,
    BASELINE_WINDOWS,
    window_limit,
)

CHECKED_WINDOWS = 100
"""Number of windows of each part in the check before the first trial. There are more if a class would have no window."""
Parts = tuple[Windows, Windows, Windows]


def check_own_baselines(settings: Settings, dataset: Dataset) -> None:
    """Check each of the user's baselines on a few windows: training windows to fit, and validation windows to forecast.

    Raises:
        DataError: a baseline violates a rule; see :func:`.own_forecast`.
    """
    few = _few(dataset.train), _few(dataset.validation)
    for reference in settings.evaluation.baselines:
        forecasts_of(reference, dataset, (*few, few[1]), settings, check=True)


def forecasts_of(
    reference: str, dataset: Dataset, parts: Parts, settings: Settings, *, check: bool = False
) -> OwnForecast:
    """Return the forecasts of a user's baseline for the test windows, after a fit on the training windows.

    Args:
        reference: name of the function, as ``module:function``.
        dataset: the dataset of the windows.
        parts: training, validation and test windows. Labels and values of the test windows are not used. The baseline gets as
            many training and validation windows as the built-in baselines.
        settings: seed of the study, and the time limit.
        check: True if a forecast is to be compared with a second forecast of fewer windows.

    Raises:
        DataError: the baseline violates a rule; see :func:`.own_forecast`.
    """
    limit = window_limit(dataset, BASELINE_WINDOWS, BASELINE_NUMBERS)
    fitted = [each.subset(spread_positions(len(each), limit)) if len(each) > limit else each for each in parts[:2]]
    given = baseline_windows(dataset, [*fitted, parts[2]], settings.study.seed)
    train, validation, test = _without_later_rows(given)
    hidden = replace(test, labels=None, values=None)
    return own_forecast(reference, train, validation, hidden, seconds=settings.evaluation.baseline_seconds, check=check)


def _few(windows: Windows) -> Windows:
    """Return a few evenly spread windows, and a window of each class that these windows do not have."""
    labels = windows.labels.numpy()
    spread = spread_positions(len(windows), CHECKED_WINDOWS)
    _, first = np.unique(labels, return_index=True)
    missing = first[~np.isin(labels[first], labels[spread])]
    return windows.subset(np.sort(np.concatenate([spread, missing])))


def baseline_windows(dataset: Dataset, parts: Sequence[Windows], seed: int) -> list[BaselineWindows]:
    """Return the windows in the form for users. Windows that share a series share it in the result, too."""
    series = {id(each.series): each.series.numpy() for each in parts}
    market = dataset.market
    found = []
    for windows in parts:
        starts = windows.starts.numpy()
        found.append(
            BaselineWindows(
                labels=windows.labels.numpy(),
                values=None if windows.values is None else windows.values.numpy().astype(np.float64),
                dates=windows.dates,
                symbols=windows.symbols,
                edges=None if market is None else market.class_edges(starts + windows.lookback - 1),
                class_names=dataset.class_names,
                feature_names=tuple(dataset.feature_names),
                value_name=dataset.value_name,
                target=dataset.target,
                lookback=windows.lookback,
                horizon=dataset.horizon,
                seed=seed,
                _starts=starts,
                _series=series[id(windows.series)],
                _segment=None if market is None else market.segment,
                _prices=None if market is None else market.prices,
            )
        )
    return found


def _without_later_rows(parts: list[BaselineWindows]) -> list[BaselineWindows]:
    """Return the windows without the rows after the last window of each segment.

    So bars that no window needs, such as those of the test set during the check, never reach the user's function.
    """
    segment, prices = parts[0]._segment, parts[0]._prices
    if segment is None:
        return parts
    last = np.full(int(segment.max(initial=-1)) + 1, -1)
    for each in parts:
        ends = each._starts + each.lookback - 1
        np.maximum.at(last, segment[ends], ends)
    known = np.arange(len(segment)) <= last[segment]
    place: NDArray[np.int64] = np.cumsum(known) - 1
    rows: dict[str, Any] = {"_series": parts[0]._series[known], "_segment": segment[known]}
    rows["_prices"] = None if prices is None else prices[known]
    return [replace(each, _starts=place[each._starts], **rows) for each in parts]
