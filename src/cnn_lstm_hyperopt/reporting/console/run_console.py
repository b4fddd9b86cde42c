"""Terminal output of a run: data, budget, forecast, progress, verdict and next command."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.evaluation import Grade
from cnn_lstm_hyperopt.evaluation.grades import known_grade
from cnn_lstm_hyperopt.execution import FINISHED
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.pipeline.advice import Interface, skipped_baselines, skipped_baselines_text
from cnn_lstm_hyperopt.pipeline.confirmation import Candidate, Confirmed
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.results.ensemble import ensemble_text, weights_text
from cnn_lstm_hyperopt.pipeline.results.selection import SelectionBias
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, Retrained
from cnn_lstm_hyperopt.pipeline.setup import Setup
from cnn_lstm_hyperopt.pipeline.test_evaluation import Verdict
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.reporting.console.final_tables import (
    confirmation_lines,
    confirmation_table,
    next_lines,
    period_table,
    selection_lines,
    verdict_lines,
)
from cnn_lstm_hyperopt.reporting.console.forecast import forecast_details, forecast_lines
from cnn_lstm_hyperopt.reporting.console.pruning import search_lines
from cnn_lstm_hyperopt.reporting.console.search_progress import SearchProgress
from cnn_lstm_hyperopt.reporting.console.search_tables import (
    FRONT_ROWS,
    data_lines,
    front_table,
    picks_line,
    show_windows,
)
from cnn_lstm_hyperopt.reporting.console.tables import fitting_texts
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.reporting.console.walk_forward import walk_forward_table
from cnn_lstm_hyperopt.reporting.infeasible import infeasible_lines
from cnn_lstm_hyperopt.run_dir.activity import Activity
from cnn_lstm_hyperopt.run_dir.paths import REPORT_FILE, RESULTS_FILE, TRIALS_FILE
from cnn_lstm_hyperopt.search import Assignment, SkillThreshold, Study, StudyPlan, TrialRecord
from cnn_lstm_hyperopt.search.cost_forecast import FinalForecast, Forecast
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork
from cnn_lstm_hyperopt.utils.text import counted, enumerated

log = logging.getLogger(__name__)

WARNING_LINES = 4
"""Maximum number of lines that warnings fill before the search."""

_GRADE_STYLES = {
    Grade.CHANCE: "bold red",
    Grade.WORSE: "bold dark_orange",
    Grade.AS_GOOD: "bold blue",
    Grade.BETTER: "bold green",
}


class RunConsole(RunEvents):
    """Subscriber that prints the events of a run. Details are printed only in verbose mode; ``run.log`` always has all lines.

    Args:
        terminal: receives the lines.
        interface: the command line or Python, whichever the user called. Commands and hints are written for this interface.
    """

    def __init__(self, terminal: Terminal, interface: Interface = Interface.COMMAND_LINE) -> None:
        self.terminal, self._interface = terminal, interface
        self._search: SearchProgress | None = None
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._objective = "accuracy"
        self._missing_trials = 0
        self._settings: Settings | None = None
        self._held_warnings: list[str] | None = None
        self._verdict: tuple[Grade | None, str] | None = None
        self._ending: tuple[Path, Mapping[str, Any]] | None = None
        self._models: dict[int, int] = {}

    def on_warning(self, text: str) -> None:
        if self._held_warnings is not None:
            self._held_warnings.append(text)
        self.terminal.warn(text, hidden=self._held_warnings is not None)

    def on_settings(self, settings: Settings) -> None:
        self._settings = settings

    def on_benchmark_start(self) -> None:
        self.terminal.say("Measuring the speed of this machine once (about 20 s) …")

    def on_study(self, settings: Settings, study: Study, earlier: Mapping[str, Any]) -> None:
        self._models = {each["trial_number"]: each["model_rank"] for each in earlier.get("retrained_models") or ()}

    def on_setup(self, setup: Setup) -> None:
        self._objective = setup.skill.words
        _describe_data(self.terminal, setup.dataset, setup.skill)
        self.terminal.say(setup.power.sentence)
        if setup.first_trials:
            self.terminal.detail(setup.first_trials)
        if not self.terminal.verbose:
            self._held_warnings = []  # shown together, before the first trial
        for text in (*setup.dataset.warnings, *setup.warnings):
            self.on_warning(text)

    def _show_warnings(self) -> None:
        """Print stored warnings up to :data:`WARNING_LINES` lines, then the number of omitted warnings.

        The log has all warnings.
        """
        warnings, self._held_warnings = self._held_warnings or [], None
        fitting = fitting_texts([f"Warning: {text}" for text in warnings], WARNING_LINES)
        for text in fitting:
            self.terminal.show(text, "yellow")
        if n_hidden := len(warnings) - len(fitting):
            flag = "--verbose" if self._interface is Interface.COMMAND_LINE else "verbose=True"
            self.terminal.show(f"{counted(n_hidden, 'more warning')}: {flag} shows all.", "yellow")

    def on_forecast(self, setup: Setup, search: Forecast, final: FinalForecast | None) -> None:
        for line in forecast_lines(setup, search, final):
            self.terminal.say(line)
        for line in forecast_details(setup, search, final):
            self.terminal.detail(line)

    def on_dry_run(self) -> None:
        self._show_warnings()
        self.terminal.say("Dry run: nothing was started or written. Remove --dry-run to start.")

    def on_cut_off_trials(self, numbers: Sequence[int]) -> None:
        named = f"{counted(len(numbers), 'interrupted trial')} ({enumerated(numbers, 10)})"
        self.terminal.say(f"Continuing {named} from the last checkpoint.")

    def on_search_plan(self, setup: Setup, study: Study) -> None:
        plan = study.plan
        self.terminal.detail(
            f"Study {setup.settings.study.name}: {study.n_finished()} of {plan.n_trials} trials done,"
            f" {_searched_by(setup.settings, plan)}, seed {plan.seed}"
        )

    def on_search_start(self, study: Study, search: Forecast, seconds_left: Callable[[], float | None]) -> None:
        self._show_warnings()
        self._search = SearchProgress(self.terminal, study, search, seconds_left)

    def on_workers(self, count: int) -> None:
        self.terminal.detail(f"{count} workers, one thread each")

    def on_activity(self, activities: Sequence[Activity]) -> None:
        if self._search is not None:
            self._search.show_activity(activities)

    def on_trial_start(self, assignment: Assignment) -> None:
        again = f" (again: {assignment.retry_of})" if assignment.retry_of is not None else ""
        log.info("trial %d starts%s: %s", assignment.number, again, assignment.params)

    def on_trial_report(self, assignment: Assignment, report: ProgressReport) -> None:
        if report.score is not None:
            log.debug("trial %d epoch %g %s %.4f", assignment.number, report.epoch, self._objective, report.score)

    def on_trial_end(self, record: TrialRecord, trained: TrainedNetwork | None) -> None:
        if self._search is not None:
            self._search.trial_ended(record)

    def on_search_stop(self) -> None:
        if self._search is not None:
            self._search.stop()
            self._search = None

    def on_search_end(self, study: Study, ended_by: str) -> None:
        done, plan = study.n_finished(), study.plan
        self._missing_trials = max(0, plan.n_trials - done)
        if ended_by == FINISHED:
            self.terminal.say(f"Search finished: {done} trials.")
        else:
            self.terminal.say(f"Search ended by {ended_by} with {done} of {plan.n_trials} trials.", style="yellow")
        front = study.front()
        self.terminal.table(front_table(front, plan, self._objective, self.terminal.console.width, models=self._models))
        if len(front) > FRONT_ROWS:
            self.terminal.say(f"  … and {len(front) - FRONT_ROWS} more in results.json", style="dim")
        if (picks := picks_line(front, self._objective)) is not None:
            self.terminal.say(picks)
        for line in [*(infeasible_lines(study.records()) if front else ()), *search_lines(study.records(), plan)]:
            self.terminal.say(line)

    def on_selection_bias(self, bias: SelectionBias | None) -> None:
        for line in selection_lines(bias):
            self.terminal.say(line)

    def on_confirmation_start(self, candidates: Sequence[Candidate], seeds: int, trainings: int) -> None:
        self._show_warnings()
        n, new = len(candidates), counted(seeds, "new seed")
        which = f"the best trial with {new}" if n == 1 else f"the {n} best trials with up to {new} each"
        self.terminal.say(f"Confirming {which} ({counted(trainings, 'training')}) …")

    def on_confirmation_end(self, confirmed: Confirmed, metric: str) -> None:
        self.terminal.table(confirmation_table(confirmed, metric))
        for line in confirmation_lines(confirmed, metric):
            self.terminal.say(line)

    def on_confirmation_interrupted(self, reason: str) -> None:
        self.terminal.say(f"Confirmation ended by {reason}. The test set stays locked.", style="yellow")

    def on_fewer_finalists(self, count: int, wanted: int) -> None:
        self.terminal.say(f"Retraining {counted(count, 'model')}, not {wanted}: there are no more candidates.")

    def on_retraining_start(
        self, finalist: Finalist, seed: int, seeds: int, epochs: int, *, fewer: bool, continues: bool
    ) -> None:
        limited = f", {epochs} epochs to keep limits.retrain_seconds" if fewer else ""
        again = ", from its checkpoint" if continues else ""
        show = self.terminal.say if self._bar is None else self.terminal.detail  # the progress bar shows the same text
        show(
            f"Retraining model {finalist.rank} (trial {finalist.trial_number}), seed {seed} of {seeds}{limited}{again} …"
        )

    def on_period_start(self, number: int, of: int) -> None:
        self.terminal.say(f"Walk-forward test: training again for period {number} of {of} …")

    def on_walk_forward_interrupted(self, reason: str) -> None:
        self.terminal.say(
            f"Walk-forward test ended by {reason}. A resumed run completes this evaluation.", style="yellow"
        )

    def on_retraining_interrupted(self, reason: str) -> None:
        self.terminal.say(f"Retraining ended by {reason}. The test set stays locked.", style="yellow")

    def on_trainings_start(self, title: str) -> None:
        console = self.terminal.console
        if console.is_terminal and not console.quiet:
            columns = (TextColumn(title), BarColumn(bar_width=24), TextColumn("{task.description}", style="dim"))
            self._bar = Progress(*columns, console=console, refresh_per_second=2, transient=True)
            self._task = self._bar.add_task("")
            self._bar.start()

    def on_training(self, which: str, report: ProgressReport, epochs: int) -> None:
        if report.score is not None:
            log.info("%s epoch %g %s %.4f", which, report.epoch, self._objective, report.score)
        if self._bar is not None:
            text = f"{which}, epoch {report.epoch:.1f}/{epochs}, {report.seconds:.0f} s"
            self._bar.update(self._task, completed=report.epoch, total=epochs, description=text)

    def on_trainings_stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_results_kept(self, verdict: Mapping[str, Any]) -> None:
        self.terminal.say("These models are already retrained and tested. Their results are kept.")
        self._verdict = known_grade(verdict), verdict["sentence"]

    def on_verdict_again(self, changes: Sequence[str]) -> None:
        self.terminal.say(f"{'; '.join(changes)}. The stored models get a new verdict, without a new training.")

    def on_test(self, verdict: Verdict, retrained: Sequence[Retrained], openings: int) -> None:
        terminal = self.terminal
        terminal.table(period_table(verdict, terminal.console.width))
        if verdict.periods:
            terminal.table(walk_forward_table(verdict))
        for line in verdict_lines(verdict, retrained):
            terminal.say(line)
        if (skipped := skipped_baselines_text(skipped_baselines(verdict.skipped_baselines))) is not None:
            terminal.say(skipped)
        if len(verdict.finalists) > 1 or verdict.ensemble is not None:
            terminal.say("Only model 1 counts: choosing another by these scores overfits the test set.")
        if openings == 1:
            terminal.say("Test set evaluated once.")
        else:
            terminal.warn(
                f"test set evaluated {openings} times; results are no longer unbiased, and intervals are wider"
            )
        self._verdict = verdict.judgement.grade, verdict.sentence

    def on_run_end(self, save_dir: Path, results: Mapping[str, Any]) -> None:
        names = [TRIALS_FILE, *([REPORT_FILE] if (save_dir / REPORT_FILE).exists() else [])]
        if (ensemble := results["ensemble"]) and self._verdict is not None:
            self.terminal.say(f"Ensemble: {ensemble_text(ensemble)}; {weights_text(ensemble)}.")
        models = len(results["retrained_models"]) + bool(ensemble)
        names += [counted(models, "model folder")] if models else []
        self.terminal.say(f"Written to {save_dir}: {RESULTS_FILE}, {', '.join(names)}")
        self._ending = save_dir, results

    def on_study_end(self, error: BaseException | None) -> None:
        self._show_warnings()
        if error is not None:  # the run ends without on_finished
            self._show_verdict()

    def on_finished(self) -> None:
        shown = self._show_verdict()
        if self._ending is None or self._settings is None:
            return
        if not shown:
            self.terminal.say("Verdict: none yet. No model was evaluated on the test set.", style="bold")
        save_dir, results = self._ending
        for line in next_lines(save_dir, results, self._settings.data, self._missing_trials, self._interface):
            self.terminal.say(line)
        self._ending = None

    def _show_verdict(self) -> bool:
        """Print the verdict of the run. Return False if the run has no verdict."""
        if self._verdict is None:
            return False
        (grade, sentence), self._verdict = self._verdict, None
        if grade is not None:
            self.terminal.say(f"Verdict: {grade}", style=_GRADE_STYLES[grade])
        self.terminal.say(sentence, style="bold")
        return True


def _searched_by(settings: Settings, plan: StudyPlan) -> str:
    """Return the names of the sampler and the pruner as text. If ``auto`` chose one of them, add a link to the measurements."""
    chosen = {"sampler": (settings.sampler.type, plan.sampler.type), "pruner": (settings.pruner.type, plan.pruner.type)}
    auto = [name for name, (asked, _) in chosen.items() if asked == "auto"]
    why = f" ({' and '.join(auto)} auto: docs/explanation/search-and-pruning.md has the table)" if auto else ""
    return ", ".join(f"{name} {settled}" for name, (_, settled) in chosen.items()) + why


def _describe_data(terminal: Terminal, dataset: Dataset, skill: SkillThreshold) -> None:
    """Print the source of the bars, the target, the windows and the skill threshold."""
    say, facts = terminal.say, dataset.description
    used = len(dataset.search_train)
    head, *splits = data_lines(facts, used_by_trials=None if used == len(dataset.train) else used)
    for line in [head] if terminal.verbose else [head, *splits]:
        say(line)
    show_windows(terminal, facts, hidden=not terminal.verbose)
    say(f"{METRICS[skill.metric].threshold_text(skill.chance, skill.threshold)} a trial beats chance.")
    if (best := facts.get("best_attainable_accuracy")) is not None:
        say(f"Best attainable accuracy on this synthetic market: {best:.1%}.")
