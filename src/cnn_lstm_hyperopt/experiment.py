"""The main flow: settings and a dataset in, results in ``save_dir`` out."""

import contextlib
import json
import logging
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import Settings, dump_settings, readable
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.data.store import save_trial_data
from cnn_lstm_hyperopt.exceptions import EmptyFrontError, InterruptedRunError, SaveDirError
from cnn_lstm_hyperopt.execution import (
    CTRL_C,
    FINISHED,
    Observer,
    StopSignal,
    run_trials,
    run_with_workers,
    starts_as_json,
)
from cnn_lstm_hyperopt.files import write_json, write_text
from cnn_lstm_hyperopt.folder import (
    CHECKPOINTS,
    CONFIG_FILE,
    DATA_FILE,
    DATA_FOR_WORKERS,
    LOCK_FILE,
    LOG_FILE,
    RESULTS_FILE,
    STUDY_FILE,
    TRIALS_FILE,
    only_run,
    run_log,
)
from cnn_lstm_hyperopt.forecast import Forecast
from cnn_lstm_hyperopt.preparation import Preparation, prepare_again, prepare_new
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.reporting.results import (
    baseline_results,
    cost_model_facts,
    environment,
    model_folder,
    retrained_results,
    search_facts,
    search_results,
    write_retrained,
)
from cnn_lstm_hyperopt.reporting.terminal import Terminal
from cnn_lstm_hyperopt.reporting.trials_table import trials_csv
from cnn_lstm_hyperopt.reporting.validation import ValidationWriter
from cnn_lstm_hyperopt.retraining import Finalist, Retrained, evaluate_once, retrain
from cnn_lstm_hyperopt.search import (
    Study,
    StudyStorage,
    TrialRecord,
    with_fixed,
)
from cnn_lstm_hyperopt.trial_runner import TrialRunner

log = logging.getLogger(__name__)

_AFTER_SEARCH = ("retrained_models", "retraining_failures", "baselines", "full_epochs", "retrained_after_trials")


def run_experiment(
    settings: Settings, *, resume: bool, terminal: Terminal, recalibrate: bool = False
) -> dict[str, Any]:
    """Search, retrain, test once, write. The whole of ``cnn-lstm-hyperopt run``.

    Raises:
        InputError: data, settings or directory are wrong; nothing was started.
        EmptyFrontError: no trial has learnt anything; results are written all the same.
        InterruptedRunError: the user pressed Ctrl-C; results of what is finished are written.
    """
    check_save_dir(settings.save_dir, resume=resume)
    stop = StopSignal(settings.study.timeout)
    with stop.listening():
        dataset = prepare_dataset(settings.data)
        with open_experiment(
            settings, dataset, resume=resume, terminal=terminal, recalibrate=recalibrate
        ) as experiment:
            try:
                experiment.search(stop)
            finally:  # whatever ended it: what is finished is written before anything else can go wrong
                results = experiment.write_results()
            if settings.retrain.enabled and not stop.interrupted and results["best_trials"]:
                experiment.retrain(stop)
                results = experiment.write_results()
            experiment.show_paths()
            if stop.interrupted:
                raise InterruptedRunError(
                    "interrupted; what was finished is saved, go on with:"
                    f" cnn-lstm-hyperopt resume --save-dir {shlex.quote(str(settings.save_dir))}"
                )
            if not results["best_trials"]:
                raise EmptyFrontError(experiment.empty_front_text())
            return results


