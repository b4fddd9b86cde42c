"""Session of an open study. Search, final phase and results share it."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import Settings, dump_settings
from cnn_lstm_hyperopt.config.schema.search import AUTO_PRUNER
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.execution import (
    PASSES,
    STORED_AUTO_PRUNER,
    SUBSET,
    OutsideTrials,
    delete_worker_files,
    starts_as_json,
)
from cnn_lstm_hyperopt.inference.refit import REFIT, REFIT_FAILURE
from cnn_lstm_hyperopt.pipeline.advice import Interface, empty_front_text
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.fingerprint import ADAM_DECAY
from cnn_lstm_hyperopt.pipeline.results.selection import SelectionTracker
from cnn_lstm_hyperopt.pipeline.results.stored_results import read_results
from cnn_lstm_hyperopt.pipeline.save_dir_check import check_database, make_directory
from cnn_lstm_hyperopt.pipeline.setup import Setup, prepare_again, prepare_new
from cnn_lstm_hyperopt.run_dir.lock import only_run
from cnn_lstm_hyperopt.run_dir.paths import (
    CHECKPOINTS,
    CONFIG_FILE,
    DATA_FILE,
    FIGURES,
    FINAL,
    REFIT_CHECKPOINTS,
    RESULTS_FILE,
)
from cnn_lstm_hyperopt.run_dir.run_log import run_log
from cnn_lstm_hyperopt.run_dir.storage_errors import storage_faults
from cnn_lstm_hyperopt.search import Database, State, Study, StudyStorage, database_of
from cnn_lstm_hyperopt.search.orphans import pause_orphans
from cnn_lstm_hyperopt.training.runtime.memory import have_grown, memory_kills
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner
from cnn_lstm_hyperopt.utils.atomic_io import remove_parts, write_json, write_text

FINAL_KEYS = (
    "feature_selection",
    "confirmation",
    "retrained_models",
    "ensemble",
    "ensemble_method",
    "retraining_failures",
    "baselines",
    "skipped_baselines",
    "verdict",
    "walk_forward",
    "full_epochs",
    "seeds",
    "evaluation",
    "retrained_after_trials",
    REFIT,
    REFIT_FAILURE,
)
"""Keys of ``results.json`` that the final phase writes."""


@dataclass
class Session:
    """Open study with its dataset, its directory and its results so far.

    Attributes:
        settings: settings of the run.
        setup: data, search space and costs of the study.
        study: the open study.
        events: receives the events of the run.
        selection: estimator of the selection bias of the trials.
        final: results of the final phase by the keys :data:`FINAL_KEYS`. At first these are the results of an earlier run.
        interface: the command line or Python, whichever the user called. Advice in messages depends on it.
        interrupted: True if the user ended the search. Then no long work is started.
        final_over: True if the final phase is complete but its results are not yet written.
    """

    settings: Settings
    setup: Setup
    study: Study
    events: RunEvents
    selection: SelectionTracker
    final: dict[str, Any] = field(default_factory=dict)
    interface: Interface = Interface.COMMAND_LINE
    interrupted: bool = False
    final_over: bool = False

    @property
    def dataset(self) -> Dataset:
        """Dataset of the study."""
        return self.setup.dataset

    @property
    def runner(self) -> TrialRunner:
        """Runner that trains trials and finalists."""
        return self.setup.runner

    @property
    def save_dir(self) -> Path:
        """Results directory of the study."""
        return self.settings.save_dir

    def empty_front_text(self) -> str:
        """Text that explains why no trial is on the front, and which settings to change."""
        return empty_front_text(self.settings, self.study.plan, self.study.records(), self.interface)


@contextlib.contextmanager
def open_session(
    settings: Settings,
    dataset: Dataset,
    *,
    resume: bool,
    events: RunEvents,
    recalibrate: bool = False,
    interface: Interface = Interface.COMMAND_LINE,
) -> Iterator[Session]:
    """Context with an open study: it is created in ``save_dir``, or reopened if ``resume``. The study is closed at the end.

    Raises:
        SaveDirError: the directory can't be used, or it contains a study with another search space, other data or another
            target.
    """
    save_dir = settings.save_dir
    setup = None
    if not resume:  # find errors in the settings before files are written
        setup = prepare_new(settings, dataset, on_benchmark=events.on_benchmark_start, recalibrate=recalibrate)
        settings = setup.settings
    make_directory(save_dir)
    with storage_faults(save_dir), only_run(save_dir), run_log(save_dir):
        # another run may have used the directory since the first check
        check_database(settings, resume=resume)
        delete_worker_files(save_dir)  # files of a killed run
        remove_parts(
            save_dir, save_dir / FIGURES, *(save_dir / CHECKPOINTS / name for name in (FINAL, REFIT_CHECKPOINTS))
        )
        database = database_of(settings, resume=resume)
        storage = StudyStorage(database) if setup is None else _new_storage(settings, setup, database)
        try:
            if setup is None:
                kept = {"name": storage.study.study_name, "storage": storage.url}
                named = settings.study.model_copy(update=kept)  # the study keeps its name and its database
                setup = _resumed(settings.model_copy(update={"study": named}), dataset, storage)
                settings = setup.settings
            _announce(storage, setup, events)
            session = Session(
                settings=settings,
                setup=setup,
                study=Study(storage, setup.plan),
                events=events,
                selection=SelectionTracker(settings, setup.dataset, events.on_warning),
                final=earlier_final(save_dir) if resume else {},
                interface=interface,
            )
            with _open_for_subscribers(session):
                yield session
        finally:
            storage.close()


@contextlib.contextmanager
def _open_for_subscribers(session: Session) -> Iterator[None]:
    session.events.on_study(session.settings, session.study, session.final)
    try:
        yield
    except BaseException as error:
        session.events.on_study_end(error)
        raise
    session.events.on_study_end(None)


def _write_inputs(settings: Settings, setup: Setup) -> None:
    write_text(
        settings.save_dir / CONFIG_FILE, dump_settings(settings), make_folder=False
    )  # written first, because this file marks the directory as a run's
    facts = {**setup.dataset.description, "power": setup.power.as_dict()}
    write_json(settings.save_dir / DATA_FILE, facts, make_folder=False)


def _new_storage(settings: Settings, setup: Setup, database: Database) -> StudyStorage:
    _write_inputs(settings, setup)
    attributes = {
        "made_with": setup.made_with,
        "skill_gate": asdict(setup.skill),
        "power": setup.power.to_stored(),
        "n_trials": settings.study.n_trials,
        "speeds": setup.runner.speeds.as_dict(),
        "train_share": setup.dataset.train_share,
        PASSES: setup.runner.costs.passes,
        "proposal_seconds": setup.plan.limits.proposal_seconds,
        "starts": starts_as_json(setup.plan.starts),
        "begun_with": settings.study.n_trials,
        "enqueue": None if settings.study.enqueue is None else str(settings.study.enqueue),
        "memory_kills": memory_kills(),
        ADAM_DECAY: "L2",
        STORED_AUTO_PRUNER: AUTO_PRUNER,
        SUBSET: True,
    }
    return StudyStorage(database, create=settings.study.name, metric=settings.study.metric, attributes=attributes)


def _resumed(settings: Settings, dataset: Dataset, storage: StudyStorage) -> Setup:
    setup = prepare_again(settings, dataset, storage)
    storage.back_up()
    storage.set_attribute("n_trials", settings.study.n_trials)
    _write_inputs(settings, setup)
    kills, before = memory_kills(), storage.attribute("memory_kills")
    pause_orphans(storage, lacked_memory=have_grown(before, kills))
    storage.set_attribute("memory_kills", kills)
    return setup


def _announce(storage: StudyStorage, setup: Setup, events: RunEvents) -> None:
    """Emit events about the state of the study before its first trial."""
    if cut_off := [record.number for record in storage.records() if record.state is State.WAITING]:
        events.on_cut_off_trials(cut_off)
    if not storage.marks_trials:
        events.on_warning(
            "an earlier version made this study without seals in its trials; trials with the attributes of this program"
            " count as its own"
        )
    if storage.url is not None:
        events.on_warning(
            f"the study is on a server ({storage.url}), so there is no study.backup.db; back the database up, for example with"
            " pg_dump"
        )
    OutsideTrials(storage, events.on_warning).check()
    events.on_setup(setup)


def earlier_final(save_dir: Path) -> dict[str, Any]:
    """Return the results of an earlier final phase from ``results.json``.

    These results are kept until a new final phase replaces them.

    Raises:
        SaveDirError: the file is damaged.
    """
    path = save_dir / RESULTS_FILE
    try:
        results: Mapping[str, Any] = read_results(path) or {}
    except ValueError as error:
        raise SaveDirError(
            f"{path} is damaged ({error}), so the retrained models are not known; restore the file, or remove it to retrain"
            " the best trials again",
            field=RESULTS_FILE,
            code="results-damaged",
        ) from error
    found = {key: results[key] for key in FINAL_KEYS if key in results}
    if not found.get("retrained_models"):
        found.pop("verdict", None)  # "no trial beats chance": more trials may change that
    return found
