"""Final refit: the tested model's configuration is trained again on training and validation windows, for use on new data.

The refit comes after the test and reads no test window. Each seed trains for a fixed number of epochs: the median of the best
epochs of the tested model's seeds. The tested model stays next to the refit.
"""

import contextlib
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cnn_lstm_hyperopt.data.dataloaders.folds import mark_text
from cnn_lstm_hyperopt.data.pooled import Pooled, pooled_loaders
from cnn_lstm_hyperopt.data.windows import Fold
from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.inference.model import SavedModel, SeedNetwork, load_model
from cnn_lstm_hyperopt.inference.network_files import network_files
from cnn_lstm_hyperopt.inference.refit import REFIT, REFIT_FAILURE, Refit, refit_failure_text, refit_folder
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.pipeline.confirmation import SEEDS_APART
from cnn_lstm_hyperopt.pipeline.events import trainings
from cnn_lstm_hyperopt.pipeline.results.refit_folder import holds_refit, kept_failure, write_refit
from cnn_lstm_hyperopt.pipeline.results.training_record import SeedRecord, read_training_record, refit_epochs
from cnn_lstm_hyperopt.pipeline.results.writer import write_results
from cnn_lstm_hyperopt.pipeline.session import Session
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.run_dir.paths import CHECKPOINTS, REFIT_CHECKPOINTS, model_folder
from cnn_lstm_hyperopt.run_dir.run_log import log_phase
from cnn_lstm_hyperopt.run_dir.storage_errors import storage_faults
from cnn_lstm_hyperopt.training import NonFiniteLossError, ValueScale
from cnn_lstm_hyperopt.training.fixed_length import FixedLength
from cnn_lstm_hyperopt.utils.text import one_line


def with_final_refit(session: Session, stop: StopSignal, results: dict[str, Any]) -> dict[str, Any]:
    """Add the final refit to a study whose models are tested and whose results are written, if the settings ask for a refit.

    A refit that is complete, or that failed with every seed, is not repeated. An interrupted refit is resumed from its
    checkpoints.

    Args:
        session: session of the study, after the final phase.
        stop: object that interrupts the trainings. ``limits.retrain_seconds`` does not limit them.
        results: content of ``results.json``.

    Returns:
        The content of ``results.json``, with the refit if it is complete, or with its failure.

    Raises:
        SaveDirError: the folder of the tested model has no record of its training.
        StorageFailedError: a checkpoint or the refit can't be stored.
    """
    if not session.settings.retrain.refit or not session.final_over or stop.interrupted:
        return results
    tested: dict[str, Any] = session.final["retrained_models"][0]
    if holds_refit(session.save_dir, session.final.get(REFIT), tested):
        return results
    log_phase("final refit")
    stop.set_deadline(None)
    with storage_faults(session.save_dir):
        found = _FinalRefit(session, stop, tested).run()
    if found is None:
        return results
    session.final.update({REFIT: None, REFIT_FAILURE: None, **found})
    written = write_results(session)
    shutil.rmtree(session.save_dir / CHECKPOINTS / REFIT_CHECKPOINTS, ignore_errors=True)
    with contextlib.suppress(OSError):  # the folder is not empty: it has checkpoints of interrupted trials
        (session.save_dir / CHECKPOINTS).rmdir()
    return written


