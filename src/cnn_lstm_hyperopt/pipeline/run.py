"""The main flow: settings and a dataset in, results in ``save_dir`` out."""

import contextlib
import logging
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import Settings, dump_settings
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.data.shared_arrays import save_trial_data
from cnn_lstm_hyperopt.errors import (
    EmptyFrontError,
    InterruptedRunError,
    SaveDirError,
    StorageFailedError,
)
from cnn_lstm_hyperopt.evaluation.selection_bias import DeflatedSharpe, TrialSeries, deflated, read_trials
from cnn_lstm_hyperopt.execution import (
    FINISHED,
    ActivityKeeper,
    Observer,
    StopSignal,
    forget_left_over,
    forget_worker_files,
    run_trials,
    run_with_workers,
    starts_as_json,
)
from cnn_lstm_hyperopt.execution.backup import BackupKeeper
from cnn_lstm_hyperopt.execution.outside_trials import OutsideKeeper
from cnn_lstm_hyperopt.execution.validation_files import ValidationWriter, forget_validation
from cnn_lstm_hyperopt.pipeline.final_phase import AFTER_SEARCH, FinalRound, forget_final_round
from cnn_lstm_hyperopt.pipeline.results.final_results import selection_results, untested_verdict
from cnn_lstm_hyperopt.pipeline.results.search_results import (
    cost_model_facts,
    environment,
    read_results,
    search_facts,
    search_results,
)
from cnn_lstm_hyperopt.pipeline.results.trials_csv import trials_csv
from cnn_lstm_hyperopt.pipeline.save_dir_check import check_save_dir, held_for_a_check, make_directory
from cnn_lstm_hyperopt.pipeline.setup import Preparation, prepare_again, prepare_new
from cnn_lstm_hyperopt.reporting.console.advice import Interface, below_chance_text, empty_front_text
from cnn_lstm_hyperopt.reporting.console.final_tables import selection_lines
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.reporting.dashboard_notes import dashboard_notes
from cnn_lstm_hyperopt.run_dir.paths import (
    BACKUP_FILE,
    CHECKPOINTS,
    CONFIG_FILE,
    DATA_FILE,
    DATA_FOR_WORKERS,
    FIGURES,
    FINAL,
    LOG_FILE,
    REPORT_FILE,
    RESULTS_FILE,
    STUDY_FILE,
    TRIALS_FILE,
    VALIDATION,
    ensemble_folder,
    model_folder,
    only_run,
    resume_command,
    run_log,
    storage_faults,
)
from cnn_lstm_hyperopt.search import State, Study, StudyPlan, StudyStorage, TrialRecord, above_chance
from cnn_lstm_hyperopt.search.forecast import Forecast
from cnn_lstm_hyperopt.search.storage_recovery import first_line
from cnn_lstm_hyperopt.tracking import tracked, tracking_target
from cnn_lstm_hyperopt.training.runtime.memory import have_grown, memory_kills
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner
from cnn_lstm_hyperopt.utils.atomic_io import remove_parts, write_json, write_text
from cnn_lstm_hyperopt.utils.text import counted

log = logging.getLogger(__name__)

NOT_WORKED_OUT = {
    "pbo": {"value": None, "why": "the run was interrupted before it was worked out; a run that goes on does that"},
    "deflated_sharpe": None,
}
"""In ``results.json``, of what choosing among all trials does."""


def run_experiment(
    settings: Settings, *, resume: bool, terminal: Terminal, recalibrate: bool = False
) -> dict[str, Any]:
    """Search, retrain, test once, write. The whole of ``cnn-lstm-hyperopt run``.

    Raises:
        InputError: data, settings or directory are wrong; nothing was started.
        EmptyFrontError: no trial is complete; results are written all the same.
        InterruptedRunError: the user pressed Ctrl-C, or the system asked the process to end; results of what is finished are
            written.
        StorageFailedError: nothing more can be stored; what is finished is in ``study.db``.
    """
    check_save_dir(settings.save_dir, resume=resume, data_dir=settings.data.data_dir)
    tracking_target(settings)  # what is wrong with it is said before the data are read
    stop = StopSignal(settings.study.timeout)
    with stop.listening():
        dataset = prepare_dataset(settings.data)
        with open_experiment(
            settings, dataset, resume=resume, terminal=terminal, recalibrate=recalibrate
        ) as experiment:
            results = experiment.search_and_write(stop)
            if settings.retrain.enabled and not stop.interrupted and results["best_trials"]:
                experiment.retrain(stop)
                results = experiment.write_results()
            reported = experiment.write_report(stop)
            experiment.show_paths()
            if stop.interrupted:
                raise InterruptedRunError(
                    f"interrupted; what was finished is saved, go on with: {resume_command(settings.save_dir)}"
                )
            if not results["best_trials"]:
                raise EmptyFrontError(experiment.empty_front_text())
        if reported is not None:
            terminal.say(report_text(reported), style="bold")
        return results


