"""Learning curves of the trials that this process runs, and pruning decisions about these trials."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cnn_lstm_hyperopt.errors import TrialChangedError
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, ProgressReport
from cnn_lstm_hyperopt.search.assignment import Assignment
from cnn_lstm_hyperopt.search.pruners import PRUNERS
from cnn_lstm_hyperopt.search.pruning_audit import CONTROL, WOULD_HAVE_ENDED, is_control
from cnn_lstm_hyperopt.search.storage import StudyStorage
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.search.trial import Point, TrialRecord

LOOK_SECONDS = 2.0
"""Seconds between two writes of a running trial's curve, which the command ``status`` and dashboards show."""
LIMIT_TOLERANCE, LIMIT_EVIDENCE = 1.25, 0.05
"""A running trial is pruned if its projected seconds exceed the first number times the limit of seconds. The trial must first
have run for the second number times the limit, since other processes can slow its first steps by any factor."""


@dataclass
class Timings:
    """By trial number: milliseconds of the proposal, milliseconds of all pruning decisions, and number of pruning decisions."""

    propose_ms: dict[int, float] = field(default_factory=dict)
    prune_ms: dict[int, float] = field(default_factory=dict)
    decisions: dict[int, int] = field(default_factory=dict)


class RunningTrials:
    """Manager of this process's running trials: stores their curves and asks the pruner for decisions."""

    def __init__(self, storage: StudyStorage, plan: StudyPlan, timings: Timings) -> None:
        self._storage = storage
        self._plan = plan
        self._pruner = PRUNERS[plan.pruner.type](plan)
        self._timings = timings
        self._curves: dict[int, tuple[Point, ...]] = {}
        self._numbers: set[int] = set()
        self._would_have_ended: set[int] = set()
        self._stored_at = time.monotonic()

    def __contains__(self, number: int) -> bool:
        return number in self._numbers

    def pruner_warning(self) -> str | None:
        """Return the reason why the pruner can never end a trial in this study; None if the pruner can."""
        return self._pruner.inactive_because()

    def initial_attributes(self, number: int, records: Sequence[TrialRecord]) -> dict[str, bool]:
        """Return the attributes of a trial that starts now: whether the pruner makes it a control trial."""
        return {CONTROL: True} if self._pruner.starts_control(number, records) else {}

    def begin(self, trial_id: int, number: int, *, would_have_ended: bool = False) -> None:
        """Register a trial. ``would_have_ended``: True if the pruner decided to end this control trial before an interruption."""
        self._curves[trial_id] = ()
        self._numbers.add(number)
        if would_have_ended:
            self._would_have_ended.add(trial_id)

    def restart(self, assignment: Assignment) -> None:
        """Discard the curve of a trial that starts again and repeats its reports."""
        self._curves[assignment.trial_id] = ()

    def end(self, assignment: Assignment) -> None:
        """Remove a trial from the running trials, since this process no longer runs the trial."""
        self._curves.pop(assignment.trial_id, None)
        self._would_have_ended.discard(assignment.trial_id)
        self._numbers.discard(assignment.number)

    def curve(self, assignment: Assignment) -> tuple[Point, ...]:
        """Return the learning curve of a running trial."""
        return self._curves[assignment.trial_id]

    def report(self, assignment: Assignment, report: ProgressReport) -> Decision:
        """Store the report of an epoch and decide whether the trial continues."""
        limit = self._plan.limits.seconds
        seconds, projected = self._plan.training_seconds(
            assignment.cost, report.epoch, measured=(report.seconds, report.projected_seconds)
        )
        over_limit = (
            Decision(Action.PRUNE, f"limit: projected {projected:.0f} s exceed limits.trial_seconds={limit:g}")
            if limit is not None
            and projected is not None
            and projected > LIMIT_TOLERANCE * limit
            and seconds >= LIMIT_EVIDENCE * limit
            else CONTINUE
        )
        if report.score is None or report.loss is None:
            return over_limit
        point = Point(report.epoch, report.score, report.loss, seconds)
        curve = (*self._curves[assignment.trial_id], point)
        self._curves[assignment.trial_id] = curve
        self._keep(assignment.trial_id, curve)
        if report.last or report.again:
            return CONTINUE
        if over_limit.action is not Action.CONTINUE:
            return over_limit
        return self._decide(assignment, curve)

    def _keep(self, trial_id: int, curve: tuple[Point, ...]) -> None:
        """Store a running trial's curve if decisions about other trials use the curve, otherwise every :data:`LOOK_SECONDS`.

        A write takes 1 to 2 ms, about as long as an epoch of a small model. The full curve is stored at the trial's end.
        """
        now = time.monotonic()
        if (self._pruner.compares_running and self._pruner.acts(curve)) or now - self._stored_at > LOOK_SECONDS:
            self._storage.record_curve(trial_id, curve)
            self._stored_at = now

    def _decide(self, assignment: Assignment, curve: tuple[Point, ...]) -> Decision:
        """Return the pruner's decision about a trial; a control trial continues, and the decision is only recorded."""
        number, trial_id = assignment.number, assignment.trial_id
        if not self._pruner.acts(curve) or trial_id in self._would_have_ended:
            return CONTINUE
        records = self._storage.records(reread_running=self._pruner.compares_running)
        begun = time.perf_counter()
        trial = replace(numbered(records, number), curve=curve, seconds=curve[-1].seconds)
        others = [record for record in records if record.number != number]
        control = is_control(trial, self._plan.seed)
        reason = (
            self._pruner.reason_to_prune(trial, others) if control or not self._pruner.only_records(others) else None
        )
        took = 1000 * (time.perf_counter() - begun)
        self._timings.prune_ms[number] = self._timings.prune_ms.get(number, 0.0) + took
        self._timings.decisions[number] = self._timings.decisions.get(number, 0) + 1
        if reason is None:
            return CONTINUE
        if control:
            self._would_have_ended.add(trial_id)
            self._storage.note(trial_id, WOULD_HAVE_ENDED, {"epoch": curve[-1].epoch, "reason": reason})
            return CONTINUE
        return Decision(Action.PRUNE, reason)


def numbered(records: Sequence[TrialRecord], number: int) -> TrialRecord:
    """Return the record of the trial with this number; raise TrialChangedError if another program changed the trial."""
    found = next((record for record in reversed(records) if record.number == number), None)
    if found is None:
        raise TrialChangedError(f"another program changed trial {number}", code="trial-not-found")
    return found
