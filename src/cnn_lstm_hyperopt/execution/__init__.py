"""Functions that run the trials of a study, in this process or in several worker processes."""

from cnn_lstm_hyperopt.execution.engines import ENGINES, SearchJob
from cnn_lstm_hyperopt.execution.placement import Gpu, gpus_of, places
from cnn_lstm_hyperopt.execution.stop import CTRL_C, TIMEOUT, StopSignal
from cnn_lstm_hyperopt.execution.trial_events import ActivityReporter, Backup, OutsideTrials, TrialEvents
from cnn_lstm_hyperopt.execution.trial_loop import EXHAUSTED, FINISHED, delete_stale_checkpoints, run_trials
from cnn_lstm_hyperopt.execution.worker_plan import (
    PASSES,
    STORED_AUTO_PRUNER,
    SUBSET,
    as_stored,
    memory_limit,
    starts_as_json,
    stored_pruner,
    study_plan,
)
from cnn_lstm_hyperopt.execution.worker_pool import delete_worker_files, resolve_workers, run_with_workers

__all__ = [
    "CTRL_C",
    "ENGINES",
    "EXHAUSTED",
    "FINISHED",
    "PASSES",
    "STORED_AUTO_PRUNER",
    "SUBSET",
    "TIMEOUT",
    "ActivityReporter",
    "Backup",
    "Gpu",
    "OutsideTrials",
    "SearchJob",
    "StopSignal",
    "TrialEvents",
    "as_stored",
    "delete_stale_checkpoints",
    "delete_worker_files",
    "gpus_of",
    "memory_limit",
    "places",
    "resolve_workers",
    "run_trials",
    "run_with_workers",
    "starts_as_json",
    "stored_pruner",
    "study_plan",
]
