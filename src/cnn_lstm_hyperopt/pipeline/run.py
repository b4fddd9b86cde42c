"""Main flow of a run, from the settings to the results in ``save_dir``."""

from typing import Any

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.errors import EmptyFrontError, InterruptedRunError
from cnn_lstm_hyperopt.execution import ENGINES, OutsideTrials, StopSignal
from cnn_lstm_hyperopt.execution.artifacts import check_artifacts
from cnn_lstm_hyperopt.models.inputs import possible_groups
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.final_phase import run_final_phase
from cnn_lstm_hyperopt.pipeline.final_refit import with_final_refit
from cnn_lstm_hyperopt.pipeline.fingerprint import with_stored_space
from cnn_lstm_hyperopt.pipeline.results.writer import write_results
from cnn_lstm_hyperopt.pipeline.save_dir_check import check_database, held_for_a_check
from cnn_lstm_hyperopt.pipeline.search_phase import search_and_write
from cnn_lstm_hyperopt.pipeline.session import open_session
from cnn_lstm_hyperopt.pipeline.setup import prepare_again, prepare_new
from cnn_lstm_hyperopt.run_dir.paths import resume_command
from cnn_lstm_hyperopt.run_dir.run_log import log_phase
from cnn_lstm_hyperopt.search import StudyStorage, TrialRecord, database_of, stored_groups
from cnn_lstm_hyperopt.search.cost_forecast import Forecast


def run(settings: Settings, events: RunEvents, *, resume: bool, recalibrate: bool = False) -> dict[str, Any]:
    """Search, retrain the best models, test them once and write the results. The command ``run`` calls this function.

    Args:
        settings: settings of the run.
        events: receives the events of the run.
        resume: True to continue the study in ``save_dir``.
        recalibrate: True to measure this machine's speed again.

    Raises:
        InputError: the data, the settings or the directory can't be used. No trial was started.
        EmptyFrontError: no trial is complete and feasible. The results are written.
        InterruptedRunError: Ctrl-C or SIGTERM ended the run. The results of finished trials are written.
        StorageFailedError: files in ``save_dir`` can no longer be written. Finished trials are in ``study.db``.
    """
    check_database(settings, resume=resume)
    events.on_settings(settings)
    ENGINES[settings.engine].check(settings)
    if settings.study.artifacts is not None:
        check_artifacts(settings.study.artifacts)
    stop = StopSignal(settings.study.timeout)
    with stop.listening():
        dataset = dataset_of(settings, resume=resume)
        with open_session(settings, dataset, resume=resume, events=events, recalibrate=recalibrate) as session:
            results = search_and_write(session, stop)
            if settings.retrain.enabled and not stop.interrupted and results["best_trials"]:
                run_final_phase(session, stop)
                log_phase("results")
                results = with_final_refit(session, stop, write_results(session))
            log_phase("finished")
            if settings.report and not stop.interrupted:
                events.on_report_due(settings.save_dir)
            events.on_run_end(settings.save_dir, results)
            if stop.interrupted:
                raise InterruptedRunError(
                    f"interrupted; finished trials are saved, continue with: {resume_command(settings.save_dir)}",
                    code="interrupted",
                )
            if not results["best_trials"]:
                raise EmptyFrontError(session.empty_front_text(), code="empty-front")
        events.on_finished()
        return results


def dataset_of(settings: Settings, *, resume: bool) -> Dataset:
    """Return the dataset of a run, with the groups of features that its search space may use.

    A resumed study keeps the groups with which its models were trained. Without a valid ``data.json``, these are the groups of
    the stored search space.

    Raises:
        InputError: the data or the stored study can't be used.
    """
    groups = stored_groups(settings.save_dir) if resume else None
    if groups is None:
        groups = possible_groups((_as_stored(settings) if resume else settings).whole_space)
    dataset = prepare_dataset(
        settings.data, evaluation=settings.evaluation, pooled=settings.retrain.refit, groups=groups
    )
    return dataset.with_own_groups() if settings.features.select else dataset


def _as_stored(settings: Settings) -> Settings:
    """Return the settings with the search space of the study in ``save_dir``."""
    storage = StudyStorage(database_of(settings, resume=True))
    try:
        return with_stored_space(settings, storage)
    finally:
        storage.close()


def dry_run(settings: Settings, events: RunEvents, *, resume: bool, recalibrate: bool = False) -> Forecast:
    """Forecast the cost of a run without starting a trial or writing files.

    Raises:
        InputError: in the same cases as :func:`run`.
    """
    check_database(settings, resume=resume)
    events.on_settings(settings)
    ENGINES[settings.engine].check(settings)
    with held_for_a_check(settings.save_dir):
        check_database(settings, resume=resume)
    dataset = dataset_of(settings, resume=resume)
    records: list[TrialRecord] = []
    if not resume:
        setup = prepare_new(settings, dataset, on_benchmark=events.on_benchmark_start, recalibrate=recalibrate)
    else:
        storage = StudyStorage(database_of(settings, resume=True))
        try:
            setup = prepare_again(settings, dataset, storage)
            records = storage.records()
            OutsideTrials(storage, events.on_warning).check()
        finally:
            storage.close()
    events.on_setup(setup)
    forecast = setup.forecast(records)
    events.on_forecast(setup, forecast, setup.final_forecast())
    events.on_dry_run()
    return forecast