def dry_run(settings: Settings, *, resume: bool, terminal: Terminal, recalibrate: bool = False) -> Forecast:
    """Says what the run would take, and neither starts nor writes anything.

    Raises:
        InputError: what the run itself would refuse.
    """
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
        finally:
            storage.close()
    _describe(preparation, terminal)
    expected = preparation.forecast(records)
    terminal.describe_forecast(preparation.plan, preparation.runner.speeds, preparation.dataset.train_share, expected)
    terminal.say("Dry run: nothing was started or written; leave out --dry-run to begin.")
    return expected


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

    @property
    def dataset(self) -> Dataset:
        """What is searched on."""
        return self.preparation.dataset

    @property
    def runner(self) -> TrialRunner:
        """What trains."""
        return self.preparation.runner

    def search(self, stop: StopSignal) -> str:
        """Runs trials up to ``study.n_trials``; returns what ended it."""
        study, terminal = self.study, self.terminal
        done = study.n_finished()
        terminal.say(
            f"Study {self.settings.study.name}: {done} of {study.plan.n_trials} trials done,"
            f" sampler {study.plan.sampler.type}, pruner {study.plan.pruner.type}, seed {study.plan.seed}, {self.runner.device},"
            f" at most {study.plan.max_epochs} epochs"
            + ("" if study.plan.limits.seconds is None else f" and {study.plan.limits.seconds:g} s")
            + " a trial"
        )
        expected = self.preparation.forecast(study.records())
        terminal.describe_forecast(study.plan, self.runner.speeds, self.dataset.train_share, expected)
        for warning in (study.sampler_warning(), study.pruner_warning()):
            if warning is not None:
                terminal.warn(warning)
        with terminal.watch(study, seconds_left=lambda: stop.seconds_left, expected=expected):
            end = self._run_trials(stop)
        if end == FINISHED:
            if not study.continues_probes:
                shutil.rmtree(self.settings.save_dir / CHECKPOINTS, ignore_errors=True)
            terminal.say(f"Search finished: {study.n_finished()} trials.")
        else:
            terminal.say(
                f"Search ended by {end} with {study.n_finished()} of {study.plan.n_trials} trials.",
                style="yellow",
            )
        terminal.show_front(study.front(), study.plan.space)
        terminal.show_pruning(study.records(), study.plan)
        return end

    def _run_trials(self, stop: StopSignal) -> str:
        """In this process, or in workers that share one file of windows."""
        save_dir, data = self.settings.save_dir, self.runner.data
        workers = self.preparation.workers
        if workers == 1:
            writer = ValidationWriter(save_dir / "validation", data.folds[0].validation)
            observers: list[Observer] = [self.terminal, writer]
            return run_trials(
                self.study, self.runner, stop=stop, observers=observers, checkpoints=save_dir / CHECKPOINTS
            )
        self.terminal.say(f"{workers} workers, one thread each")
        shared = save_dir / DATA_FOR_WORKERS
        save_trial_data(shared, data)
        try:
            return run_with_workers(self.study, save_dir, workers, stop=stop, observers=[self.terminal])
        finally:
            shared.unlink()
            (save_dir / LOCK_FILE).unlink(missing_ok=True)

    def finalists(self, top_k: int) -> list[Finalist]:
        """Ranks 1..K of the front with their whole configurations."""
        return [
            Finalist(rank, record.number, with_fixed(self.study.plan.space, record.params))
            for rank, record in enumerate(self.study.front()[:top_k], start=1)
        ]

    def retrain(self, stop: StopSignal) -> list[dict[str, Any]]:
        """Retrains ranks 1..K and tests them once, unless that was already done with these very configurations."""
        chosen, full_epochs = self.settings.retrain, self.settings.retrain.full_epochs
        finalists = self.finalists(chosen.top_k)
        if len(finalists) < chosen.top_k:
            self.terminal.say(
                f"The front has {len(finalists)} trials, so {len(finalists)} are retrained, not {chosen.top_k}."
            )
        if self._already_retrained(finalists, full_epochs):
            self.terminal.say("These finalists are already retrained and tested; their results are kept.")
            kept: list[dict[str, Any]] = self.after_search["retrained_models"]
            return kept

        stop.set_deadline(self.settings.limits.retrain_seconds)

        def on_report(finalist: Finalist, epochs: int) -> OnReport:
            fewer = f", {epochs} epochs so as to keep limits.retrain_seconds" if epochs < full_epochs else ""
            self.terminal.say(
                f"Retraining rank {finalist.rank} (trial {finalist.trial_number}) on all training windows{fewer} …"
            )

            def decide(report: ProgressReport) -> Decision:
                self.terminal.on_retraining(finalist, report, epochs)
                return Decision(Action.STOP, CTRL_C) if stop.interrupted else CONTINUE

            return decide

        with self.terminal.watch_retraining():
            outcome = retrain(
                finalists,
                self.runner,
                self.dataset,
                full_epochs=full_epochs,
                max_gap_days=self.settings.data.max_gap_days,
                on_report=on_report,
                seconds_left=lambda: stop.seconds_left,
            )
        for finalist, reason in outcome.failures:
            self.terminal.warn(f"rank {finalist.rank} (trial {finalist.trial_number}) could not be retrained: {reason}")
        if outcome.ended is not None or not outcome.done:
            why = outcome.ended.reason if outcome.ended is not None else "failures alone"
            self.terminal.say(f"Retraining ended by {why}; the test period stays closed.", style="yellow")
            return []
        openings = self._record_test_opening(outcome.done)
        verdict = evaluate_once(outcome.done, self.dataset, seed=self.settings.study.seed)
        entries = retrained_results(outcome.done, verdict, self.settings.save_dir)
        write_retrained(self.settings.save_dir, outcome.done, verdict, entries)
        self.after_search = {
            "retrained_models": entries,
            "retraining_failures": [
                {"model_rank": finalist.rank, "trial_number": finalist.trial_number, "reason": reason}
                for finalist, reason in outcome.failures
            ],
            "baselines": baseline_results(verdict),
            "full_epochs": full_epochs,
            "retrained_after_trials": self.study.n_finished(),
        }
        self.terminal.show_verdict(verdict, opened=openings)
        return entries

    def _already_retrained(self, finalists: list[Finalist], full_epochs: int) -> bool:
        """Whether these very configurations were retrained and tested: then the test period is not opened for them again."""
        entries = self.after_search.get("retrained_models", [])
        failed = {failure["model_rank"] for failure in self.after_search.get("retraining_failures", [])}
        now = [(f.rank, readable(f.params)) for f in finalists if f.rank not in failed]
        before = [(entry["model_rank"], entry["config_params"]) for entry in entries]
        return bool(entries) and before == now and self.after_search.get("full_epochs") == full_epochs

    def _record_test_opening(self, retrained: list[Retrained]) -> int:
        """Stores, before the test period is opened, that it will be; returns how often that has happened in this study."""
        openings = self.study.storage.attribute("test_openings") or []
        openings.append(
            {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "trials": [each.finalist.trial_number for each in retrained],
            }
        )
        self.study.storage.set_attribute("test_openings", openings)
        return len(openings)

    def write_results(self) -> dict[str, Any]:
        """Writes ``results.json`` and ``trials.csv``; returns the results."""
        records, plan, save_dir = self.study.records(), self.study.plan, self.settings.save_dir
        results = {
            **search_results(self.settings.study.name, records, plan.gate, plan.space),
            "retrained_models": [],
            "baselines": [],
            **self.after_search,
            "test_openings": self.study.storage.attribute("test_openings") or [],
            **search_facts(records, plan),
            "cost_model": cost_model_facts(self.runner.speeds, records, plan.max_epochs),
            "environment": environment(str(self.runner.device), plan.seed),
        }
        write_json(save_dir / RESULTS_FILE, results)
        write_text(
            save_dir / TRIALS_FILE,
            trials_csv(
                records,
                plan.space,
                train_share=self.dataset.train_share,
                estimated_memory=(lambda params: plan.cost(params).memory_mb) if plan.estimated_time else None,
            ),
        )
        self.study.storage.fold_log()
        return results

    def show_paths(self) -> None:
        """Where everything lies."""
        save_dir = self.settings.save_dir
        models = [
            model_folder(save_dir, entry["model_rank"]) for entry in self.after_search.get("retrained_models", [])
        ]
        names = [RESULTS_FILE, TRIALS_FILE, STUDY_FILE, CONFIG_FILE, DATA_FILE, LOG_FILE, "validation/"]
        self.terminal.say(
            f"Written to {save_dir}: {', '.join(names)}" + "".join(f", {model.name}/" for model in models)
        )

    def empty_front_text(self) -> str:
        """Why there is no front, and what can be done."""
        gate, target, records = self.study.plan.gate, self.settings.data.target, self.study.records()
        if not any(record.finished for record in records):
            return "no trial was finished in the time there was, so there is no front yet; give it more, or resume"
        if all(record.probe for record in records if record.finished):
            return (
                "all trials so far were probes, which end after their first epoch on purpose, so there is no front yet;"
                f" go on with more: cnn-lstm-hyperopt resume --save-dir {shlex.quote(str(self.settings.save_dir))} --n-trials"
                f" {max(4 * self.study.n_finished(), 20)} (or begin a study with sampler.probes: false)"
            )
        best = max((r.values.score for r in records if r.values), default=None)
        seen = "no trial was completed" if best is None else f"the best of them reached {best:.4f}"
        cures = [f"training.max_epochs above {self.study.plan.max_epochs}", "more trials or more data"]
        if target == "direction":
            cures.insert(0, "another target (--target volatility is learnable)")
        too_dear = sum(r.reason.startswith("limit") for r in records)
        if 2 * too_dear > len(records):
            cures = [
                "a higher limits.trial_seconds",
                "--recalibrate (this machine is slower than it was when measured)",
            ]
            seen += f" and {too_dear} of {len(records)} were ended by limits.trial_seconds"
        return (
            f"no trial has learnt more than the majority class: an accuracy above {gate.threshold:.4f} is needed, {seen};"
            f" try {', '.join(cures)}"
        )


