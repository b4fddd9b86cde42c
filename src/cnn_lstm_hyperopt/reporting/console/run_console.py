"""The run on the terminal: what is searched, how far it is, what came out."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from cnn_lstm_hyperopt.config import PARAMETERS, SearchSpace, Settings
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.evaluation import Grade
from cnn_lstm_hyperopt.evaluation.grades import known_grade
from cnn_lstm_hyperopt.execution import FINISHED
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.pipeline.confirmation import Candidate, Confirmed
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.results.selection import SelectionBias
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, Retrained
from cnn_lstm_hyperopt.pipeline.setup import Setup
from cnn_lstm_hyperopt.pipeline.test_evaluation import Verdict
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.reporting.console.final_tables import (
    confirmation_lines,
    confirmation_table,
    period_table,
    selection_lines,
    verdict_lines,
)
from cnn_lstm_hyperopt.reporting.console.pruning import search_lines
from cnn_lstm_hyperopt.reporting.console.search_progress import SearchProgress
from cnn_lstm_hyperopt.reporting.console.search_tables import FRONT_ROWS, front_table, show_windows
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.run_dir.activity import Activity
from cnn_lstm_hyperopt.run_dir.paths import (
    BACKUP_FILE,
    CONFIG_FILE,
    DATA_FILE,
    FIGURES,
    LOG_FILE,
    REPORT_FILE,
    RESULTS_FILE,
    STUDY_FILE,
    TRIALS_FILE,
    VALIDATION,
    ensemble_folder,
    model_folder,
)
from cnn_lstm_hyperopt.search import Assignment, SkillThreshold, Study, StudyPlan, TrialRecord
from cnn_lstm_hyperopt.search.cost_forecast import FinalForecast, Forecast
from cnn_lstm_hyperopt.space.domains import domain_text
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork
from cnn_lstm_hyperopt.utils.text import counted, seconds_text

log = logging.getLogger(__name__)

_GRADE_STYLES = {
    Grade.CHANCE: "bold red",
    Grade.WORSE: "bold dark_orange",
    Grade.AS_GOOD: "bold blue",
    Grade.BETTER: "bold green",
}


class RunConsole(RunEvents):
    """Shows the events of a run.

    Args:
        terminal: where.
    """

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self._search: SearchProgress | None = None
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._objective = "accuracy"

    def on_warning(self, text: str) -> None:
        self.terminal.warn(text)

    # ------------------------------------------------------------------ before the search

    def on_benchmark_start(self) -> None:
        self.terminal.say("Measuring this machine's speed, once for all studies (a dozen seconds) …")

    def on_setup(self, setup: Setup) -> None:
        self.describe_data(setup.dataset, setup.skill)
        self.describe_space(setup.plan.space)
        if setup.first_trials:
            self.terminal.say(setup.first_trials)
        for warning in setup.warnings:
            self.terminal.warn(warning)

    def describe_data(self, dataset: Dataset, skill: SkillThreshold) -> None:
        """Source, dates, the table symbol × split, and what counts as having learnt something."""
        self._objective = skill.words
        facts, say = dataset.description, self.terminal.say
        used, windows = len(dataset.search_train), len(dataset.train)
        share = "" if used == windows else f"; trials use {used:,} of them"
        say(
            f"Data: {facts['source']}, target {dataset.target}, lookback {dataset.lookback}, horizon {dataset.horizon},"
            f" {windows:,} training windows{share}"
        )
        show_windows(self.terminal, facts)
        say(_chance_text(skill))
        best = facts.get("best_attainable_accuracy")
        if best is not None:
            say(f"This market is synthetic: the best attainable accuracy is {best:.1%}, known because it was made so.")
        for warning in dataset.warnings:
            self.terminal.warn(warning)

    def describe_space(self, space: SearchSpace) -> None:
        """How many parameters are searched, and where the space differs from the whole one."""
        changed = {name: domain for name, domain in space.domains.items() if domain != PARAMETERS[name].default}
        self.terminal.say(f"Search space: {len(space.searched())} parameters")
        if changed:
            shown = ", ".join(f"{name} {domain_text(domain)}" for name, domain in changed.items())
            self.terminal.say(f"  other than the whole space: {shown}", style="dim")

    def on_forecast(self, setup: Setup, search: Forecast, final: FinalForecast | None) -> None:
        say, speeds, train_share = self.terminal.say, setup.runner.speeds, setup.dataset.train_share
        low, median, high = search.trial_seconds
        share = "all training windows" if train_share == 1 else f"{train_share:.3g} of the training windows"
        say(
            f"Limits ({setup.plan.limits}) leave {search.share_left:.0%} of the space; on {share} such a trial is predicted"
            f" to train for {seconds_text(low)} to {seconds_text(high)} (median {seconds_text(median)}) over all its epochs."
        )
        say(f"  by the speeds of {speeds.device}, measured {speeds.measured[:10]}; --recalibrate measures anew", "dim")
        if search.trials:
            trials, workers = counted(search.trials, "trial"), counted(search.workers, "worker")
            say(
                f"Forecast: {trials} on {workers} take about {seconds_text(search.seconds)}, without what pruning saves;"
                f" {search.memory_mb / 1000:.1f} GB of memory at most and {search.disk_mb:.0f} MB of disk."
            )
        if final is not None:
            say(
                f"After the search, at most: {counted(final.confirmations, 'training')} to confirm the best of the front"
                f" ({seconds_text(final.confirmation_seconds)}), {counted(final.retrainings, 'retraining')}"
                f" ({seconds_text(final.retraining_seconds)}, less as patience ends them), one after the other;"
                " limits.retrain_seconds bounds both."
            )

    def on_dry_run(self) -> None:
        self.terminal.say("Dry run: no study was started or written; leave out --dry-run to begin.")

    def on_cut_off_trials(self, numbers: Sequence[int]) -> None:
        if len(numbers) == 1:
            self.terminal.say(f"Trial {numbers[0]} was cut off and will go on from its last checkpoint.")
        else:
            named = ", ".join(map(str, numbers))
            self.terminal.say(f"Trials {named} were cut off and will go on from their last checkpoints.")

    # ------------------------------------------------------------------ the search

    def on_search_plan(self, setup: Setup, study: Study) -> None:
        plan, seconds = study.plan, study.plan.limits.seconds
        self.terminal.say(
            f"Study {setup.settings.study.name}: {study.n_finished()} of {plan.n_trials} trials done,"
            f" {_searched_by(setup.settings, plan)}, seed {plan.seed}, {setup.runner.device},"
            f" at most {plan.max_epochs} epochs{'' if seconds is None else f' and {seconds:g} s'} a trial"
        )

    def on_search_start(self, study: Study, search: Forecast, seconds_left: Callable[[], float | None]) -> None:
        self._search = SearchProgress(self.terminal, study, search, seconds_left)

    def on_workers(self, count: int) -> None:
        self.terminal.say(f"{count} workers, one thread each")

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
        if ended_by == FINISHED:
            self.terminal.say(f"Search finished: {done} trials.")
        else:
            self.terminal.say(f"Search ended by {ended_by} with {done} of {plan.n_trials} trials.", style="yellow")
        self.show_front(study.front(), plan)
        for line in search_lines(study.records(), plan):
            self.terminal.say(line)

    def show_front(self, front: Sequence[TrialRecord], plan: StudyPlan) -> None:
        """The ranked front."""
        self.terminal.table(front_table(front, plan, self._objective))
        if len(front) > FRONT_ROWS:
            self.terminal.say(f"  … and {len(front) - FRONT_ROWS} more in results.json", style="dim")

    def on_selection_bias(self, bias: SelectionBias | None) -> None:
        for line in selection_lines(bias):
            self.terminal.say(line)

    # ------------------------------------------------------------------ after the search

    def on_confirmation_start(self, candidates: Sequence[Candidate], seeds: int, trainings: int) -> None:
        self.terminal.say(
            f"Confirming the first {len(candidates)} of the front on validation, each with {counted(seeds, 'fresh seed')}"
            f" ({counted(trainings, 'training')}) …"
        )

    def on_confirmation_end(self, confirmed: Confirmed, metric: str) -> None:
        self.terminal.table(confirmation_table(confirmed, metric))
        for line in confirmation_lines(confirmed, metric):
            self.terminal.say(line)

    def on_confirmation_interrupted(self, reason: str) -> None:
        self.terminal.say(f"Confirmation ended by {reason}; the test period stays closed.", style="yellow")

    def on_fewer_finalists(self, count: int, wanted: int) -> None:
        self.terminal.say(
            f"Retraining {counted(count, 'candidate')}, not {wanted}: the front and its confirmation left no more."
        )

    def on_retraining_start(
        self, finalist: Finalist, seed: int, seeds: int, epochs: int, *, fewer: bool, continues: bool
    ) -> None:
        limited = f", {epochs} epochs so as to keep limits.retrain_seconds" if fewer else ""
        again = ", from where it was" if continues else ""
        self.terminal.say(
            f"Retraining rank {finalist.rank} (trial {finalist.trial_number}) on all training windows, seed {seed} of"
            f" {seeds}{limited}{again} …"
        )

    def on_retraining_interrupted(self, reason: str) -> None:
        self.terminal.say(f"Retraining ended by {reason}; the test period stays closed.", style="yellow")

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
            text = f"{which}, epoch {report.epoch:.1f} of at most {epochs}, {report.seconds:.0f} s"
            self._bar.update(self._task, completed=report.epoch, total=epochs, description=text)

    def on_trainings_stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_results_kept(self, verdict: Mapping[str, Any]) -> None:
        self.terminal.say("These finalists are already retrained and tested; their results are kept.")
        self._show_grade(known_grade(verdict), verdict["sentence"])

    def on_test(self, verdict: Verdict, retrained: Sequence[Retrained], openings: int) -> None:
        terminal = self.terminal
        terminal.table(period_table(verdict, terminal.console.width))
        for line in verdict_lines(verdict, retrained):
            terminal.say(line)
        self._show_grade(verdict.judgement.grade, verdict.sentence)
        if len(verdict.finalists) > 1 or verdict.ensemble is not None:
            terminal.say(
                "The other models are exploratory: to choose one of them by these figures would be to fit the test period."
            )
        if openings == 1:
            terminal.say("The test period was opened once.")
        else:
            terminal.warn(f"test set evaluated {openings} times; results are no longer unbiased")

    def _show_grade(self, grade: Grade | None, sentence: str) -> None:
        """The verdict: its grade in its colour, if it has one, then the sentence."""
        if grade is not None:
            self.terminal.say(f"Verdict: {grade}", style=_GRADE_STYLES[grade])
        self.terminal.say(sentence, style="bold")

    # ------------------------------------------------------------------ results

    def on_run_end(self, save_dir: Path, results: Mapping[str, Any]) -> None:
        more = [model_folder(save_dir, entry["model_rank"]) for entry in results["retrained_models"]]
        if results["ensemble"]:
            more.append(ensemble_folder(save_dir))
        more += [path for path in (save_dir / REPORT_FILE, save_dir / FIGURES) if path.exists()]
        names = [RESULTS_FILE, TRIALS_FILE, STUDY_FILE, BACKUP_FILE, CONFIG_FILE, DATA_FILE, LOG_FILE, f"{VALIDATION}/"]
        self.terminal.say(
            f"Written to {save_dir}: {', '.join(names)}"
            + "".join(f", {path.name}{'' if path.is_file() else '/'}" for path in more)
        )


def _searched_by(settings: Settings, plan: StudyPlan) -> str:
    """``sampler gp, pruner median``, and where both or one were chosen by ``auto``, a pointer to the reason."""
    chosen = {"sampler": (settings.sampler.type, plan.sampler.type), "pruner": (settings.pruner.type, plan.pruner.type)}
    auto = [name for name, (asked, _) in chosen.items() if asked == "auto"]
    why = f" ({' and '.join(auto)} auto: docs/explanation/search-and-pruning.md has the table)" if auto else ""
    return ", ".join(f"{name} {settled}" for name, (_, settled) in chosen.items()) + why


def _chance_text(skill: SkillThreshold) -> str:
    """Above which score a trial beats chance."""
    above = METRICS[skill.metric].threshold_text(skill.chance, skill.threshold)
    return f"{above} (two standard errors) a trial beats chance."
