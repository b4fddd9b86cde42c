"""Functions for unfinished trials whose process has ended: their state is set to WAITING or FAIL."""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from cnn_lstm_hyperopt.errors import TrialChangedError
from cnn_lstm_hyperopt.search.storage import StudyStorage
from cnn_lstm_hyperopt.search.trial import State


def pause_orphans(storage: StudyStorage, *, lacked_memory: bool = False) -> list[int]:
    """Set all RUNNING trials to WAITING, since their processes have ended; return the numbers of these trials.

    Args:
        storage: storage of the study.
        lacked_memory: True if the process may have ended for lack of memory. Each trial then continues at the next memory level.
    """
    orphans = storage.unfinished(TrialState.RUNNING)
    for trial_id, trial in orphans:
        with contextlib.suppress(TrialChangedError):  # it has just ended; the next read finds it
            if lacked_memory:
                storage.note(trial_id, "saving", trial.user_attrs.get("saving", 0) + 1)
            storage.pause(trial_id)
    return [trial.number for _, trial in orphans]


def fail_worker(storage: StudyStorage, worker: int, reason: str, cut_off_by: str) -> list[int]:
    """Set the RUNNING trial of a worker whose process has ended to FAIL; return its number in a list, which may be empty."""
    running = storage.unfinished(TrialState.RUNNING)
    orphans = [(trial_id, trial) for trial_id, trial in running if trial.user_attrs.get("worker") == worker]
    return _fail(storage, orphans, {"reason": reason, "cut_off_by": cut_off_by})


def fail_interrupted(storage: StudyStorage, reason: str) -> list[int]:
    """Set all RUNNING and WAITING trials to FAIL, since no process will continue them; return the numbers of these trials."""
    return _fail(storage, storage.unfinished(TrialState.RUNNING, TrialState.WAITING), {"reason": reason})


def _fail(storage: StudyStorage, trials: Iterable[tuple[int, FrozenTrial]], attributes: Mapping[str, Any]) -> list[int]:
    """Set trials to FAIL, except trials that another program has changed; return the numbers of the trials that were set."""
    failed = []
    for trial_id, trial in trials:
        try:
            storage.finish(trial_id, State.FAIL, None, attributes)
        except TrialChangedError as error:
            storage.discard(trial_id, str(error))
        else:
            failed.append(trial.number)
    return failed
