"""Predictions and scores of the periods of a walk-forward test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.splits import Integers
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.inference.temperature import Calibrated
from cnn_lstm_hyperopt.metrics import score
from cnn_lstm_hyperopt.pipeline.baseline_forecasts import BaselineForecasts, replaced
from cnn_lstm_hyperopt.training import Predictions


@dataclass(frozen=True)
class KeptModel:
    """Model of an earlier period that also predicts a later period, because its new training failed.

    Attributes:
        model_rank, seed: rank of the finalist and seed, which identify the model.
        trained_for: number of the earlier period for which the model was trained.
        reason: reason why the new training failed.
    """

    model_rank: int
    seed: int
    trained_for: int
    reason: str


@dataclass(frozen=True, eq=False)
class PeriodPredictions:
    """Predictions of all models for one period after the first period.

    Attributes:
        number: number of the period, at least 2.
        models: predictions of each seed of each finalist.
        finalists: predictions of each finalist, the mean of its seeds.
        ensemble: predictions of the ensemble; None: there is no ensemble.
        kept: models of earlier periods that predict this period.
    """

    number: int
    models: list[list[Predictions]]
    finalists: list[Calibrated]
    ensemble: Calibrated | None
    kept: tuple[KeptModel, ...] = ()


@dataclass(frozen=True)
class PeriodScores:
    """Scores of one period of the test set.

    The scores of a period are only information, because the verdict is about all periods together.

    Attributes:
        number: number of the period, from 1.
        first, last: first and last decision date of the period.
        windows: number of test windows.
        train_windows, validation_windows: numbers of windows on which the period's models were trained and validated.
        log_loss, accuracy: log loss (nats) and accuracy of each finalist and each baseline, by name.
        kept: models of earlier periods that predict this period.
    """

    number: int
    first: Any
    last: Any
    windows: int
    train_windows: int
    validation_windows: int
    log_loss: Mapping[str, float]
    accuracy: Mapping[str, float]
    kept: tuple[KeptModel, ...] = ()


@dataclass(frozen=True, eq=False)
class TestPredictions:
    """Predictions of models and baselines for all test windows.

    Attributes:
        models: predictions of each seed of each finalist.
        finalists: predictions of each finalist, the mean of its seeds.
        ensemble: predictions of the ensemble; None: there is no ensemble.
        baselines: forecasts of the baselines.
    """

    models: list[list[Predictions]]
    finalists: list[Calibrated]
    ensemble: Calibrated | None
    baselines: BaselineForecasts

    def with_period(
        self, there: Integers, period: PeriodPredictions, baselines: BaselineForecasts
    ) -> "TestPredictions":
        """Return a copy in which the predictions at the positions ``there`` are replaced by the predictions of a period.

        Args:
            there: (windows of the period,) positions among the test windows.
            period: predictions of models and ensemble for the period.
            baselines: forecasts of the baselines. The last rows of the forecasts are those for the period.
        """

        def both(whole: Calibrated, part: Calibrated) -> Calibrated:
            return Calibrated(_with_rows(whole.before, there, part.before), _with_rows(whole.after, there, part.after))

        ensemble = None
        if self.ensemble is not None and period.ensemble is not None:
            ensemble = both(self.ensemble, period.ensemble)
        models = [
            [_with_rows(whole, there, part) for whole, part in zip(*runs, strict=True)]
            for runs in zip(self.models, period.models, strict=True)
        ]
        finalists = [both(whole, part) for whole, part in zip(self.finalists, period.finalists, strict=True)]
        return TestPredictions(models, finalists, ensemble, self.baselines.with_rows(there, baselines))


def _with_rows(whole: Predictions, there: Integers, part: Predictions) -> Predictions:
    values = whole.values
    if values is not None and part.values is not None:
        values = replaced(values, there, part.values)
    probabilities = replaced(whole.probabilities, there, part.probabilities)
    return Predictions(probabilities, values, whole.decision_weights)  # one decision rule for all periods


def period_scores(
    test: Windows,
    positions: Sequence[Integers],
    trained: Sequence[tuple[int, int]],
    probabilities: Mapping[str, NDArray[np.floating]],
    kept: Mapping[int, tuple[KeptModel, ...]],
    decision_weights: NDArray[np.float64] | None = None,
) -> tuple[PeriodScores, ...]:
    """Return the scores of each period of a walk-forward test.

    Args:
        test: all test windows.
        positions: positions of the windows of each period among the test windows.
        trained: numbers of training and validation windows of each period.
        probabilities: ``(test windows, classes)`` of each finalist and baseline, by name.
        kept: models of earlier periods that predict a period, by number of the period.
        decision_weights: ``(classes,)`` weight of each class. The predicted class has the largest product of probability and
            weight. None: the most probable class is predicted.
    """
    labels = test.labels.numpy()

    def of_all(metric: str, there: Integers) -> dict[str, float]:
        return {
            name: score(metric, labels[there], ours[there], decision_weights) for name, ours in probabilities.items()
        }

    return tuple(
        PeriodScores(
            number=number,
            first=test.dates[there].min(),
            last=test.dates[there].max(),
            windows=len(there),
            train_windows=n_train,
            validation_windows=n_validation,
            log_loss={name: -value for name, value in of_all("log_loss", there).items()},
            accuracy=of_all("accuracy", there),
            kept=kept.get(number, ()),
        )
        for number, (there, (n_train, n_validation)) in enumerate(zip(positions, trained, strict=True), start=1)
    )
