"""Functions for unfinished trials whose process has ended: their state is set to WAITING or FAIL."""

import contextlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from cnn_lstm_hyperopt.errors import TrialChangedError
from cnn_lstm_hyperopt.search.storage import StudyStorage
from cnn_lstm_hyperopt.search.trial import LOST, State


def pause_orphans(
    storage: StudyStorage, *, lacked_memory: bool = False, workers: Collection[int | str] = ()
) -> list[int]:
    """Set RUNNING trials to WAITING, since their processes have ended; return the numbers of these trials.

    In a study that several machines share, only the trials of ``workers`` are set to WAITING, and the trials of lost workers to
    FAIL (see :func:`fail_lost`).

    Args:
        storage: storage of the study.
        lacked_memory: True if the process may have ended for lack of memory. Each trial then continues at the next memory level.
        workers: identifiers of ended workers of a shared study.
    """
    lost = fail_lost(storage)
    orphans = storage.unfinished(TrialState.RUNNING)
    if storage.shared:
        orphans = [(trial_id, trial) for trial_id, trial in orphans if trial.user_attrs.get("worker") in workers]
    for trial_id, trial in orphans:
        with contextlib.suppress(TrialChangedError):  # it has just ended; the next read finds it
            if lacked_memory:
                storage.note(trial_id, "saving", trial.user_attrs.get("saving", 0) + 1)
            storage.pause(trial_id)
    return sorted([*lost, *(trial.number for _, trial in orphans)])


def fail_lost(storage: StudyStorage) -> list[int]:
    """Set the RUNNING trials of lost workers to FAIL; return the numbers of these trials. Another worker continues each of them.

    A worker is lost if it sent no heartbeats for the time of a lease. Only a study that several machines share has leases. If the
    worker still runs, its next write to the trial is refused, and it drops the trial.
    """
    expired = set(storage.expired())
    if not expired:
        return []
    orphans = [each for each in storage.unfinished(TrialState.RUNNING) if each[0] in expired]
    return _fail(storage, orphans, {"reason": "its worker sent no heartbeats", "cut_off_by": LOST})


def fail_worker(storage: StudyStorage, worker: int | str, reason: str, cut_off_by: str) -> list[int]:
    """Set the RUNNING trial of a worker whose process has ended to FAIL; return its number in a list, which may be empty."""
    running = storage.unfinished(TrialState.RUNNING)
    orphans = [(trial_id, trial) for trial_id, trial in running if trial.user_attrs.get("worker") == worker]
    return _fail(storage, orphans, {"reason": reason, "cut_off_by": cut_off_by})


def fail_interrupted(storage: StudyStorage, reason: str) -> list[int]:
    """Set all unfinished trials to FAIL, since no process will continue them; return the numbers of these trials.

    In a study that several machines share, only WAITING trials are set to FAIL: a worker may still run the others.
    """
    states = (TrialState.WAITING,) if storage.shared else (TrialState.RUNNING, TrialState.WAITING)
    return _fail(storage, storage.unfinished(*states), {"reason": reason})


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
