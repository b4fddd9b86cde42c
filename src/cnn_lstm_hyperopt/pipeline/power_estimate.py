"""Estimate of the power of the test set before the search, from two quick baselines on the validation windows."""

from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.evaluation import Dependence, Power, smallest_differences
from cnn_lstm_hyperopt.evaluation.baselines.boosting import GradientBoosting
from cnn_lstm_hyperopt.evaluation.baselines.logistic import LogisticBaseline
from cnn_lstm_hyperopt.evaluation.dependence import Units
from cnn_lstm_hyperopt.pipeline.baseline_forecasts import baseline_forecasts, window_limit

MAX_WINDOWS, MAX_NUMBERS = 10_000, 30_000_000
"""Maximum number of training windows, and maximum number of inputs in these windows."""


class _QuickBoosting(GradientBoosting):
    """Gradient boosting with fewer trees. The estimate needs only the spread of the forecasts, not the best score."""

    MAX_TREES = 50


def estimate_power(dataset: Dataset, *, seed: int) -> Power:
    """Return the smallest differences between two models that the test set will probably show as significant.

    Logistic regression and gradient boosting are fitted on training windows and compared on all validation windows. The test
    set stays locked. Only the number, the dates and the groups of its windows are used.
    """
    if not len(dataset.test):  # arrays of an estimator, whose user tests it
        return Power(Units("windows", 0, 0, "there is no test set"), None, None)
    validation = dataset.validation
    forecasts = baseline_forecasts(
        dataset,
        (dataset.train, validation, validation),
        seed=seed,
        kinds={kind.name: kind for kind in (LogisticBaseline, _QuickBoosting)},
        training_limit=window_limit(dataset, MAX_WINDOWS, MAX_NUMBERS),
    )
    first, second = forecasts.probabilities.values()
    before, after = (Dependence.of(part, horizon=dataset.horizon) for part in (validation, dataset.test))
    return smallest_differences(validation.labels.numpy(), first, second, before, after)
