"""Finalists: trained from scratch on all training windows, with several seeds each, stopped on validation."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cnn_lstm_hyperopt.config.domains import Scalar
from cnn_lstm_hyperopt.confirmation import SEEDS_APART, TIME_IS_UP, Confirmation, failure_text, until
from cnn_lstm_hyperopt.data.dataset import Dataset, Fold
from cnn_lstm_hyperopt.progress import Action, Decision, OnReport
from cnn_lstm_hyperopt.saved_model import ModelDescription, SavedModel
from cnn_lstm_hyperopt.training import NonFiniteLossError, Outcome
from cnn_lstm_hyperopt.trial_runner import TrialRunner


@dataclass(frozen=True)
class Finalist:
    """A configuration that is retrained and tested.

    Attributes:
        rank: among the confirmed candidates; that of model 1 is the one about which a verdict is given.
        params: the whole configuration.
        confirmation: what fresh seeds said of it; None where nobody asked.
    """

    rank: int
    trial_number: int
    params: dict[str, Scalar]
    confirmation: Confirmation | None = None


@dataclass(frozen=True)
class SeedRun:
    """A finalist's training with one seed.

    Attributes:
        seed: 1, 2, …
        epochs: that it was to have at most.
        cut_short: whether its time was up before they or its patience were.
    """

    seed: int
    model: SavedModel
    outcome: Outcome
    epochs: int
    cut_short: bool

    @property
    def loss(self) -> float:
        """Validation cross-entropy of its best epoch."""
        if self.outcome.best is None:
            raise RuntimeError("a training that is kept has an evaluation")
        return self.outcome.best.loss


@dataclass(frozen=True)
class Retrained:
    """A finalist after retraining.

    Attributes:
        runs: one for each seed that could be trained, at least one.
        failures: of the other seeds, a line each.
    """

    finalist: Finalist
    runs: tuple[SeedRun, ...]
    failures: tuple[str, ...] = ()

    @property
    def kept(self) -> SeedRun:
        """The run with the lowest validation loss: what is saved, and tested as "the model"."""
        return min(self.runs, key=lambda run: run.loss)


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


OnRun = Callable[[Finalist, int, int], OnReport]
"""Makes, for a finalist, the number of the seed and its epochs at most, what hears of the progress."""


def retrain(
    finalists: Sequence[Finalist],
    runner: TrialRunner,
    dataset: Dataset,
    *,
    full_epochs: int,
    max_gap_days: float,
    on_report: OnRun,
    seeds: int = 1,
    seconds_left: Callable[[], float | None] = lambda: None,
) -> Retraining:
    """Trains each finalist with each seed; one that fails is told of and the others go on.

    Args:
        finalists: in order of rank.
        runner: that trains them.
        dataset: all of whose training windows they see.
        full_epochs: of each training at most.
        max_gap_days: goes into the model's description.
        on_report: hears of the trainings.
        seeds: trainings of each finalist.
        seconds_left: for all trainings that are not yet done; each gets an equal part, and as many epochs as are predicted to fit
            in, so that its learning-rate schedule comes to its end. None: no limit.
    """
    fold = Fold(dataset.train, dataset.validation, dataset.value_mean, dataset.value_std)
    done: list[Retrained] = []
    failures: list[tuple[Finalist, str]] = []
    for place, finalist in enumerate(finalists):
        runs: list[SeedRun] = []
        failed: dict[int, str] = {}
        for seed in range(1, seeds + 1):
            left = seconds_left()
            budget = None if left is None else left / ((len(finalists) - place) * seeds - seed + 1)
            epochs = runner.epochs_within(finalist.params, len(dataset.train), budget, full_epochs)
            deadline = None if budget is None else time.monotonic() + budget
            hear = until(deadline, on_report(finalist, seed, epochs))
            number = SEEDS_APART * finalist.trial_number + seed
            try:
                trained = runner.retrain(number, finalist.params, fold, epochs, hear)
            except (NonFiniteLossError, RuntimeError, MemoryError) as error:  # torch lacks memory with a RuntimeError
                failed[seed] = failure_text(error)
                continue
            cut_short = trained.outcome.decision.reason == TIME_IS_UP
            if cut_short and trained.outcome.best is None:
                failed[seed] = f"no epoch was finished in its part of {TIME_IS_UP} ({budget:.0f} s)"
                continue
            if trained.outcome.decision.action is not Action.CONTINUE and not cut_short:
                return Retraining(done, failures, trained.outcome.decision)
            description = ModelDescription.of(dataset, finalist.params, max_gap_days=max_gap_days)
            model = SavedModel(trained.network.cpu(), description)
            runs.append(SeedRun(seed, model, trained.outcome, epochs, cut_short))
        if runs:
            told = tuple(f"seed {seed}: {reason}" for seed, reason in failed.items())
            done.append(Retrained(finalist, tuple(runs), told))
        else:
            failures.append((finalist, "; ".join(dict.fromkeys(failed.values()))))
    return Retraining(done, failures, None)
