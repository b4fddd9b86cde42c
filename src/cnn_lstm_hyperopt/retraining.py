"""Finalists: trained from scratch on all training windows, then all measured on the test period, in one opening."""

import time
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
from cnn_lstm_hyperopt.progress import Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.saved_model import ModelDescription, SavedModel
from cnn_lstm_hyperopt.training import NonFiniteLossError, Outcome, Predictions
from cnn_lstm_hyperopt.trial_runner import TrialRunner

TIME_IS_UP = "limits.retrain_seconds"
"""Reason with which a finalist ends whose part of the time is over."""


@dataclass(frozen=True)
class Finalist:
    """A place in the front and the whole configuration that holds it."""

    rank: int
    trial_number: int
    params: dict[str, Scalar]


@dataclass(frozen=True)
class Retrained:
    """A finalist after retraining.

    Attributes:
        epochs: that it was to have at most.
        cut_short: whether its time was up before they or its patience were.
    """

    finalist: Finalist
    model: SavedModel
    outcome: Outcome
    epochs: int
    cut_short: bool


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
    on_report: Callable[[Finalist, int], OnReport],
    seconds_left: Callable[[], float | None] = lambda: None,
) -> Retraining:
    """Trains each finalist; one that fails is told of and the others go on.

    Args:
        finalists: in order of rank.
        runner: that trains them.
        dataset: all of whose training windows they see.
        full_epochs: of each at most.
        max_gap_days: goes into the model's description.
        on_report: makes, for a finalist and its number of epochs, what hears of its progress.
        seconds_left: for all that are not yet done; each gets an equal part, and as many epochs as are predicted to fit in, so
            that its learning-rate schedule comes to its end. None: no limit.
    """
    done: list[Retrained] = []
    failures: list[tuple[Finalist, str]] = []
    for place, finalist in enumerate(finalists):
        left = seconds_left()
        budget = None if left is None else left / (len(finalists) - place)
        epochs = runner.epochs_within(finalist.params, len(dataset.train), budget, full_epochs)
        hear = _within(budget, on_report(finalist, epochs))
        try:
            trained = runner.retrain(finalist.rank, finalist.params, dataset.train, epochs, hear)
        except (NonFiniteLossError, RuntimeError, MemoryError) as error:  # torch reports lack of memory as RuntimeError
            failures.append((finalist, " ".join(str(error).split())[:300] or type(error).__name__))
            continue
        cut_short = trained.outcome.decision.reason == TIME_IS_UP
        if cut_short and trained.outcome.best is None:
            failures.append((finalist, f"no epoch was finished in its part of limits.retrain_seconds ({budget:.0f} s)"))
            continue
        if trained.outcome.decision.action is not Action.CONTINUE and not cut_short:
            return Retraining(done, failures, trained.outcome.decision)
        description = ModelDescription.of(dataset, finalist.params, max_gap_days=max_gap_days)
        model = SavedModel(trained.network.cpu(), description)
        done.append(Retrained(finalist, model, trained.outcome, epochs, cut_short))
    return Retraining(done, failures, None)


def _within(budget: float | None, on_report: OnReport) -> OnReport:
    """Ends a training whose seconds are over; its best epoch so far is what it leaves."""
    if budget is None:
        return on_report
    deadline = time.monotonic() + budget

    def decide(report: ProgressReport) -> Decision:
        decision = on_report(report)
        if decision.action is Action.CONTINUE and not report.last and time.monotonic() > deadline:
            return Decision(Action.STOP, TIME_IS_UP)
        return decision

    return decide


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