def dry_run(settings: Settings, *, resume: bool, terminal: Terminal, recalibrate: bool = False) -> Forecast:
    """Says what the run would take, and neither starts nor writes anything.

    Raises:
        InputError: what the run itself would refuse.
    """
    check_save_dir(settings.save_dir, resume=resume, data_dir=settings.data.data_dir)
    tracking_target(settings)
    with held_for_a_check(settings.save_dir):
        check_save_dir(settings.save_dir, resume=resume)
    dataset = prepare_dataset(settings.data)
    records: list[TrialRecord] = []
    if not resume:
        preparation = prepare_new(settings, dataset, terminal, recalibrate=recalibrate)
    else:
        storage = StudyStorage(settings.save_dir / STUDY_FILE)
        try:
            preparation = prepare_again(settings, dataset, storage)
            records = storage.records()
            outside = storage.news()
        finally:
            storage.close()
        for line in outside:
            terminal.warn(line)
    _describe(preparation, terminal)
    expected = preparation.forecast(records)
    terminal.describe_forecast(preparation.plan, preparation.runner.speeds, preparation.dataset.train_share, expected)
    if (final := preparation.final_forecast()) is not None:
        terminal.describe_final_forecast(final)
    terminal.say("Dry run: no study was started or written; leave out --dry-run to begin.")
    return expected


def _searched_by(settings: Settings, plan: StudyPlan) -> str:
    """``sampler gp, pruner median``, and where nobody chose, what says why it is so."""
    chosen = {"sampler": (settings.sampler.type, plan.sampler.type), "pruner": (settings.pruner.type, plan.pruner.type)}
    auto = [name for name, (asked, _) in chosen.items() if asked == "auto"]
    why = f" ({' and '.join(auto)} auto: docs/pruning.md has the table)" if auto else ""
    return ", ".join(f"{name} {settled}" for name, (_, settled) in chosen.items()) + why


def _describe(preparation: Preparation, terminal: Terminal) -> None:
    terminal.describe_data(preparation.dataset, preparation.gate)
    terminal.describe_space(preparation.plan.space)
    if preparation.first_trials:
        terminal.say(preparation.first_trials)
    for warning in preparation.warnings:
        terminal.warn(warning)


