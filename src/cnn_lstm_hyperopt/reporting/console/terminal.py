"""What a run shows: a progress bar on a terminal, plain lines in a pipe, and all of it in ``run.log``."""

import contextlib
import io
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import IO, Any, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from cnn_lstm_hyperopt.config import PARAMETERS, SearchSpace
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.evaluation import Grade
from cnn_lstm_hyperopt.execution.activity_file import Activity
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.pipeline.confirmation import Confirmed
from cnn_lstm_hyperopt.pipeline.retraining import Retrained
from cnn_lstm_hyperopt.pipeline.test_evaluation import Verdict
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.reporting.console.final_tables import (
    confirmation_lines,
    confirmation_table,
    period_table,
    verdict_lines,
)
from cnn_lstm_hyperopt.reporting.console.live import LiveSearch
from cnn_lstm_hyperopt.reporting.console.pruning import search_lines
from cnn_lstm_hyperopt.reporting.console.screen import LastingOutput
from cnn_lstm_hyperopt.reporting.console.search_tables import (
    FRONT_ROWS,
    fold_table,
    front_table,
    limits_text,
    split_table,
)
from cnn_lstm_hyperopt.reporting.grades import terminal_style
from cnn_lstm_hyperopt.search import Assignment, SkillGate, State, Study, StudyPlan, TrialRecord, above_chance
from cnn_lstm_hyperopt.search.forecast import FinalForecast, Forecast
from cnn_lstm_hyperopt.search.pruning_stats import LIMIT
from cnn_lstm_hyperopt.space.domains import domain_text
from cnn_lstm_hyperopt.training.cost_model import CostModel
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork
from cnn_lstm_hyperopt.utils.text import counted, epochs_text, seconds_text

log = logging.getLogger(__name__)

PIPED_WIDTH = 120
FORECAST_WEIGHT = 3
"""Trials that the forecast counts for in the time that is left."""
COMMANDS = ("cnn-lstm-hyperopt ", "mlflow ui ")
"""A line with one of them is not broken into several, so that it can be copied."""
TOO_DEAR = 5
"""Finished trials after which a search that only meets its limit is told of."""


