"""Finalists for tests of the final phase: tiny real networks, and planted models with given predictions."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import TrainingSettings, load_settings, parse_space
from cnn_lstm_hyperopt.config.schema.study import MetricName
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.data.labels import OWN_UNITS
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.execution.validation_files import write_validation
from cnn_lstm_hyperopt.pipeline.confirmation import Candidate, Confirmation
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.results.writer import write_results
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, Retrained, SeedRun
from cnn_lstm_hyperopt.pipeline.session import open_session
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.search import Assignment, State, Values, random_configuration
from cnn_lstm_hyperopt.training import Evaluation, Outcome, Predictions
from cnn_lstm_hyperopt.training.machine_benchmark import calibration_for
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner

CPU = torch.device("cpu")
SPACE, _ = parse_space(
    {
        "cnn": {"num_filters": 4, "attention": False},
        "lstm": {"hidden_dim": 8, "num_layers": 1, "attention": False},
        "fusion": {"method": "gated", "dim": 8},
        "training": {"batch_size": 16, "learning_rate": 0.01, "optimizer": "adam"},
        "regularization": {"l1_switch": False, "l2": 1e-5},
        "inputs": {"standardise": False},
    }
)
CTRL_C = Decision(Action.STOP, "Ctrl-C")


class Killed(BaseException):
    """The process ends here."""


def params(number: int = 0) -> dict[str, Any]:
    """A full configuration of a tiny network."""
    return random_configuration(SPACE, 0, number)


def runner_of(dataset: Dataset, *, max_epochs: int = 1, metric: MetricName = "accuracy", seed: int = 0) -> TrialRunner:
    """A real runner on one core."""
    return TrialRunner(
        dataset.for_trials(),
        TrainingSettings(max_epochs=max_epochs),
        seed=seed,
        device=CPU,
        speeds=calibration_for(CPU),
        metric=metric,
    )


def candidate(
    rank: int | None, trial_number: int, score: float = 0.6, configuration: dict[str, Any] | None = None
) -> Candidate:
    """A candidate; the rank is None off the front."""
    return Candidate(rank, trial_number, params(trial_number) if configuration is None else configuration, score)


def confirmation(
    rank: int | None, trial_number: int, score: float, *fresh: float, failure: str | None = None
) -> Confirmation:
    """A candidate with its fresh scores and log losses."""
    return Confirmation(candidate(rank, trial_number, score), fresh, failure, tuple(1 - each for each in fresh))


def evaluation(loss: float, score: float = 0.6, *, accuracy: float | None = None) -> Evaluation:
    """Evaluation of an epoch, on two arbitrary windows."""
    said = Predictions(np.full((2, 2), 0.5, np.float32), None)
    return Evaluation(loss, score if accuracy is None else accuracy, None, said, score)


def outcome(loss: float, score: float = 0.6, *, decision: Decision = CONTINUE) -> Outcome:
    """Outcome of a training of two epochs, with the best first."""
    return Outcome(1, evaluation(loss, score), 2.0, 3.5, 3.5, decision)


def go_on(*_: Any) -> OnReport:
    """Create a listener that continues every training."""

    def decide(report: ProgressReport) -> Decision:
        return CONTINUE

    return decide


@dataclass(frozen=True)
class Planted:
    """A model with given predictions, in the place of a saved one."""

    probabilities: NDArray[np.floating]
    values: NDArray[np.floating] | None = None

    @property
    def description(self) -> Any:
        """The parts that prediction files need."""
        return SimpleNamespace(class_names=("calm", "volatile", "wild"), own_unit=OWN_UNITS["volatility"])

    def predict_windows(self, windows: Windows) -> Predictions:
        """The given predictions."""
        assert len(windows) == len(self.probabilities)
        values = None if self.values is None else self.values.astype(np.float32)
        return Predictions(self.probabilities.astype(np.float32), values)

    def save(self, folder: Any) -> None:
        """Create the empty folder."""
        folder.mkdir(exist_ok=True)

    def with_seeds(self, *_: Any) -> "Planted":
        """Only :meth:`Retrained.mean` predicts with all seeds."""
        return self


def planted(
    rank: int,
    *said: Planted,
    losses: Sequence[float] = (),
    failures: Sequence[str] = (),
    confirmed: Confirmation | None = None,
) -> Retrained:
    """A finalist with a planted model for each seed; by default the first has the lowest loss."""
    runs = tuple(
        SeedRun(seed, model, outcome(loss), epochs=2, cut_short=False)  # type: ignore[arg-type]
        for seed, (model, loss) in enumerate(zip(said, losses or range(1, len(said) + 1), strict=True), start=1)
    )
    return Retrained(Finalist(rank, 10 * rank, params(rank), confirmed), runs, tuple(failures))


def plant(config: dict[str, Any], scores: Sequence[float], off_front: Collection[int] = ()) -> None:
    """Create a study with a complete trial for each score; better ones are slower, so that all but some are on the front."""
    settings = load_settings(config, environment={})
    dataset = prepare_dataset(settings.data)
    with open_session(settings, dataset, resume=False, events=RunEvents()) as session:
        for place, score in enumerate(scores):
            assignment = session.study.next_assignment()
            assert isinstance(assignment, Assignment)
            said = mostly(dataset.validation.labels.numpy(), 0.5, seed=place).probabilities
            predictions = Predictions(said.astype(np.float32), None)
            write_validation(settings.save_dir / "validation", place, dataset.folds, predictions)
            values = Values(score, 100.0 if place in off_front else float(len(scores) - place), 0.5)
            session.study.finish(assignment, State.COMPLETE, values, {"epochs": 3.0, "measured_seconds": 1.0})
        write_results(session)


def sure(classes: NDArray[np.int64], n_classes: int = 2, confidence: float = 0.75) -> NDArray[np.float64]:
    """Probabilities ``(windows, n_classes)`` with ``confidence`` in each of ``classes``."""
    found = np.full((len(classes), n_classes), (1 - confidence) / (n_classes - 1))
    found[np.arange(len(classes)), classes] = confidence
    return found


def mostly(labels: NDArray[np.int64], share: float, *, seed: int, n_classes: int = 2) -> Planted:
    """Right in about ``share`` of the windows."""
    rng = np.random.default_rng(seed)
    wrong = (labels + rng.integers(1, n_classes, len(labels))) % n_classes
    return Planted(sure(np.where(rng.random(len(labels)) < share, labels, wrong), n_classes))