@dataclass
class Experiment:
    """A study on a dataset in a directory; search, retraining and results work on it in turn."""

    settings: Settings
    preparation: Preparation
    study: Study
    terminal: Terminal
    after_search: dict[str, Any] = field(default_factory=dict)
    interface: Interface = Interface.COMMAND_LINE
    _series: tuple[int, TrialSeries | None] | None = None
    _hurried: bool = False
    _final_round_over: bool = False

    @property
    def dataset(self) -> Dataset:
        """What is searched on."""
        return self.preparation.dataset

    @property
    def runner(self) -> TrialRunner:
        """What trains."""
        return self.preparation.runner

    def search_and_write(self, stop: StopSignal) -> dict[str, Any]:
        """Searches and writes the results; also when an error ends the search, which is the one that is told.

        A second Ctrl-C ends it at once, and when nothing can be stored there is nowhere to write to: a later run writes them.
        """
        try:
            self.search(stop)
        except StorageFailedError:
            raise
        except Exception:
            try:
                self.write_results()
            except Exception as second:  # noqa: BLE001 - whatever it is, it is not why the search ended
                log.warning("the results can't be written: %s", second)
            raise
        return self.write_results()

    def search(self, stop: StopSignal) -> str:
        """Runs trials up to ``study.n_trials``; returns what ended it."""
        study, terminal = self.study, self.terminal
        done = study.n_finished()
        terminal.say(
            f"Study {self.settings.study.name}: {done} of {study.plan.n_trials} trials done,"
            f" {_searched_by(self.settings, study.plan)}, seed {study.plan.seed}, {self.runner.device},"
            f" at most {study.plan.max_epochs} epochs"
            + ("" if study.plan.limits.seconds is None else f" and {study.plan.limits.seconds:g} s")
            + " a trial"
        )
        expected = self.preparation.forecast(study.records())
        terminal.describe_forecast(study.plan, self.runner.speeds, self.dataset.train_share, expected)
        if (final := self.preparation.final_forecast()) is not None:
            terminal.describe_final_forecast(final)
        for warning in (study.sampler_warning(), study.pruner_warning()):
            if warning is not None:
                terminal.warn(warning)
        watch = terminal.watch(study, seconds_left=lambda: stop.seconds_left, expected=expected)
        save_dir = self.settings.save_dir
        with storage_faults(save_dir), watch:
            self._note_for_dashboard(self.after_search)
            try:
                end = self._run_trials(stop)
            finally:
                forget_worker_files(save_dir)
            if end == FINISHED:
                study.storage.fail_left_over(f"cut off, and the study had its {study.plan.n_trials} trials without it")
            forget_left_over(study, save_dir / CHECKPOINTS)
            failed = [record.number for record in study.records() if record.state is State.FAIL]
            forget_validation(save_dir / VALIDATION, [*failed, *study.storage.skipped])
            OutsideKeeper(study.storage, terminal.warn).tell()
        self._hurried = stop.interrupted
        if end == FINISHED:
            terminal.say(f"Search finished: {study.n_finished()} trials.")
        else:
            terminal.say(
                f"Search ended by {end} with {study.n_finished()} of {study.plan.n_trials} trials.",
                style="yellow",
            )
        front = study.front()
        terminal.show_front(front, study.plan)
        if front and not above_chance(front[0], study.plan.gate):
            terminal.warn(below_chance_text(self.settings, study.plan, study.records(), self.interface))
        terminal.show_pruning(study.records(), study.plan)
        if self._selection_bias_is_due():
            for line in selection_lines(self.selection_bias()):
                terminal.say(line)
        return end

    def _run_trials(self, stop: StopSignal) -> str:
        """In this process, or in workers that share one file of windows."""
        save_dir, data = self.settings.save_dir, self.runner.data
        workers = self.preparation.workers
        backup = BackupKeeper(self.study.storage)
        activity = ActivityKeeper(save_dir, self.terminal.show_activity)
        outside = OutsideKeeper(self.study.storage, self.terminal.warn)
        if workers == 1 or self.study.n_finished() >= self.study.plan.n_trials:  # nobody is started for nothing
            writer = ValidationWriter(save_dir / VALIDATION, data.folds)
            observers: list[Observer] = [outside, self.terminal, writer, backup, activity]
            return run_trials(
                self.study, self.runner, stop=stop, observers=observers, checkpoints=save_dir / CHECKPOINTS
            )
        self.terminal.say(f"{workers} workers, one thread each")
        save_trial_data(save_dir / DATA_FOR_WORKERS, data)
        return run_with_workers(
            self.study,
            save_dir,
            workers,
            stop=stop,
            observers=[outside, self.terminal, backup],
            silence_seconds=self.settings.limits.worker_silence_seconds,
            on_activity=activity.keep,
            warn=self.terminal.warn,
        )

    def retrain(self, stop: StopSignal) -> list[dict[str, Any]]:
        """Confirms the best of the front, retrains K of them and tests these once; returns an entry for each."""
        final = FinalRound(self.settings, self.dataset, self.runner, self.study, self.terminal, self.after_search)
        save_dir = self.settings.save_dir
        with storage_faults(save_dir):
            # A Python program may ask for other models than config.yaml says.
            write_text(save_dir / CONFIG_FILE, dump_settings(self.settings), make_folder=False)
            entries = final.run(stop)
        self._final_round_over = bool(entries)
        return entries

    def write_results(self) -> dict[str, Any]:
        """Writes ``results.json`` and ``trials.csv``; returns the results."""
        records, plan, save_dir = self.study.records(), self.study.plan, self.settings.save_dir
        found = search_results(self.settings.study.name, records, plan.gate, plan.space)
        best = next(iter(found["best_trials"]), None)
        untested = None
        if best is None or not best["above_chance"]:
            done = sum(record.finished for record in records)
            untested = untested_verdict(plan.gate, best and best["values"][0], done, plan.n_trials) if done else None
        results = {
            **found,
            "confirmation": None,
            "retrained_models": [],
            "ensemble": None,
            "baselines": [],
            "verdict": untested,
            **self.after_search,
            "overfitting": selection_results(self.selection_bias())
            if self._selection_bias_is_due()
            else NOT_WORKED_OUT,
            "test_openings": self.study.storage.attribute("test_openings") or [],
            **search_facts(records, plan),
            "cost_model": cost_model_facts(self.runner.speeds, records, plan.max_epochs),
            "environment": environment(str(self.runner.device), plan.seed),
        }
        table = trials_csv(
            records,
            plan.space,
            plan.gate,
            train_share=self.dataset.train_share,
            estimated_memory=(lambda params: plan.cost(params).memory_mb) if plan.estimated_time else None,
        )
        with storage_faults(save_dir):
            write_json(save_dir / RESULTS_FILE, results, make_folder=False)
            write_text(save_dir / TRIALS_FILE, table, make_folder=False)
        self._note_for_dashboard(results)
        self.study.storage.fold_log()
        self.study.storage.back_up()
        if self._final_round_over:
            forget_final_round(save_dir, self.study.storage)
        with contextlib.suppress(OSError):  # there is something to go on with in it
            (save_dir / CHECKPOINTS).rmdir()
        return results

    def _note_for_dashboard(self, results: Mapping[str, Any]) -> None:
        """Tells those who open the study in optuna-dashboard what they see."""
        notes = dashboard_notes(
            self.study.plan.gate,
            results.get("verdict"),
            results.get("retrained_models", []),
            skipped=self.study.storage.skipped,
        )
        ours = {record.number for record in self.study.records()}
        self.study.storage.write_notes(
            {number: note for number, note in notes.items() if number is None or number in ours}
        )

    def write_report(self, stop: StopSignal) -> Path | None:
        """Writes ``report.html`` and ``figures/``; what goes wrong with them is told, and costs nothing else.

        Returns:
            The path of the page; None: there is none, for it is not wanted, or whoever ends a run does not want to wait.
        """
        save_dir = self.settings.save_dir
        if not self.settings.report or stop.interrupted:
            return None
        from cnn_lstm_hyperopt.reporting.html import write_report  # matplotlib and plotly come with it

        try:
            return write_report(save_dir, running=False)  # the run that is at work ends with it
        except Exception as error:
            log.debug("no report", exc_info=True)
            self.terminal.warn(
                f"the report can't be written: {first_line(error)}; once that is mended: cnn-lstm-hyperopt report --save-dir"
                f" {shlex.quote(str(save_dir))}"
            )
            return None

    def _selection_bias_is_due(self) -> bool:
        """Whether it is known already, or there is time to work it out: who ends a run does not want to wait."""
        return not self._hurried or (self._series is not None and self._series[0] == self.study.n_finished())

    def selection_bias(self) -> tuple[TrialSeries, DeflatedSharpe | None] | None:
        """What choosing among all trials does, by their predictions on validation; None before there are any."""
        finished = {record.number for record in self.study.records() if record.finished}
        if self._series is None or len(finished) > self._series[0]:
            series = read_trials(
                self.settings.save_dir / VALIDATION,
                finished,
                self.dataset,
                metric=self.study.plan.metric,
                cost_bps=self.settings.evaluation.cost_bps,
            )
            self._series = len(finished), series
            if series is not None and series.missing:
                self.terminal.warn(
                    f"{VALIDATION}/ lacks the predictions of {counted(len(series.missing), 'trial')}, or they are damaged, so the"
                    f" probability of overfitting knows nothing of them: {', '.join(map(str, series.missing[:10]))}"
                )
        series = self._series[1]
        if series is None:
            return None
        confirmation, front = self.after_search.get("confirmation"), self.study.front()
        ranked = [entry["trial_number"] for entry in (confirmation or {}).get("candidates", ()) if entry["rank"] == 1]
        chosen = next(iter([*ranked, *(record.number for record in front)]), None)
        return series, deflated(series, chosen, n_trials=len(finished))

    def write_and_name_report(self, stop: StopSignal) -> None:
        """Write the report and say where it is."""
        reported = self.write_report(stop)
        if reported is not None:
            self.terminal.say(report_text(reported), style="bold")

    def show_paths(self) -> None:
        """Where everything lies."""
        save_dir = self.settings.save_dir
        more = [model_folder(save_dir, entry["model_rank"]) for entry in self.after_search.get("retrained_models", [])]
        if self.after_search.get("ensemble"):
            more.append(ensemble_folder(save_dir))
        more += [path for path in (save_dir / REPORT_FILE, save_dir / FIGURES) if path.exists()]
        names = [RESULTS_FILE, TRIALS_FILE, STUDY_FILE, BACKUP_FILE, CONFIG_FILE, DATA_FILE, LOG_FILE, f"{VALIDATION}/"]
        self.terminal.say(
            f"Written to {save_dir}: {', '.join(names)}"
            + "".join(f", {path.name}{'' if path.is_file() else '/'}" for path in more)
        )

    def empty_front_text(self) -> str:
        """Why there is no front, and what can be done."""
        return empty_front_text(self.settings, self.study.plan, self.study.records(), self.interface)


