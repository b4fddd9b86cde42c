"""Retraining: finalists are trained from scratch with several seeds and early stopping.

The training windows are those of the dataset. With folds of DataLoaders, each seed trains on another fold. So the mean of all
seeds learns from all windows, and each fold has windows that some network has not seen (bagging by cross-validation, Krogh &
Vedelsby 1994, NeurIPS).
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.windows import Fold, Windows
from cnn_lstm_hyperopt.inference.conformal import Conformal
from cnn_lstm_hyperopt.inference.ensemble import mean_of
from cnn_lstm_hyperopt.inference.metadata import ModelDescription
from cnn_lstm_hyperopt.inference.model import SavedModel
from cnn_lstm_hyperopt.inference.temperature import Calibrated, scaled
from cnn_lstm_hyperopt.pipeline.confirmation import SEEDS_APART, TIME_IS_UP, Confirmation, until
from cnn_lstm_hyperopt.progress import Action, Decision, OnReport
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.training import NonFiniteLossError, Outcome, Predictions, delete_checkpoint, last_good
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner
from cnn_lstm_hyperopt.utils.text import one_line


def fold_of(dataset: Dataset, seed: int) -> int | None:
    """Return the place of the fold on which a finalist is trained with this seed; None: not on a fold.

    The folds must divide all training and validation windows. Folds of dates do not.
    """
    several = dataset.from_loaders and len(dataset.folds) > 1 and not dataset.train.dated
    return (seed - 1) % len(dataset.folds) if several else None


def final_fold(dataset: Dataset, seed: int) -> Fold:
    """Return the windows on which a finalist is trained and validated with this seed, with the value scale of the dataset."""
    place = fold_of(dataset, seed)
    source = dataset if place is None else dataset.folds[place]
    return Fold(source.train, source.validation, dataset.value_mean, dataset.value_std)


@dataclass(frozen=True)
class Finalist:
    """Finalist: a configuration that is retrained and tested.

    Attributes:
        rank: rank among the confirmed candidates. The verdict is about rank 1.
        params: the full configuration.
        confirmation: scores of the configuration with new seeds; None: it was not confirmed.
    """

    rank: int
    trial_number: int
    params: dict[str, Scalar]
    confirmation: Confirmation | None = None


@dataclass(frozen=True)
class SeedRun:
    """Result of a finalist's training with one seed.

    Attributes:
        seed: number of the seed: 1, 2, …
        epochs: maximum number of epochs.
        cut_short: True if the time limit ended the training.
        fold: place of the fold whose windows were used; None: the training and validation windows of the dataset were used.
    """

    seed: int
    model: SavedModel
    outcome: Outcome
    epochs: int
    cut_short: bool
    fold: int | None = None

    @property
    def loss(self) -> float:
        """Validation cross-entropy (nats) at the best epoch of the training."""
        if self.outcome.best is None:
            raise RuntimeError("a saved training has an evaluation")
        return self.outcome.best.loss


@dataclass(frozen=True)
class Retrained:
    """Finalist with its retrained models.

    Attributes:
        runs: results of the trainings that succeeded, at least one. There is at most one for each seed.
        failures: for each failed seed, a line with the reason.
        conformal: prediction sets of :attr:`model`; None if they are not calibrated.
        temperature: temperature of :attr:`model`; 1 if none was fitted.
    """

    finalist: Finalist
    runs: tuple[SeedRun, ...]
    failures: tuple[str, ...] = ()
    conformal: Conformal | None = None
    temperature: float = 1.0

    @property
    def kept(self) -> SeedRun:
        """Run with the lowest validation loss. The network of this run is stored as ``model.safetensors``."""
        return min(self.runs, key=lambda run: run.loss)

    @property
    def in_order(self) -> tuple[SeedRun, ...]:
        """All runs in the order of the networks in :attr:`model`, with :attr:`kept` first."""
        return (self.kept, *(run for run in self.runs if run is not self.kept))

    @property
    def model(self) -> SavedModel:
        """Model that is tested: it predicts the mean of the networks of all runs.

        This choice of the mean was fixed before the test.
        """
        kept = self.kept
        model = kept.model
        if self.conformal is not None or self.temperature != 1.0:
            model = replace(model, conformal=self.conformal, temperature=self.temperature)
        if len(self.runs) == 1:
            return model
        return model.with_seeds(kept.seed, {run.seed: run.model for run in self.in_order[1:]})

    def predictions(self, windows: Windows) -> list[Predictions]:
        """Return the predictions of the network of each of :attr:`runs` for scaled windows."""
        return [run.model.predict_windows(windows) for run in self.runs]

    def mean(self, predictions: Sequence[Predictions]) -> Calibrated:
        """Return the predictions of :attr:`model`, computed from the predictions of each of :attr:`runs`."""
        by_seed = {run.seed: each for run, each in zip(self.runs, predictions, strict=True)}
        mean = mean_of([by_seed[run.seed] for run in self.in_order], [1 / len(self.runs)] * len(self.runs))
        return Calibrated(mean, scaled(mean, self.temperature))


@dataclass(frozen=True)
class Retraining:
    """Result of the retraining of all finalists.

    Attributes:
        done: retrained finalists in order of rank.
        failures: finalists that could not be retrained, with the reasons.
        ended: decision that ended the retraining early; None if the retraining is complete.
    """

    done: list[Retrained]
    failures: list[tuple[Finalist, str]]
    ended: Decision | None


@dataclass(frozen=True)
class SeedState:
    """State needed to resume the training of one finalist with one seed.

    Attributes:
        epochs: maximum number of epochs.
        cut_short: True if the time limit ended the training.
        failure: reason of a failure that would occur again in the same training; None without such a failure.
    """

    epochs: int
    cut_short: bool = False
    failure: str | None = None


OnRun = Callable[[Finalist, int, int], OnReport]
"""Type of a function that creates the progress listener of a training.

