"""Progress of a search: a progress bar on a terminal or in a notebook, or a line per trial in a file or pipe."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from cnn_lstm_hyperopt.reporting.console.live import LiveSearch
from cnn_lstm_hyperopt.reporting.console.live_notebook import NotebookSearch
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.run_dir.activity import Activity
from cnn_lstm_hyperopt.search import State, Study, TrialRecord, above_chance
from cnn_lstm_hyperopt.search.constraints import violation_text
from cnn_lstm_hyperopt.search.cost_forecast import Forecast
from cnn_lstm_hyperopt.search.pareto_front import feasible_trials
from cnn_lstm_hyperopt.search.pruning_stats import LIMIT
from cnn_lstm_hyperopt.utils.text import epochs_text

log = logging.getLogger(__name__)

FORECAST_WEIGHT = 3
"""Weight of the forecast in the estimate of the remaining time.

The forecast counts as much as this number of finished trials.
"""
RECENT_TRIALS = 50
"""Number of the latest trials whose duration is extrapolated. Late trials of ``gp`` are often more expensive than early ones."""
FIRST_TRIALS = 5
"""Number of trials at the start of a search. A warning is shown if the time limit stopped all of these trials."""


class SearchProgress:
    """Display of the progress of a search.

    Args:
        terminal: receives the lines.
        study: the open study.
        forecast: forecast of the cost of the trials that are still to run.
        seconds_left: function that returns the seconds until the timeout, or None without a timeout.
    """

    def __init__(
        self, terminal: Terminal, study: Study, forecast: Forecast, seconds_left: Callable[[], float | None]
    ) -> None:
        self._terminal, self._study, self._seconds_left = terminal, study, seconds_left
        self._expected = forecast.seconds / forecast.trials if forecast.trials else None
        records = study.records()
        self._done = sum(record.finished for record in records)
        self._recent = deque([(self._done, time.monotonic())], maxlen=RECENT_TRIALS + 1)
        """Number of finished trials, and the moment, at the start of the search and at the end of each trial."""
        self._warned = False
        self._live = self._live_view(records)
        if self._live is not None:
            self._live.start()

    def _live_view(self, records: Sequence[TrialRecord]) -> LiveSearch | NotebookSearch | None:
        console = self._terminal.console
        if console.quiet or not (console.is_terminal or console.is_jupyter):
            return None
        total, status = self._study.plan.n_trials, self._status(records, self._study.front())
        if console.is_jupyter:
            return NotebookSearch(total=total, done=self._done, status=status, left=self._left_text())
        return LiveSearch(console, total=total, done=self._done, status=status, left=self._left_text())

    def stop(self) -> None:
        """Remove the progress bar."""
        if self._live is not None:
            self._live.stop()

    def show_activity(self, activities: Sequence[Activity]) -> None:
        """Show the current activity of each process below the progress bar."""
        if self._live is not None:
            self._live.show(activities)

    def trial_ended(self, record: TrialRecord) -> None:
        """Show a trial that has ended, in the progress bar or as a line."""
        records, front, plan = self._study.records(), self._study.front(), self._study.plan
        self._done += record.finished  # several trials of other processes may be reported at once
        self._recent.append((self._done, time.monotonic()))
        status, left = self._status(records, front), self._left_text()
        joined = above_chance(record, plan.skill) and any(each.number == record.number for each in front)
        line = f"[{self._done}/{plan.n_trials}] trial {record.number}: {_outcome_text(record, plan.skill.words)}"
        line += " · joins the front" if joined else ""
        if self._live is not None:
            self._live.update(done=self._done, status=status, left=left)
            if joined:
                self._terminal.show(line)
            elif record.state is State.FAIL:
                self._terminal.show(line, "red")
            log.info("%s · %s", line, status)
        else:
            self._terminal.say(f"{line} · {left}")
            log.info("%s", status)
        self._warn_of_limits(records)

    def _warn_of_limits(self, records: Sequence[TrialRecord]) -> None:
        """Warn once if the time limit of a trial stopped all of the first :data:`FIRST_TRIALS` trials."""
        finished = [record for record in records if record.finished]
        if self._warned or len(finished) < FIRST_TRIALS:
            return
        self._warned = True
        if all(record.ended_by == LIMIT for record in finished):
            self._terminal.warn(
                f"the first {len(finished)} trials were all slower than limits.trial_seconds. This machine is busier or slower"
                " than when its speed was measured. Start a new study with --recalibrate."
            )

    def _status(self, records: Sequence[TrialRecord], front: Sequence[TrialRecord]) -> str:
        count = {state: sum(record.state is state for record in records) for state in State}
        best = max((record.values.score for record in feasible_trials(records) if record.values), default=None)
        infeasible = sum(not record.feasible for record in records)
        shown = "best –" if best is None else f"best {best:.4f}"
        broken = f" ({infeasible} infeasible)" if infeasible else ""
        ended = f"{count[State.COMPLETE]} complete{broken}, {count[State.PRUNED]} pruned"
        ended += f", {count[State.FAIL]} failed" if count[State.FAIL] else ""
        below = front and not above_chance(front[0], self._study.plan.skill)
        return f"{ended} · {shown} · front {len(front)}{', none above chance' if below else ''}"

    def _left_text(self) -> str:
        done_before, began = self._recent[0]
        ended, elapsed = self._done - done_before, time.monotonic() - began
        weight = FORECAST_WEIGHT if self._expected is not None else 0
        if ended + weight == 0:
            return "left –"
        per_trial = ((self._expected or 0.0) * weight + elapsed) / (weight + ended)
        limit = self._seconds_left()
        left = per_trial * (self._study.plan.n_trials - self._done)
        minutes, seconds = divmod(round(left if limit is None else min(left, limit)), 60)
        hours = f"{minutes // 60}:{minutes % 60:02d}" if minutes >= 60 else f"{minutes}"
        return f"left {hours}:{seconds:02d}"


def _outcome_text(record: TrialRecord, objective: str) -> str:
    if record.values is not None:
        score, seconds, size_mb = record.values
        broken = "" if record.feasible else f" · infeasible: {violation_text(record)}"
        return f"{objective} {score:.4f}, {seconds:.1f} s, {size_mb:.3f} MB{broken}"
    word = {State.PRUNED: "pruned", State.FAIL: "failed"}.get(record.state, record.state.value.lower())
    return f"{word} after {epochs_text(record.attributes.get('epochs', 0))}: {record.reason}"
