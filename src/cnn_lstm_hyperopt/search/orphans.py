"""Trials whose process is gone: they wait to be gone on with, or end."""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from cnn_lstm_hyperopt.errors import TrialChangedError
from cnn_lstm_hyperopt.search.storage import StudyStorage
from cnn_lstm_hyperopt.search.trial import State


def pause_orphans(storage: StudyStorage, *, lacked_memory: bool = False) -> list[int]:
    """Every RUNNING trial is WAITING: its process is gone; perhaps for lack of memory, so that it saves more of it.

    Returns:
        Their numbers.
    """
    orphans = storage.unfinished(TrialState.RUNNING)
    for trial_id, trial in orphans:
        with contextlib.suppress(TrialChangedError):  # ended at this moment; the next look finds it
            if lacked_memory:
                storage.note(trial_id, "saving", trial.user_attrs.get("saving", 0) + 1)
            storage.pause(trial_id)
    return [trial.number for _, trial in orphans]


def fail_worker(storage: StudyStorage, worker: int, reason: str, cut_off_by: str) -> list[int]:
    """Ends the RUNNING trial of a worker whose process is gone while the run goes on. Returns its number, if there is one."""
    running = storage.unfinished(TrialState.RUNNING)
    orphans = [(trial_id, trial) for trial_id, trial in running if trial.user_attrs.get("worker") == worker]
    return _fail(storage, orphans, {"reason": reason, "cut_off_by": cut_off_by})


def fail_interrupted(storage: StudyStorage, reason: str) -> list[int]:
    """Ends every trial that is RUNNING or WAITING, since no process will go on with it. Returns their numbers."""
    return _fail(storage, storage.unfinished(TrialState.RUNNING, TrialState.WAITING), {"reason": reason})


def _fail(storage: StudyStorage, trials: Iterable[tuple[int, FrozenTrial]], attributes: Mapping[str, Any]) -> list[int]:
    """Returns the numbers of those that could be ended."""
    failed = []
    for trial_id, trial in trials:
        try:
            storage.finish(trial_id, State.FAIL, None, attributes)
        except TrialChangedError as error:
            storage.discard(trial_id, str(error))
        else:
            failed.append(trial.number)
    return failed
