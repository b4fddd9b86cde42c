"""Estimate of the power of the test set before the search, from two quick baselines on the validation windows."""

import numpy as np
import torch

from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.splits import evenly_spread
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation import UNKNOWN, Dependence, Power, Sample, smallest_differences
from cnn_lstm_hyperopt.evaluation.baselines.boosting import GradientBoosting
from cnn_lstm_hyperopt.evaluation.baselines.logistic import LogisticBaseline

MAX_WINDOWS, MAX_NUMBERS = 10_000, 30_000_000
"""Maximum number of windows of a split, and maximum number of inputs in these windows."""


class _QuickBoosting(GradientBoosting):
    """Gradient boosting with fewer trees. The estimate needs only the spread of the forecasts, not the best score."""

    MAX_TREES = 50


def estimate_power(dataset: Dataset, *, seed: int) -> Power:
    """Return the smallest differences between two models that the test set will probably show as significant.

    Logistic regression and gradient boosting are fitted on training windows and compared on validation windows. The test set
    stays locked. Only the number, the dates and the groups of its windows are used.
    """
    limit = max(1, min(MAX_WINDOWS, MAX_NUMBERS // (dataset.lookback * len(dataset.feature_names))))
    parts = [
        part.subset(evenly_spread(len(part), min(1.0, limit / len(part))))
        for part in (dataset.train, dataset.validation)
    ]
    train, validation = (_sample(part) for part in parts)
    forecasts = []
    for baseline in (LogisticBaseline(), _QuickBoosting()):
        baseline.fit(train, validation, n_classes=dataset.n_classes, seed=seed)
        forecasts.append(baseline.probabilities(validation))
    first, second = forecasts
    before, after = (Dependence.of(part, horizon=dataset.horizon) for part in (parts[1], dataset.test))
    return smallest_differences(validation.labels, first, second, before, after)


def _sample(windows: Windows) -> Sample:
    """Return the windows as a sample for baselines that do not use the last known labels."""
    inputs = windows.gather(torch.arange(len(windows))).numpy()
    return Sample(inputs, windows.labels.numpy(), np.full(len(windows), UNKNOWN))