The arguments of the function are finalist, seed and maximum number of epochs.
"""


def retrain(
    finalists: Sequence[Finalist],
    runner: TrialRunner,
    dataset: Dataset,
    *,
    full_epochs: int,
    max_gap_days: float,
    checkpoints: Path,
    known: Mapping[tuple[int, int], SeedState],
    on_report: OnRun,
    on_seed_state: Callable[[Finalist, int, SeedState], None],
    seeds: int = 1,
    seconds_left: Callable[[], float | None] = lambda: None,
) -> Retraining:
    """Train each finalist with each seed. If a training fails, record the failure and continue with the other finalists.

    Args:
        finalists: finalists in order of rank.
        runner: trains the finalists.
        dataset: source of the training and validation windows.
        full_epochs: maximum number of epochs of each training.
        max_gap_days: maximum gap between two bars in days, stored in the descriptions of the models.
        checkpoints: folder of the checkpoints. Checkpoints of finished trainings are kept, so that a resumed run can load them.
        known: states from an interrupted run, by trial number and seed, which are used again.
        on_report: function that creates the progress listener of a training.
        on_seed_state: called with the state of a training before it begins, and again if the training is cut short or fails.
        seeds: number of trainings of each finalist.
        seconds_left: seconds for all unfinished trainings, which get equal parts; None: no limit. The maximum number of
            epochs of a training is chosen so that it probably fits into this time. So the learning-rate schedule of the
            training can complete.

    Raises:
        OSError: a checkpoint can't be stored.
    """
    done: list[Retrained] = []
    failures: list[tuple[Finalist, str]] = []
    for place, finalist in enumerate(finalists):
        runs: list[SeedRun] = []
        failed: dict[int, str] = {}
        for seed in range(1, seeds + 1):
            left, missing = seconds_left(), (len(finalists) - place) * seeds - seed + 1
            budget = None if left is None else left / missing
            training = SeedTraining(runner, dataset, finalist, seed, checkpoints, on_seed_state)
            state = training.decide(known.get((finalist.trial_number, seed)), full_epochs, budget)
            trained = state.failure or training.run(
                state, budget, on_report(finalist, seed, state.epochs), max_gap_days
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
class SeedTraining:
    """Training of a finalist with one seed.

    Attributes:
        period: number of the period of the test set that the model predicts, and number of all periods.
    """

    runner: TrialRunner
    dataset: Dataset
    finalist: Finalist
    seed: int
    checkpoints: Path
    on_seed_state: Callable[[Finalist, int, SeedState], None]
    period: tuple[int, int] = (1, 1)

    @property
    def checkpoint(self) -> Path:
        """Path of the checkpoint of this training."""
        number, of = self.period
        period = f"_period_{number}_of_{of}" if number > 1 else ""
        return self.checkpoints / f"retraining_{self.finalist.trial_number:05d}_{self.seed}{period}.pt"

    def decide(self, state: SeedState | None, full_epochs: int, budget: float | None) -> SeedState:
        """Return the known state of the training, or a new state.

        A new state has the number of epochs that will probably fit into ``budget`` seconds.
        """
        if state is not None:
            return state
        delete_checkpoint(self.checkpoint)  # checkpoint of a training with another number of epochs
        epochs = self.runner.costs.epochs_within(
            self.finalist.params, len(final_fold(self.dataset, self.seed).train), budget, full_epochs
        )
        self.on_seed_state(self.finalist, self.seed, SeedState(epochs))
        return SeedState(epochs)

    def run(
        self, state: SeedState, budget: float | None, on_report: OnReport, max_gap_days: float
    ) -> SeedRun | str | Decision:
        """Train the finalist with the seed.

        Return the run, the reason of a failure, or the decision that ends the whole retraining.
        """
        finalist, dataset, checkpoint = self.finalist, self.dataset, self.checkpoint
        fold = final_fold(dataset, self.seed)
        listener = until(_deadline(state, checkpoint, budget), on_report)
        number = SEEDS_APART * finalist.trial_number + self.seed
        try:
            trained = self.runner.retrain(number, finalist.params, fold, state.epochs, listener, checkpoint=checkpoint)
        except NonFiniteLossError as error:
            self.on_seed_state(finalist, self.seed, replace(state, failure=one_line(error, 300)))
            return one_line(error, 300)
        except (RuntimeError, MemoryError) as error:
            return one_line(error, 300)
        outcome = trained.outcome
        cut_short = outcome.decision.reason == TIME_IS_UP
        if cut_short:
            lost = f"no epoch was finished in its part of {TIME_IS_UP} ({budget:.0f} s)"
            state = replace(state, cut_short=True, failure=lost if outcome.best is None else None)
            self.on_seed_state(finalist, self.seed, state)
            if state.failure is not None:
                return state.failure
        elif outcome.decision.action is not Action.CONTINUE:
            return outcome.decision
        weights = self.runner.decision_weights(dataset.train)
        description = ModelDescription.of(
            dataset,
            finalist.params,
            max_gap_days=max_gap_days,
            decision_weights=None if weights is None else tuple(weights.tolist()),
        )
        model = SavedModel(trained.network.cpu(), description)
        return SeedRun(self.seed, model, outcome, state.epochs, cut_short, fold_of(dataset, self.seed))


def _deadline(state: SeedState, checkpoint: Path, budget: float | None) -> float | None:
    """Return the deadline of a training as a time of the clock ``time.monotonic``, or None without a limit."""
    if state.cut_short and last_good(checkpoint) is not None:
        return -math.inf  # the training was cut short after this checkpoint
    return None if budget is None else time.monotonic() + budget