def check_save_dir(save_dir: Path, *, resume: bool) -> None:
    """A directory with a study needs ``resume``, one without must not have it.

    Raises:
        SaveDirError: it is not so; the text says how far the study is, and both cures.
    """
    there = (save_dir / STUDY_FILE).is_file()
    if there and not resume:
        storage = StudyStorage(save_dir / STUDY_FILE)
        name, done = storage.study.study_name, sum(record.finished for record in storage.records())
        storage.close()
        raise SaveDirError(
            f"{save_dir} already holds the study {name} with {done} finished trials; go on with it (--resume, or in Python"
            f" resume=True) or choose another --save-dir"
        )
    if resume and not there:
        raise SaveDirError(f"{save_dir} holds no {STUDY_FILE}, so there is nothing to resume; leave out --resume")
    if save_dir.exists() and not save_dir.is_dir():
        raise SaveDirError(f"--save-dir {save_dir} is a file; name a directory")


@contextlib.contextmanager
def open_experiment(
    settings: Settings, dataset: Dataset, *, resume: bool, terminal: Terminal, recalibrate: bool = False
) -> Iterator[Experiment]:
    """Makes or reopens the study in ``save_dir``; closes it at the end.

    Raises:
        SaveDirError: the directory can't be used, or belongs to another space, data or target.
    """
    save_dir = settings.save_dir
    if not resume:  # what is wrong is found before anything is made
        preparation = prepare_new(settings, dataset, terminal, recalibrate=recalibrate)
    try:
        save_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveDirError(f"--save-dir {save_dir} can't be made: {error.strerror}") from error
    with only_run(save_dir), run_log(save_dir):
        if not resume:
            write_text(save_dir / CONFIG_FILE, dump_settings(settings))
            write_json(save_dir / DATA_FILE, preparation.dataset.description)
            attributes = {
                "made_with": preparation.made_with,
                "skill_gate": asdict(preparation.gate),
                "n_trials": settings.study.n_trials,
                "speeds": preparation.runner.speeds.as_dict(),
                "train_share": preparation.dataset.train_share,
                "starts": starts_as_json(preparation.plan.starts),
                "begun_with": settings.study.n_trials,
                "enqueue": None if settings.study.enqueue is None else str(settings.study.enqueue),
            }
            storage = StudyStorage(save_dir / STUDY_FILE, create=settings.study.name, attributes=attributes)
        else:
            storage = StudyStorage(save_dir / STUDY_FILE)
        try:
            if resume:
                preparation = prepare_again(settings, dataset, storage)
                storage.set_attribute("n_trials", settings.study.n_trials)
                write_text(save_dir / CONFIG_FILE, dump_settings(settings))
            orphans = storage.fail_orphans("its process ended before it did")
            if orphans:
                which = (
                    f"Trial {orphans[0]} was" if len(orphans) == 1 else f"Trials {', '.join(map(str, orphans))} were"
                )
                terminal.say(f"{which} cut off and will be run again.")
            _describe(preparation, terminal)
            yield Experiment(
                settings=settings,
                preparation=preparation,
                study=Study(storage, preparation.plan),
                terminal=terminal,
                after_search=_earlier_retraining(save_dir) if resume else {},
            )
        finally:
            storage.close()


def _earlier_retraining(save_dir: Path) -> dict[str, Any]:
    """What ``results.json`` holds of an earlier retraining; it stays there until another takes its place."""
    try:
        results = json.loads((save_dir / RESULTS_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {key: results[key] for key in _AFTER_SEARCH if key in results}