class Terminal:
    """An observer of trials, and the place where everything is said."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(file=cast(IO[str], LastingOutput()), quiet=quiet, highlight=False, soft_wrap=True)
        if not self.console.is_terminal:
            self.console.width = PIPED_WIDTH
        self._live: LiveSearch | None = None
        self._progress: Progress | None = None
        self._task: Any = None
        self._study: Study | None = None
        self._started = 0.0
        self._done_before = self._done = 0
        self._warned = False
        self._seconds_left: Callable[[], float | None] = lambda: None
        self._expected: float | None = None
        self._objective = "accuracy"

    # ------------------------------------------------------------------ saying things

    def say(self, text: str, style: str = "") -> None:
        """One line, on the screen and in the log."""
        self._print(text, style)
        log.info("%s", text)

    def warn(self, text: str) -> None:
        """A warning."""
        self._print(f"Warning: {text}", "yellow")
        log.warning("%s", text)

    def _print(self, text: str, style: str = "") -> None:
        """Broken between words on a terminal; elsewhere a line stays a line."""
        whole = not self.console.is_terminal or any(command in text for command in COMMANDS)
        self.console.print(Text(text, style=style), soft_wrap=whole)

    def table(self, table: Table) -> None:
        """A table, on the screen and, as text, in the log."""
        self.console.print(table)
        # In a notebook a console displays what it prints, whatever its file is, unless its settings say otherwise.
        plain = Console(file=io.StringIO(), width=PIPED_WIDTH, no_color=True, force_jupyter=False)
        plain.print(table)
        text = plain.file.getvalue() if isinstance(plain.file, io.StringIO) else ""
        log.info("\n%s", text.rstrip())

    # ------------------------------------------------------------------ before the search

    def describe_data(self, dataset: Dataset, gate: SkillGate) -> None:
        """Source, dates, the table symbol × split, and what counts as having learnt something."""
        self._objective = gate.words
        facts = dataset.description
        share = (
            ""
            if len(dataset.search_train) == len(dataset.train)
            else f"; trials use {len(dataset.search_train):,} of them"
        )
        self.say(
            f"Data: {facts['source']}, target {dataset.target}, lookback {dataset.lookback}, horizon {dataset.horizon},"
            f" {len(dataset.train):,} training windows{share}"
        )
        self.show_windows(facts)
        self.say(_gate_text(gate))
        best = facts.get("best_attainable_accuracy")
        if best is not None:
            self.say(
                f"This market is synthetic: the best attainable accuracy is {best:.1%}, known because it was made so."
            )
        for warning in dataset.warnings:
            self.warn(warning)

    def show_windows(self, facts: dict[str, Any]) -> None:
        """Windows of each symbol in each split, the splits' dates, the balance of classes, and the folds."""
        self.table(split_table(facts))
        if "folds" in facts:
            self.table(fold_table(facts["folds"], facts["cv_scheme"]))

    def describe_space(self, space: SearchSpace) -> None:
        """How many parameters are searched, and where the space differs from the whole one."""
        changed = {name: domain for name, domain in space.domains.items() if domain != PARAMETERS[name].default}
        self.say(f"Search space: {len(space.searched())} parameters")
        if changed:
            shown = ", ".join(f"{name} {domain_text(domain)}" for name, domain in changed.items())
            self.say(f"  other than the whole space: {shown}", style="dim")

    def describe_forecast(self, plan: StudyPlan, speeds: CostModel, train_share: float, expected: Forecast) -> None:
        """What the limits leave of the space, what trials cost here, and the hours, memory and disk of the search."""
        low, median, high = expected.trial_seconds
        share = "all training windows" if train_share == 1 else f"{train_share:.3g} of the training windows"
        self.say(
            f"Limits ({limits_text(plan)}) leave {expected.share_left:.0%} of the space; on {share} such a trial is predicted"
            f" to train for {seconds_text(low)} to {seconds_text(high)} (median {seconds_text(median)}) over all its epochs."
        )
        self.say(
            f"  by the speeds of {speeds.device}, measured {speeds.measured[:10]}; --recalibrate measures anew", "dim"
        )
        if expected.trials:
            trials, workers = counted(expected.trials, "trial"), counted(expected.workers, "worker")
            self.say(
                f"Forecast: {trials} on {workers} take about {seconds_text(expected.seconds)}, without what pruning saves;"
                f" {expected.memory_mb / 1000:.1f} GB of memory at most and {expected.disk_mb:.0f} MB of disk."
            )

    def describe_final_forecast(self, expected: FinalForecast) -> None:
        """What comes after the search."""
        self.say(
            f"After the search, at most: {counted(expected.confirmations, 'training')} to confirm the best of the front"
            f" ({seconds_text(expected.confirmation_seconds)}), {counted(expected.retrainings, 'retraining')}"
            f" ({seconds_text(expected.retraining_seconds)}, less as patience ends them), one after the other;"
            " limits.retrain_seconds bounds both."
        )

    # ------------------------------------------------------------------ the search

    def watch(
        self,
        study: Study,
        *,
        seconds_left: Callable[[], float | None] = lambda: None,
        expected: Forecast | None = None,
    ) -> "_Watching":
        """A context in which trials are shown as they come; ``seconds_left`` tells of a timeout."""
        self._seconds_left = seconds_left
        self._expected = expected.seconds / expected.trials if expected is not None and expected.trials else None
        return _Watching(self, study)

    def on_trial_start(self, assignment: Assignment) -> None:
        """See execution.Observer."""
        again = f" (again: {assignment.retry_of})" if assignment.retry_of is not None else ""
        log.info("trial %d starts%s: %s", assignment.number, again, assignment.params)

    def on_trial_report(self, assignment: Assignment, report: ProgressReport) -> None:
        """See execution.Observer."""
        if report.score is not None:
            log.debug("trial %d epoch %g %s %.4f", assignment.number, report.epoch, self._objective, report.score)

    def show_activity(self, activities: Sequence[Activity]) -> None:
        """What each process is at, below the bar."""
        if self._live is not None:
            self._live.show(activities)

    def on_trial_trained(self, assignment: Assignment, trained: TrainedNetwork) -> None:
        """See execution.Observer; the end of the trial says it all."""

    def on_trial_end(self, record: TrialRecord, trained: TrainedNetwork | None) -> None:
        """See execution.Observer."""
        if self._study is None:
            return
        records = self._study.records()
        front = self._study.front()
        self._done += record.finished  # counted, not read: several trials of other processes may be heard of at once
        done = self._done
        status = self._status(records, front)
        joined = above_chance(record, self._study.plan.gate) and any(r.number == record.number for r in front)
        line = f"[{done}/{self._study.plan.n_trials}] trial {record.number} {_outcome_text(record, self._objective)}"
        line += " · joins the front" if joined else ""
        if self._live is not None:
            self._live.update(done=done, status=status, left=self._left_text(done))
            if joined:
                self._print(line)
            elif record.state is State.FAIL:
                self._print(line, "red")
            log.info("%s · %s", line, status)
        else:
            self.say(f"{line} · {status} · {self._left_text(done)}")
        self._warn_of_limits(records)

    def _warn_of_limits(self, records: Sequence[TrialRecord]) -> None:
        """Once, when the first trials were all too dear: waiting for the others would be in vain for long."""
        finished = [record for record in records if record.finished]
        if self._warned or len(finished) < TOO_DEAR:
            return
        self._warned = True
        if all(record.ended_by == LIMIT for record in finished):
            self.warn(
                f"the first {len(finished)} trials were all slower than limits.trial_seconds, though predicted to keep it: this"
                " machine is busier or slower than when its speed was measured; begin anew with --recalibrate"
            )

    def _status(self, records: Sequence[TrialRecord], front: Sequence[TrialRecord]) -> str:
        count = {state: sum(r.state is state for r in records) for state in State}
        best = max((r.values.score for r in records if r.values), default=None)
        shown = "best –" if best is None else f"best {best:.4f}"
        ended = f"{count[State.COMPLETE]} complete, {count[State.PRUNED]} pruned"
        ended += f", {count[State.FAIL]} failed" if count[State.FAIL] else ""
        below = front and self._study is not None and not above_chance(front[0], self._study.plan.gate)
        return f"{ended} · {shown} · front {len(front)}{', none above chance' if below else ''}"

    def _left_text(self, done: int) -> str:
        if self._study is None:
            return "time left –"
        ended = done - self._done_before
        weight = FORECAST_WEIGHT if self._expected is not None else 0  # the forecast counts like so many trials
        if ended + weight == 0:
            return "time left –"
        elapsed = time.monotonic() - self._started
        per_trial = ((self._expected or 0.0) * weight + elapsed) / (weight + ended)
        limit = self._seconds_left()
        left = per_trial * (self._study.plan.n_trials - done)
        minutes, seconds = divmod(round(left if limit is None else min(left, limit)), 60)
        return f"time left {minutes // 60}:{minutes % 60:02d}:{seconds:02d}"

    # ------------------------------------------------------------------ after the search

    def show_front(self, front: Sequence[TrialRecord], plan: StudyPlan) -> None:
        """The ranked front."""
        self.table(front_table(front, plan, self._objective))
        if len(front) > FRONT_ROWS:
            self.say(f"  … and {len(front) - FRONT_ROWS} more in results.json", style="dim")

    def show_pruning(self, records: Sequence[TrialRecord], plan: StudyPlan) -> None:
        """What pruning did, what it saved and may have cost, and how soon the front was almost there."""
        for line in search_lines(records, plan):
            self.say(line)

    @contextlib.contextmanager
    def watch_training(self, title: str) -> Iterator[None]:
        """A context in which trainings after the search are shown."""
        if not self.console.is_terminal or self.console.quiet:
            yield
            return
        columns = (TextColumn(title), BarColumn(bar_width=24), TextColumn("{task.description}", style="dim"))
        with Progress(*columns, console=self.console, refresh_per_second=2, transient=True) as self._progress:
            self._task = self._progress.add_task("")
            try:
                yield
            finally:
                self._progress = None

    def on_training(self, which: str, report: ProgressReport, epochs: int) -> None:
        """A training after the search has got further; ``which`` it is in a few words."""
        if report.score is not None:
            log.info("%s epoch %g %s %.4f", which, report.epoch, self._objective, report.score)
        if self._progress is not None:
            text = f"{which}, epoch {report.epoch:.1f} of at most {epochs}, {report.seconds:.0f} s"
            self._progress.update(self._task, completed=report.epoch, total=epochs, description=text)

    def show_confirmation(self, confirmed: Confirmed, plan: StudyPlan) -> None:
        """The candidates and what fresh seeds said of them."""
        self.table(confirmation_table(confirmed, plan.metric))
        for line in confirmation_lines(confirmed, plan.metric):
            self.say(line)

    def show_grade(self, grade: Grade | None, sentence: str) -> None:
        """The verdict: its grade in its colour, if it has one, then the sentence."""
        if grade is not None:
            self.say(f"Verdict: {grade}", style=terminal_style(grade))
        self.say(sentence, style="bold")

    def show_verdict(self, verdict: Verdict, retrained: Sequence[Retrained], *, opened: int) -> None:
        """Finalists and baselines on the test period, which was opened for the ``opened``-th time."""
        self.table(period_table(verdict, self.console.width))
        for line in verdict_lines(verdict, retrained):
            self.say(line)
        self.show_grade(verdict.judgement.grade, verdict.sentence)
        if len(verdict.finalists) > 1 or verdict.ensemble is not None:
            self.say(
                "The other models are exploratory: to choose one of them by these figures would be to fit the test period."
            )
        if opened == 1:
            self.say("The test period was opened once.")
        else:
            self.warn(
                f"the test period was opened for the {opened}. time; whoever looks again and again begins to fit it"
            )


