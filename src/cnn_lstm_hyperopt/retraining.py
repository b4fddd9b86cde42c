"""Finalists: trained from scratch on all training windows, then all measured on the test period, in one opening."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.domains import Scalar
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation import (
    BASELINES,
    Interval,
    Scores,
    accuracy_interval,
    difference_interval,
    score,
)
from cnn_lstm_hyperopt.progress import Action, Decision, OnReport
from cnn_lstm_hyperopt.saved_model import ModelDescription, SavedModel
from cnn_lstm_hyperopt.training import NonFiniteLossError, Outcome, Predictions
from cnn_lstm_hyperopt.trial_runner import TrialRunner


@dataclass(frozen=True)
class Finalist:
    """A place in the front and the whole configuration that holds it."""

    rank: int
    trial_number: int
    params: dict[str, Scalar]


@dataclass(frozen=True)
class Retrained:
    """A finalist after retraining."""

    finalist: Finalist
    model: SavedModel
    outcome: Outcome


@dataclass(frozen=True)
class TestResult:
    """One classifier on the test period.

    Attributes:
        interval: of the accuracy, block bootstrap over dates.
        against_majority: of the difference in accuracy to the majority class, paired; None for the majority class itself.
        predictions: of a finalist; None for a baseline.
    """

    name: str
    scores: Scores
    interval: Interval
    against_majority: Interval | None
    predictions: Predictions | None


@dataclass(frozen=True)
class Verdict:
    """Everything that the test period said.

    Attributes:
        finalists: in order of rank.
        baselines: the majority class first.
        windows: the test windows.
    """

    finalists: tuple[TestResult, ...]
    baselines: tuple[TestResult, ...]
    windows: Windows


@dataclass(frozen=True)
class Retraining:
    """What became of the finalists.

    Attributes:
        done: retrained, in order of rank.
        failures: finalists that could not be, with the reason.
        ended: what ended the work before all were done, None otherwise.
    """

    done: list[Retrained]
    failures: list[tuple[Finalist, str]]
    ended: Decision | None


def retrain(
    finalists: Sequence[Finalist],
    runner: TrialRunner,
    dataset: Dataset,
    *,
    full_epochs: int,
    max_gap_days: float,
    on_report: Callable[[Finalist], OnReport],
) -> Retraining:
    """Trains each finalist; one that fails is told of and the others go on."""
    done: list[Retrained] = []
    failures: list[tuple[Finalist, str]] = []
    for finalist in finalists:
        try:
            trained = runner.retrain(finalist.rank, finalist.params, dataset.train, full_epochs, on_report(finalist))
        except (NonFiniteLossError, RuntimeError, MemoryError) as error:  # torch reports lack of memory as RuntimeError
            failures.append((finalist, " ".join(str(error).split())[:300] or type(error).__name__))
            continue
        if trained.outcome.decision.action is not Action.CONTINUE:
            return Retraining(done, failures, trained.outcome.decision)
        description = ModelDescription.of(dataset, finalist.params, max_gap_days=max_gap_days)
        done.append(Retrained(finalist, SavedModel(trained.network.cpu(), description), trained.outcome))
    return Retraining(done, failures, None)


def evaluate_once(retrained: Sequence[Retrained], dataset: Dataset, *, seed: int) -> Verdict:
    """Opens the test period, once for all finalists and baselines. Nothing is chosen by what is seen here."""
    train, validation = _inputs(dataset.train), _inputs(dataset.validation)
    baselines = [kind() for kind in BASELINES]
    for baseline in baselines:
        baseline.fit(train, validation)

    test = dataset.test.open()
    inputs, labels = _inputs(test)
    targets = None if test.values is None else test.values.numpy()
    guesses = [(baseline.name, baseline.predict(inputs)) for baseline in baselines]
    majority = guesses[0][1] == labels

    def judge(name: str, classes: NDArray[np.int64], predictions: Predictions | None = None) -> TestResult:
        right = classes == labels
        draws = {"horizon": dataset.horizon, "seed": seed}
        is_majority = name == baselines[0].name
        return TestResult(
            name=name,
            scores=score(labels, classes, targets=targets, values=predictions.values if predictions else None),
            interval=accuracy_interval(right, test.dates, **draws),
            against_majority=None if is_majority else difference_interval(right, majority, test.dates, **draws),
            predictions=predictions,
        )

    finalists = []
    for each in retrained:
        predictions = each.model.predict_windows(test)
        finalists.append(judge(f"model {each.finalist.rank}", predictions.classes, predictions))
    return Verdict(tuple(finalists), tuple(judge(name, classes) for name, classes in guesses), test)


def _inputs(windows: Windows) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Inputs ``(windows, lookback, features)`` and labels ``(windows,)`` as arrays."""
    return windows.gather(torch.arange(len(windows))).numpy(), windows.labels.numpy()
