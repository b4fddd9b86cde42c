"""Finalists: trained from scratch on all training windows, with several seeds each, stopped on validation."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.windows import Fold
from cnn_lstm_hyperopt.inference.metadata import ModelDescription
from cnn_lstm_hyperopt.inference.model import SavedModel
from cnn_lstm_hyperopt.pipeline.confirmation import SEEDS_APART, TIME_IS_UP, Confirmation, until
from cnn_lstm_hyperopt.progress import Action, Decision, OnReport
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.training import NonFiniteLossError, Outcome, delete_checkpoint, last_good
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner
from cnn_lstm_hyperopt.utils.text import one_line


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


@dataclass(frozen=True)
class Given:
    """What was decided about a training and what came of it, for the run that goes on if this one is killed.

    Attributes:
        epochs: that it has at most.
        cut_short: whether its time was up before they or its patience were.
        failure: why it could not be finished, and would not be if it were tried again; None: it did not fail.
    """

    epochs: int
    cut_short: bool = False
    failure: str | None = None


OnRun = Callable[[Finalist, int, int], OnReport]
"""Makes, for a finalist, the number of the seed and its epochs at most, what hears of the progress."""


def retrain(
    finalists: Sequence[Finalist],
    runner: TrialRunner,
    dataset: Dataset,
    *,
    full_epochs: int,
    max_gap_days: float,
    checkpoints: Path,
    known: Mapping[tuple[int, int], Given],
    on_report: OnRun,
    on_epochs_set: Callable[[Finalist, int, Given], None],
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
        checkpoints: folder of the trainings' states; those of finished ones stay, so that they are had again without training.
        known: what an earlier, interrupted run has decided, by trial number and seed. It stays decided; only the time is shared
            anew among the trainings that are not yet done.
        on_report: hears of the trainings.
        on_epochs_set: told of what is decided, before the training begins, and again when it was cut short or fails.
        seeds: trainings of each finalist.
        seconds_left: for all trainings that are not yet done; each gets an equal part, and as many epochs as are predicted to fit
            in, so that its learning-rate schedule comes to its end. None: no limit.

    Raises:
        OSError: a training's state can't be kept.
    """
    done: list[Retrained] = []
    failures: list[tuple[Finalist, str]] = []
    for place, finalist in enumerate(finalists):
        runs: list[SeedRun] = []
        failed: dict[int, str] = {}
        for seed in range(1, seeds + 1):
            left, missing = seconds_left(), (len(finalists) - place) * seeds - seed + 1
            budget = None if left is None else left / missing
            training = _SeedTraining(runner, dataset, finalist, seed, checkpoints, on_epochs_set)
            given = training.decide(known.get((finalist.trial_number, seed)), full_epochs, budget)
            trained = given.failure or training.run(
                given, budget, on_report(finalist, seed, given.epochs), max_gap_days
            )
            match trained:
                case SeedRun():
                    runs.append(trained)
                case str():
                    failed[seed] = trained
                case Decision():
                    return Retraining(done, failures, trained)
        if runs:
            reasons = tuple(f"seed {seed}: {reason}" for seed, reason in failed.items())
            done.append(Retrained(finalist, tuple(runs), reasons))
        else:
            failures.append((finalist, "; ".join(dict.fromkeys(failed.values()))))
    return Retraining(done, failures, None)


@dataclass(frozen=True)
class _SeedTraining:
    """A finalist's training with one seed."""

    runner: TrialRunner
    dataset: Dataset
    finalist: Finalist
    seed: int
    checkpoints: Path
    on_epochs_set: Callable[[Finalist, int, Given], None]

    @property
    def state(self) -> Path:
        """Where its checkpoint lies."""
        return self.checkpoints / f"retraining_{self.finalist.trial_number:05d}_{self.seed}.pt"

    def decide(self, given: Given | None, full_epochs: int, budget: float | None) -> Given:
        """What an earlier run decided; else as many epochs as fit into ``budget`` seconds."""
        if given is not None:
            return given
        delete_checkpoint(self.state)  # of what was decided otherwise
        epochs = self.runner.costs.epochs_within(self.finalist.params, len(self.dataset.train), budget, full_epochs)
        self.on_epochs_set(self.finalist, self.seed, Given(epochs))
        return Given(epochs)

    def run(
        self, given: Given, budget: float | None, on_report: OnReport, max_gap_days: float
    ) -> SeedRun | str | Decision:
        """The run, why there is none, or what ended all."""
        finalist, dataset, state = self.finalist, self.dataset, self.state
        fold = Fold(dataset.train, dataset.validation, dataset.value_mean, dataset.value_std)
        hear = until(_deadline(given, state, budget), on_report)
        number = SEEDS_APART * finalist.trial_number + self.seed
        try:
            trained = self.runner.retrain(number, finalist.params, fold, given.epochs, hear, checkpoint=state)
        except NonFiniteLossError as error:
            self.on_epochs_set(finalist, self.seed, replace(given, failure=one_line(error, 300)))
            return one_line(error, 300)
        except (RuntimeError, MemoryError) as error:
            return one_line(error, 300)
        outcome = trained.outcome
        cut_short = outcome.decision.reason == TIME_IS_UP
        if cut_short:
            lost = f"no epoch was finished in its part of {TIME_IS_UP} ({budget:.0f} s)"
            given = replace(given, cut_short=True, failure=lost if outcome.best is None else None)
            self.on_epochs_set(finalist, self.seed, given)
            if given.failure is not None:
                return given.failure
        elif outcome.decision.action is not Action.CONTINUE:
            return outcome.decision
        description = ModelDescription.of(dataset, finalist.params, max_gap_days=max_gap_days)
        model = SavedModel(trained.network.cpu(), description)
        return SeedRun(self.seed, model, outcome, given.epochs, cut_short)


def _deadline(given: Given, state: Path, budget: float | None) -> float | None:
    """Of ``time.monotonic``, for a training whose state lies there; None: none."""
    if given.cut_short and last_good(state) is not None:
        return -math.inf  # it was cut after that state, and ends there
    return None if budget is None else time.monotonic() + budget