class _Watching:
    """The live view's life; nothing is drawn when the output is no terminal."""

    def __init__(self, terminal: Terminal, study: Study) -> None:
        self._terminal, self._study = terminal, study

    def __enter__(self) -> None:
        terminal, study = self._terminal, self._study
        terminal._study = study
        terminal._started = time.monotonic()
        records = study.records()
        terminal._done_before = terminal._done = sum(record.finished for record in records)
        if terminal.console.is_terminal and not terminal.console.quiet:
            terminal._live = LiveSearch(
                terminal.console,
                total=study.plan.n_trials,
                done=terminal._done,
                status=terminal._status(records, study.front()),
                left=terminal._left_text(terminal._done),
            )
            terminal._live.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal._live is not None:
            self._terminal._live.stop()
            self._terminal._live = None
        self._terminal._study = None


def _gate_text(gate: SkillGate) -> str:
    """Above which score a trial beats chance."""
    above = METRICS[gate.metric].threshold_text(gate.chance, gate.threshold)
    return f"{above} (two standard errors) a trial beats chance."


def _outcome_text(record: TrialRecord, objective: str) -> str:
    if record.values is not None:
        score, seconds, size_mb = record.values
        return f"complete: {objective} {score:.4f}, {seconds:.1f} s, {size_mb:.3f} MB"
    word = {State.PRUNED: "pruned", State.FAIL: "failed"}.get(record.state, record.state.value.lower())
    return f"{word} after {epochs_text(record.attributes.get('epochs', 0))}: {record.reason}"
