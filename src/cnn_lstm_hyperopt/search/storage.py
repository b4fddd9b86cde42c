"""Storage of a study in Optuna's tables, which every Optuna tool can read."""

import contextlib
import functools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.errors import TrialChangedError
from cnn_lstm_hyperopt.search.dashboard import write_notes
from cnn_lstm_hyperopt.search.open_study import OpenStudy, guarded
from cnn_lstm_hyperopt.search.rows.base import Change
from cnn_lstm_hyperopt.search.trial import Point, State, TrialRecord, Values
from cnn_lstm_hyperopt.search.trial_changes import End, pause, running_trial
from cnn_lstm_hyperopt.search.trial_seals import DISCARDED, MARK


class StudyStorage(OpenStudy):
    """Storage of the trials of one study in an SQLite file, on a server or in memory.

    Learning curves are stored as trial attributes, since ``Trial.report`` raises in a study of several objectives, and
    intermediate values break Optuna's TPE.
    """

    @guarded
    def start(
        self, params: Params, distributions: Mapping[str, BaseDistribution], attributes: Mapping[str, Any]
    ) -> tuple[int, int]:
        """Insert a RUNNING trial in one transaction; return the trial's storage id and number."""
        self._trials.require_compatible(distributions)
        stored: dict[str, Any] = json.loads(json.dumps(dict(attributes)))
        mark = self._seals.mark(params, distributions, stored)
        trial = running_trial(params, distributions, stored, {MARK: mark} if mark else {})
        trial_id, number = self._rows.insert(trial)
        self._begin(trial_id, stored)
        return trial_id, number

    def _begin(self, trial_id: int, stored: dict[str, Any]) -> None:
        """Register a trial that this process runs."""
        self._stored[trial_id] = stored
        if self._leases is not None:
            self._leases.hold(trial_id)

    def _end(self, trial_id: int) -> None:
        """Forget a trial that this process no longer runs."""
        self._stored.pop(trial_id, None)
        self._ending.discard(trial_id)
        if self._leases is not None:
            self._leases.release(trial_id)

    def record_curve(self, trial_id: int, curve: tuple[Point, ...]) -> None:
        """Store the learning curve of a running trial."""
        self.note(trial_id, "curve", [list(point) for point in curve])

    @guarded
    def note(self, trial_id: int, name: str, value: Any) -> None:
        """Store a JSON value as a user attribute of a trial."""
        value = json.loads(json.dumps(value))
        if self._leases is not None and self._leases.is_lost(trial_id):
            raise TrialChangedError("another process ended it", code="trial-ended")
        self._rows.note(trial_id, name, value)
        if trial_id in self._stored:
            self._stored[trial_id][name] = value

    @guarded
    def finish(
        self,
        trial_id: int,
        state: State,
        values: Values | None,
        attributes: Mapping[str, Any],
        *,
        excesses: Sequence[float] = (),
    ) -> None:
        """Store the result of a trial in one transaction, so that the data of an ended trial are always complete.

        Args:
            trial_id: storage id of the trial.
            state: final state.
            values: objective values of a COMPLETE trial; None for other states.
            attributes: user attributes to store with the trial.
            excesses: skill threshold minus score, then value minus bound of each constraint; empty without a score. Optuna and
                optuna-dashboard treat a value above 0 as a violated constraint, so that both show the same front as this program.

        Raises:
            TrialChangedError: another program ended, edited or removed the trial.
        """
        end = End(state, values, json.loads(json.dumps(dict(attributes))), excesses)
        again = trial_id in self._ending  # an earlier attempt lost its connection and may have been stored
        self._ending.add(trial_id)
        try:
            self._rows.change(trial_id, lambda trial: end.change(trial, self._stored.get(trial_id), self._seals))
        except TrialChangedError as error:
            if error.code != "trial-ended" or not again or not self._is_stored(trial_id, end):
                raise
        self._end(trial_id)

    def _is_stored(self, trial_id: int, end: End) -> bool:
        """Return whether a trial has this end, stored by this program."""
        return any(end.is_stored(trial) and self._seals.is_sealed(trial) for trial in self._rows.trials([trial_id]))

    @guarded
    def discard(self, trial_id: int, why: str) -> None:
        """Set a trial that another program changed to FAIL, without a seal; :meth:`records` omits this trial from now on."""
        self._end(trial_id)
        with contextlib.suppress(TrialChangedError):  # it has ended or is gone
            self._rows.change(trial_id, lambda _: Change(TrialState.FAIL, system_attributes={DISCARDED: why}))

    @guarded
    def write_notes(self, notes: Mapping[int | None, str]) -> None:
        """Write notes for optuna-dashboard; see :func:`.dashboard.write_notes`."""
        self._trials.read(reread_running=False)
        write_notes(self._storage, self._study_id, notes, self._trials.id_of)

    def n_started(self) -> int:
        """Return the number of trials that this program had started when :meth:`records` last read the trials."""
        return self._trials.n_started()

    @guarded
    def n_ended(self) -> int:
        """Return the position of the next trial in the order in which trials end."""
        self._trials.read(reread_running=False)
        return self._trials.n_ended()

    @property
    def skipped(self) -> dict[int, str]:
        """Return, by trial number, the state of each trial of another program and the change to each discarded trial."""
        return {**self._trials.foreign, **self._trials.changed}

    @guarded
    def records(self, *, reread_running: bool = True) -> list[TrialRecord]:
        """Return this program's trials in order of number; ended trials are read from the file once.

        Args:
            reread_running: whether the attributes of running trials, such as the learning curve, are read again. Decisions that
                need only ended trials read much less without these attributes.
        """
        return self._trials.records(reread_running=reread_running)

    @guarded
    def times(self) -> dict[int, tuple[datetime | None, datetime | None]]:
        """Return the start and end of each trial in local time, by trial number; None if the trial has not started or ended."""
        return self._trials.times()

    @guarded
    def pause(self, trial_id: int) -> None:
        """Set a RUNNING trial to WAITING, to be resumed."""
        self._rows.change(trial_id, functools.partial(pause, stored=self._stored.get(trial_id)))
        self._end(trial_id)

    @guarded
    def claim(self, number: int, *, worker: int | str | None = None) -> int:
        """Set a WAITING trial to RUNNING (in a worker); return the trial's storage id.

        The trial may already be RUNNING, since ``study.ask()`` of another program sets WAITING trials to RUNNING. Its start is
        set in any case, so that other processes notice the claim.
        """
        attributes = {} if worker is None else {"worker": worker}
        found: dict[str, Any] = {}

        def claiming(trial: FrozenTrial) -> Change:
            found.update(trial.user_attrs, **attributes)
            return Change(TrialState.RUNNING, attributes=attributes)

        self._trials.read(reread_running=False)
        try:
            trial_id = self._trials.id_of(number)
        except KeyError as error:
            raise TrialChangedError("another program removed it", code="trial-removed") from error
        self._rows.change(trial_id, claiming)
        self._begin(trial_id, found)
        return trial_id

    @guarded
    def unfinished(self, *states: TrialState) -> list[tuple[int, FrozenTrial]]:
        """Return storage ids and trials of this program in these states; discard the trials that another program changed."""
        ours = []
        for trial, changed in self._trials.of_states(*states):
            if changed is None:
                ours.append((trial._trial_id, trial))
            else:
                self.discard(trial._trial_id, changed)
        return ours