@dataclass(frozen=True)
class _FinalRefit:
    """Trainings of the final refit.

    Attributes:
        tested: entry of the tested model in ``results.json``.
    """

    session: Session
    stop: StopSignal
    tested: Mapping[str, Any]

    @cached_property
    def folder(self) -> Path:
        """Folder of the tested model."""
        return model_folder(self.session.save_dir, self.tested["model_rank"])

    @cached_property
    def pooled(self) -> Pooled:
        """Training and validation windows of the study."""
        dataset = self.session.dataset
        if dataset.pooled is not None:
            return dataset.pooled
        if not dataset.from_loaders:
            raise RuntimeError("a dataset of bars for a final refit has pooled windows")
        return pooled_loaders(dataset.train, dataset.validation)

    def run(self) -> dict[str, Any] | None:
        """Train each seed and write the folder of the refit.

        Return the entry ``refit`` or ``refit_failure`` of ``results.json`` by its name. Return None if the refit was
        interrupted, or if an earlier run stored its failure.
        """
        session, events = self.session, self.session.events
        model = load_model(self.folder, tested=True)
        if not isinstance(model, SavedModel):
            text = f"{self.folder} holds an ensemble, where a single model should be; remove the folder and resume"
            raise SaveDirError(text, field="save_dir", code="not-a-single-model")
        records = read_training_record(self.folder)
        windows, epochs = self.pooled.windows, refit_epochs(records)
        until = mark_text(windows.dates.max()) if windows.dated else None
        facts = Refit(until, epochs, len(windows))
        about = {
            "model_rank": self.tested["model_rank"],
            "trial_number": self.tested["trial_number"],
            **asdict(facts),
            "best_epochs": [record.best_epoch for record in records],
        }
        if (before := kept_failure(session.final.get(REFIT_FAILURE), self.tested, about["best_epochs"])) is not None:
            events.on_warning(refit_failure_text(before))
            return None
        events.on_refit_start(self.tested["model_rank"], facts, len(records))
        trained: dict[int, Network] = {}
        failures: list[str] = []
        seconds = 0.0
        with trainings(events, "Final refit"):
            for record in records:
                found = self._train(model, record, epochs)
                match found:
                    case Decision():
                        events.on_refit_interrupted(found.reason)
                        return None
                    case str():
                        failures.append(f"seed {record.seed}: {found}")
                    case (network, spent):
                        trained[record.seed] = network
                        seconds += spent
        if not trained:
            failure = {**about, "seed_failures": failures}
            events.on_warning(refit_failure_text(failure))
            return {REFIT_FAILURE: failure}
        for each in failures:
            events.on_warning(f"the final refit has one seed less: {each}")
        entry = {
            **about,
            "seeds": list(trained),
            "seed_failures": failures,
            "training_time": seconds,
            "networks": network_files(list(trained)),
            "model_path": str(refit_folder(self.folder)),
        }
        write_refit(self.folder, self._model(model, trained, facts), entry, study=session.settings.study.name)
        events.on_refit_end(facts)
        return {REFIT: entry}

    def _train(self, model: SavedModel, record: SeedRecord, epochs: int) -> tuple[Network, float] | str | Decision:
        """Train one seed.

        Return the network and its seconds, the reason of a failure, or the decision that ended the training.
        """
        number, pooled = self.tested["trial_number"], self.pooled
        fold = Fold(pooled.windows, pooled.windows.subset(np.empty(0, np.int64)), pooled.value_mean, pooled.value_std)
        checkpoints = self.session.save_dir / CHECKPOINTS / REFIT_CHECKPOINTS
        checkpoints.parent.mkdir(exist_ok=True)
        try:
            trained = self.session.runner.refit(
                SEEDS_APART * number + record.seed,
                model.description.params,
                fold,
                max(record.max_epochs, epochs),
                FixedLength(epochs, record.validation_losses),
                self._listener(f"final refit, seed {record.seed}", epochs),
                checkpoint=checkpoints / f"refit_{number:05d}_{record.seed}.pt",
            )
        except (NonFiniteLossError, RuntimeError, MemoryError) as error:
            return one_line(error, 300)
        if trained.outcome.decision.action is not Action.CONTINUE:
            return trained.outcome.decision
        return trained.network.cpu().eval(), trained.outcome.seconds

    def _listener(self, which: str, epochs: int) -> OnReport:
        stop, events = self.stop, self.session.events

        def decide(report: ProgressReport) -> Decision:
            events.on_training(which, report, epochs)
            if stop.interrupted and not report.last:
                return Decision(Action.STOP, str(stop.reason))
            return CONTINUE

        return decide

    def _model(self, model: SavedModel, trained: Mapping[int, Network], facts: Refit) -> SavedModel:
        """Return the refit. All facts that are not of its own training are those of the tested model."""
        pooled = self.pooled
        (seed, network), *others = trained.items()
        description = replace(
            model.description, scaler=pooled.scaler, value_scale=ValueScale(pooled.value_mean, pooled.value_std)
        )
        rest = tuple(SeedNetwork(*each) for each in others)
        return replace(model, network=network, description=description, seed=seed, others=rest, refit=facts)
