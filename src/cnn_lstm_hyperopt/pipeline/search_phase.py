"""Search phase of a run, which runs trials in this process or in worker processes."""

import logging
from typing import Any

from cnn_lstm_hyperopt.errors import StorageFailedError
from cnn_lstm_hyperopt.execution import (
    ENGINES,
    FINISHED,
    ActivityReporter,
    Backup,
    OutsideTrials,
    SearchJob,
    StopSignal,
    delete_stale_checkpoints,
    delete_worker_files,
)
from cnn_lstm_hyperopt.execution.artifacts import StudyFiles, open_store, stored_files
from cnn_lstm_hyperopt.execution.validation_files import delete_validation
from cnn_lstm_hyperopt.pipeline.advice import below_chance_text
from cnn_lstm_hyperopt.pipeline.results.writer import selection_bias, selection_is_due, write_results
from cnn_lstm_hyperopt.pipeline.session import Session
from cnn_lstm_hyperopt.pipeline.study_library import add_to_library
from cnn_lstm_hyperopt.run_dir.paths import CHECKPOINTS, VALIDATION
from cnn_lstm_hyperopt.run_dir.run_log import log_phase
from cnn_lstm_hyperopt.run_dir.storage_errors import storage_faults
from cnn_lstm_hyperopt.search import State, above_chance
from cnn_lstm_hyperopt.search.orphans import fail_interrupted

log = logging.getLogger(__name__)


def search_and_write(session: Session, stop: StopSignal) -> dict[str, Any]:
    """Search, then write the results. If the search fails, write the results and raise the error again.

    After a second Ctrl-C or a storage error, no results are written. A resumed run writes the results.
    """
    try:
        search(session, stop)
    except StorageFailedError:
        raise
    except Exception:
        try:
            write_results(session)
        except Exception as second:  # noqa: BLE001 - the first error is the one to report
            log.warning("the results can't be written: %s", second)
        raise
    return write_results(session)


def search(session: Session, stop: StopSignal) -> str:
    """Run trials until ``study.n_trials`` trials are finished or the search ends early. Return the reason of the end."""
    study, setup, events, save_dir = session.study, session.setup, session.events, session.save_dir
    events.on_search_plan(setup, study)
    forecast = setup.forecast(study.records())
    events.on_forecast(setup, forecast, setup.final_forecast())
    if study.n_finished() < study.plan.n_trials:
        for warning in study.warnings():
            events.on_warning(warning)
    log_phase("search")
    events.on_search_start(study, forecast, lambda: stop.seconds_left)
    try:
        with storage_faults(save_dir):
            ended_by = _run_to_end(session, stop)
    finally:
        events.on_search_stop()
    session.interrupted = stop.interrupted
    log_phase("search ended")
    events.on_search_end(study, ended_by)
    front = study.front()
    if front and not above_chance(front[0], study.plan.skill):
        events.on_warning(below_chance_text(session.settings, study.plan, study.records(), session.interface))
    if not session.interrupted:
        add_to_library(session)
    if selection_is_due(session):
        events.on_selection_bias(selection_bias(session))
    return ended_by


def _run_to_end(session: Session, stop: StopSignal) -> str:
    """Run the trials, then delete temporary files. Return the reason for the end of the search."""
    study, save_dir = session.study, session.save_dir
    url = session.settings.study.artifacts
    files: StudyFiles | None
    try:
        if url is not None and study.n_finished() < study.plan.n_trials:
            files = StudyFiles.publish(open_store(url), study.storage, save_dir, session.runner.data)
        else:
            files = stored_files(session.settings, study.storage)
        ended_by = _run_trials(session, stop)
    finally:
        delete_worker_files(save_dir)
    if ended_by == FINISHED:
        fail_interrupted(
            study.storage, f"interrupted, and the study reached its {study.plan.n_trials} trials without it"
        )
    delete_stale_checkpoints(study, save_dir / CHECKPOINTS)
    if files is not None:
        files.collect(study, save_dir)
    failed = [record.number for record in study.records() if record.state is State.FAIL]
    delete_validation(save_dir / VALIDATION, [*failed, *study.storage.skipped])
    OutsideTrials(study.storage, session.events.on_warning).check()
    return ended_by


def _run_trials(session: Session, stop: StopSignal) -> str:
    """Run trials on the engine of the settings."""
    study, events, save_dir = session.study, session.events, session.save_dir
    outside = OutsideTrials(study.storage, events.on_warning)
    job = SearchJob(
        settings=session.settings,
        study=study,
        runner=session.runner,
        workers=session.setup.workers,
        gpus=session.setup.gpus,
        stop=stop,
        callbacks=[outside, events, Backup(study.storage)],
        activity=ActivityReporter(save_dir, events.on_activity),
        on_workers=events.on_workers,
        warn=events.on_warning,
    )
    return ENGINES[session.settings.engine]().run(job)
