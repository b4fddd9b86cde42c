"""Reader of this program's trials in a study."""

import contextlib
import gc
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from datetime import datetime

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.trial import FrozenTrial, TrialState

from cnn_lstm_hyperopt.search.rows.base import Head, TrialRows
from cnn_lstm_hyperopt.search.storage_recovery import FAULTS, first_line
from cnn_lstm_hyperopt.search.study_format import DamagedError
from cnn_lstm_hyperopt.search.trial import TrialRecord, read_trial
from cnn_lstm_hyperopt.search.trial_seals import Ownership, Seals, own_attributes


class RecordsInOrder:
    """Records of trials in order of number. A change takes no longer with many records than with few."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._records: list[TrialRecord] = []

    def as_list(self) -> list[TrialRecord]:
        """Return all records."""
        return list(self._records)

    def put(self, record: TrialRecord) -> None:
        """Add a record, or replace the record with the same number."""
        place = bisect_left(self._numbers, record.number)
        if place < len(self._numbers) and self._numbers[place] == record.number:
            self._records[place] = record
        else:
            self._numbers.insert(place, record.number)
            self._records.insert(place, record)

    def remove(self, number: int) -> bool:
        """Remove the record with this number, if any; return whether there was one."""
        place = bisect_left(self._numbers, number)
        if place == len(self._numbers) or self._numbers[place] != number:
            return False
        del self._numbers[place], self._records[place]
        return True


class StoredTrials:
    """Records of a study's trials. An ended trial is read from the store only once.

    Attributes:
        foreign: state of each trial that another program added, by trial number.
        changed: change that another program made to each discarded trial, by trial number.
    """

    def __init__(self, rows: TrialRows, seals: Seals) -> None:
        self._rows = rows
        self._seals = seals
        self._ownership = Ownership(seals)
        self._records = RecordsInOrder()
        self._last_ended = -1
        self._ids: list[int] = []
        self._unfinished: dict[int, Head] = {}
        self._distributions: dict[str, BaseDistribution] = {}
        self.foreign, self.changed = self._ownership.foreign, self._ownership.changed
        self.news = self._ownership.news

    def records(self, *, reread_running: bool = True) -> list[TrialRecord]:
        """Return this program's trials in order of number; the arguments are those of :meth:`read`."""
        self.read(reread_running=reread_running)
        return self._records.as_list()

    def n_started(self) -> int:
        """Return the number of trials that this program started, as of the last read."""
        return len(self._ids) - len(self.foreign)

    def n_ended(self) -> int:
        """Return the position of the next trial in the order in which trials end, as of the last read."""
        return self._last_ended + 1

    def times(self) -> dict[int, tuple[datetime | None, datetime | None]]:
        """Return the start and end of each trial in local time, by trial number; None if the trial has not started or ended."""
        return {head.number: (head.started, head.ended) for head in self._rows.heads(-1, ())}

    def id_of(self, number: int) -> int:
        """Return the storage id of a trial that has been read; raise KeyError if there is none with this number."""
        if not 0 <= number < len(self._ids):
            raise KeyError(number)
        return self._ids[number]

    def of_states(self, *states: TrialState) -> Iterator[tuple[FrozenTrial, str | None]]:
        """Yield each unfinished trial of this program in one of the states, and the change made by another program, or None."""
        for trial in self.read():
            if trial.state in states:
                if self._ownership.accepts(trial):
                    yield trial, None
                elif (why := self.changed.get(trial.number)) is not None:
                    yield trial, why

    def require_compatible(self, distributions: Mapping[str, BaseDistribution]) -> None:
        """Raise ValueError if a parameter had a distribution of another kind, or other choices, in an earlier trial.

        Optuna's tools assume that all distributions of a parameter are compatible.
        """
        for name, distribution in distributions.items():
            check_distribution_compatibility(self._distributions.get(name, distribution), distribution)

    def read(self, *, reread_running: bool = True) -> list[FrozenTrial]:
        """Read new trials and trials that had not ended at the last read; return the trials that were read.

        Args:
            reread_running: whether trials are read again that were neither paused, resumed nor ended since the last read. Only
                their attributes can have changed, such as the learning curve.

        Raises:
            DamagedError: a trial is missing, can't be read or was changed; the text names the trial.
        """
        with _collecting_no_garbage():
            return self._read(reread_running=reread_running)

    def _read(self, *, reread_running: bool) -> list[FrozenTrial]:
        try:
            heads = self._rows.heads(self._ids[-1] if self._ids else -1, self._unfinished)
            outdated = [
                head.trial_id for head in heads if reread_running or self._unfinished.get(head.trial_id) != head
            ]
            trials = self._rows.trials(outdated)
        except FAULTS:
            raise
        except Exception as error:  # a damaged row can cause any error
            raise DamagedError(self._unreadable()) from error
        self._forget_removed({head.trial_id for head in heads})
        after = self._ids[-1] if self._ids else -1
        new = [head.trial_id for head in heads if head.trial_id > after]
        total = len(self._ids) + len(new)
        if new and heads[-1].number != total - 1:
            raise DamagedError(f"{heads[-1].number + 1 - total} of {heads[-1].number + 1} trials are missing")
        for trial in trials:
            self._take(trial)
        self._ids += new  # at the end, so that after an error the next read finds the same error
        return trials

    def _take(self, trial: FrozenTrial) -> None:
        if not trial.distributions.keys() <= self._distributions.keys():
            self._distributions = {**trial.distributions, **self._distributions}
        if self._ownership.accepts(trial):
            self._records.put(self._record(trial))
            self.changed.pop(trial.number, None)
        else:
            self._records.remove(trial.number)
        if trial.state.is_finished():
            self._unfinished.pop(trial._trial_id, None)
        else:
            self._unfinished[trial._trial_id] = Head.of(trial)

    def _record(self, trial: FrozenTrial) -> TrialRecord:
        """Return the record of a trial of this program."""
        ended = trial.state.is_finished()
        if ended and not self._seals.is_sealed(trial):
            raise DamagedError(f"trial {trial.number} was changed by another program or by the disk")
        try:
            record = read_trial(trial, own_attributes(trial))
            if ended:
                self._last_ended = max(self._last_ended, record.finish_order[0])
        except (LookupError, TypeError, ValueError) as error:
            raise DamagedError(f"trial {trial.number} can't be read: {error}") from error
        return record

    def _forget_removed(self, found: set[int]) -> None:
        """Forget the unfinished trials whose rows another program removed."""
        for trial_id in sorted(self._unfinished.keys() - found, reverse=True):
            head = self._unfinished.pop(trial_id)
            if self._records.remove(head.number):
                self.changed.setdefault(head.number, "another program removed it")
            if self._ids and trial_id == self._ids[-1]:
                self._ids.pop()  # SQLite gives the next trial the same id, and Optuna the same number

    def _unreadable(self) -> str:
        """Return a sentence about the first trial that can't be read."""
        for number, trial_id in enumerate(self._rows.ids()):
            try:
                self._rows.trials([trial_id])
            except Exception as error:  # noqa: BLE001 - as above
                return f"trial {number} can't be read: {first_line(error)}"
        return "its trials can't be read"


@contextlib.contextmanager
def _collecting_no_garbage() -> Iterator[None]:
    """Switch Python's garbage collector off while trials are read.

    The collector would visit the many new objects again and again, of which almost all are kept. It takes half of the time that
    5,000 trials take to be read.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