@contextlib.contextmanager
def open_experiment(
    settings: Settings,
    dataset: Dataset,
    *,
    resume: bool,
    terminal: Terminal,
    recalibrate: bool = False,
    interface: Interface = Interface.COMMAND_LINE,
) -> Iterator[Experiment]:
    """Makes or reopens the study in ``save_dir``; closes it at the end.

    Advice is in the words of ``interface``.

    Raises:
        SaveDirError: the directory can't be used, or belongs to another space, data or target.
    """
    save_dir = settings.save_dir
    tracking_target(settings)
    if not resume:  # what is wrong is found before anything is made
        preparation = prepare_new(settings, dataset, terminal, recalibrate=recalibrate)
    make_directory(save_dir)
    with storage_faults(save_dir), only_run(save_dir), run_log(save_dir):
        check_save_dir(
            save_dir, resume=resume, data_dir=settings.data.data_dir
        )  # another run may have been here since it was looked at
        forget_worker_files(save_dir)  # of one that was killed
        remove_parts(save_dir, save_dir / FIGURES, save_dir / CHECKPOINTS / FINAL)
        if not resume:
            write_text(save_dir / CONFIG_FILE, dump_settings(settings), make_folder=False)
            write_json(save_dir / DATA_FILE, preparation.dataset.description, make_folder=False)
            attributes = {
                "made_with": preparation.made_with,
                "skill_gate": asdict(preparation.gate),
                "n_trials": settings.study.n_trials,
                "speeds": preparation.runner.speeds.as_dict(),
                "train_share": preparation.dataset.train_share,
                "starts": starts_as_json(preparation.plan.starts),
                "begun_with": settings.study.n_trials,
                "enqueue": None if settings.study.enqueue is None else str(settings.study.enqueue),
                "memory_kills": memory_kills(),
            }
            storage = StudyStorage(
                save_dir / STUDY_FILE,
                create=settings.study.name,
                metric=settings.study.metric,
                attributes=attributes,
            )
        else:
            storage = StudyStorage(save_dir / STUDY_FILE)
            named = settings.study.model_copy(update={"name": storage.study.study_name})
            settings = settings.model_copy(update={"study": named})  # it keeps its name
        try:
            if resume:
                preparation = prepare_again(settings, dataset, storage)
                storage.back_up()
                storage.set_attribute("n_trials", settings.study.n_trials)
                write_json(save_dir / DATA_FILE, preparation.dataset.description, make_folder=False)
                write_text(save_dir / CONFIG_FILE, dump_settings(settings), make_folder=False)
                kills, before = memory_kills(), storage.attribute("memory_kills")
                storage.pause_orphans(lacked_memory=have_grown(before, kills))
                storage.set_attribute("memory_kills", kills)
            if cut_off := [record.number for record in storage.records() if record.state is State.WAITING]:
                terminal.say(_cut_off_text(cut_off))
            if not storage.marks_trials:
                terminal.warn(
                    "an earlier version made this study, without marks in its trials: a trial counts as one of this program if it"
                    " has its attributes"
                )
            OutsideKeeper(storage, terminal.warn).tell()
            _describe(preparation, terminal)
            experiment = Experiment(
                settings=settings,
                preparation=preparation,
                study=Study(storage, preparation.plan),
                terminal=terminal,
                after_search=_earlier_retraining(save_dir) if resume else {},
                interface=interface,
            )
            with tracked(settings, say=terminal.say, warn=terminal.warn):
                yield experiment
        finally:
            storage.close()


def report_text(path: Path) -> str:
    """Where the report is."""
    return f"Report: {path} (one page that needs no network; open it in a browser)"


def _cut_off_text(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"Trial {numbers[0]} was cut off and will go on from its last checkpoint."
    return f"Trials {', '.join(map(str, numbers))} were cut off and will go on from their last checkpoints."


def _earlier_retraining(save_dir: Path) -> dict[str, Any]:
    """What ``results.json`` holds of an earlier retraining; it stays there until another takes its place."""
    path = save_dir / RESULTS_FILE
    try:
        results = read_results(path) or {}
    except ValueError as error:
        raise SaveDirError(
            f"{path} is damaged ({error}), so it can't be told what was retrained; put a whole one in its place, or remove it:"
            " then the best are retrained anew where that is asked for"
        ) from error
    found = {key: results[key] for key in AFTER_SEARCH if key in results}
    if not found.get("retrained_models"):
        found.pop("verdict", None)  # that nothing was learnt, which more trials may change
    return found
