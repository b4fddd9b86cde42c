"""The main flow: settings and a dataset in, results in ``save_dir`` out."""

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from cnn_lstm_hyperopt.config import Settings, dump_settings, readable
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.exceptions import EmptyFrontError, InterruptedRunError, SaveDirError
from cnn_lstm_hyperopt.execution import CTRL_C, FINISHED, StopSignal, run_trials
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.reporting.files import write_json, write_text
from cnn_lstm_hyperopt.reporting.results import (
    baseline_results,
    environment,
    model_folder,
    retrained_results,
    search_facts,
    search_results,
    write_retrained,
)
from cnn_lstm_hyperopt.reporting.terminal import Terminal
from cnn_lstm_hyperopt.reporting.trials_table import trials_csv
from cnn_lstm_hyperopt.reporting.validation import write_validation
from cnn_lstm_hyperopt.retraining import Finalist, evaluate_once, retrain
from cnn_lstm_hyperopt.search import (
    Assignment,
    SkillGate,
    Study,
    StudyPlan,
    StudyStorage,
    TrialRecord,
    with_fixed,
)
from cnn_lstm_hyperopt.training.device import resolve_device
from cnn_lstm_hyperopt.trial_runner import TrainedNetwork, TrialRunner

log = logging.getLogger(__name__)

STUDY_FILE, CONFIG_FILE, DATA_FILE, RESULTS_FILE, TRIALS_FILE, LOG_FILE = (
    "study.db",
    "config.yaml",
    "data.json",
    "results.json",
    "trials.csv",
    "run.log",
)


def run_experiment(settings: Settings, *, resume: bool, terminal: Terminal) -> dict[str, Any]:
    """Search, retrain, test once, write. The whole of ``cnn-lstm-hyperopt run``.

    Raises:
        InputError: data, settings or directory are wrong; nothing was started.
        EmptyFrontError: no trial has learnt anything; results are written all the same.
        InterruptedRunError: the user pressed Ctrl-C; results of what is finished are written.
    """
    check_save_dir(settings.save_dir, resume=resume)
    dataset = prepare_dataset(settings.data)
    stop = StopSignal(settings.study.timeout)
    with open_experiment(settings, dataset, resume=resume, terminal=terminal) as experiment, stop.listening():
        end = experiment.search(stop)
        if settings.retrain.enabled and end != CTRL_C and experiment.study.front():
            stop.drop_deadline()
            experiment.retrain(stop)
        results = experiment.write_results()
        experiment.show_paths()
        if stop.interrupted:
            raise InterruptedRunError(
                f"interrupted; what was finished is saved, go on with: cnn-lstm-hyperopt resume --save-dir {settings.save_dir}"
            )
        if not results["best_trials"]:
            raise EmptyFrontError(experiment.empty_front_text())
        return results


@dataclass
class Experiment:
    """A study on a dataset in a directory; search, retraining and results work on it in turn."""

    settings: Settings
    dataset: Dataset
    study: Study
    runner: TrialRunner
    terminal: Terminal
    device: torch.device
    after_search: dict[str, Any] = field(default_factory=dict)

    def search(self, stop: StopSignal) -> str:
        """Runs trials up to ``study.n_trials``; returns what ended it."""
        study, terminal = self.study, self.terminal
        done = study.n_finished()
        terminal.say(
            f"Study {self.settings.study.name}: {done} of {study.plan.n_trials} trials done,"
            f" sampler {study.plan.sampler.type}, pruner {study.plan.pruner.type}, seed {study.plan.seed}, {self.device},"
            f" at most {study.plan.max_epochs} epochs"
            + ("" if study.plan.trial_seconds is None else f" and {study.plan.trial_seconds:g} s")
            + " a trial"
        )
        warning = study.pruner_warning()
        if warning is not None:
            terminal.warn(warning)
        with terminal.watch(study, stop.seconds_left):
            end = run_trials(study, self.runner, stop=stop, observers=[terminal, _ValidationWriter(self)])
        if end == FINISHED:
            terminal.say(f"Search finished: {study.n_finished()} trials.")
        else:
            terminal.say(
                f"Search ended by {end} with {study.n_finished()} of {study.plan.n_trials} trials.",
                style="yellow",
            )
        terminal.show_front(study.front(), study.plan.space)
        return end

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
        earlier = _earlier_retraining(self.settings.save_dir, finalists, full_epochs)
        if earlier is not None:
            self.terminal.say("These finalists are already retrained and tested; their results are kept.")
            self.after_search = earlier
            kept: list[dict[str, Any]] = earlier["retrained_models"]
            return kept

        def on_report(finalist: Finalist) -> OnReport:
            self.terminal.say(
                f"Retraining rank {finalist.rank} (trial {finalist.trial_number}) on all training windows …"
            )

            def decide(report: ProgressReport) -> Decision:
                self.terminal.on_retraining(finalist, report, full_epochs)
                return CONTINUE if stop.reason is None else Decision(Action.STOP, stop.reason)

            return decide

        retrained, ended = retrain(
            finalists,
            self.runner,
            self.dataset,
            full_epochs=full_epochs,
            max_gap_days=self.settings.data.max_gap_days,
            on_report=on_report,
        )
        if ended is not None:
            self.terminal.say(
                f"Retraining ended by {ended.reason}; it starts again on resume, and the test period stays closed."
            )
            return []
        verdict = evaluate_once(retrained, self.dataset, seed=self.settings.study.seed)
        entries = retrained_results(retrained, verdict, self.settings.save_dir)
        write_retrained(self.settings.save_dir, retrained, verdict, entries)
        self.after_search = {
            "retrained_models": entries,
            "baselines": baseline_results(verdict),
            "full_epochs": full_epochs,
        }
        self.terminal.show_verdict(verdict)
        return entries

    def write_results(self) -> dict[str, Any]:
        """Writes ``results.json`` and ``trials.csv``; returns the results."""
        records, plan, save_dir = self.study.records(), self.study.plan, self.settings.save_dir
        results = {
            **search_results(self.settings.study.name, records, plan.gate, plan.space),
            "retrained_models": [],
            "baselines": [],
            **self.after_search,
            **search_facts(records, plan.gate),
            "environment": environment(str(self.device), plan.seed),
        }
        write_json(save_dir / RESULTS_FILE, results)
        write_text(
            save_dir / TRIALS_FILE,
            trials_csv(records, plan.space, train_share=self.settings.data.train_share),
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
        best = max((r.values.accuracy for r in records if r.values), default=None)
        seen = "no trial was completed" if best is None else f"the best of them reached {best:.4f}"
        too_dear = sum(r.reason.startswith("limit") for r in records)
        cures = [f"training.max_epochs above {self.study.plan.max_epochs}", "more trials or more data"]
        if target == "direction":
            cures.insert(0, "another target (--target volatility is learnable)")
        if 2 * too_dear > len(records):
            cures = ["a search space of smaller models, a smaller data.train_share or a higher limits.trial_seconds"]
            seen += f" and {too_dear} of {len(records)} were ended by limits.trial_seconds"
        return (
            f"no trial has learnt more than the majority class: an accuracy above {gate.threshold:.4f} is needed, {seen};"
            f" try {', '.join(cures)}"
        )


class _ValidationWriter:
    """Keeps what each finished trial said of the validation windows."""

    def __init__(self, experiment: Experiment) -> None:
        self._folder = experiment.settings.save_dir / "validation"
        self._windows = experiment.dataset.validation

    def on_trial_start(self, assignment: Assignment) -> None:
        """Nothing to do."""

    def on_trial_report(self, assignment: Assignment, report: ProgressReport) -> None:
        """Nothing to do."""

    def on_trial_end(self, record: TrialRecord, trained: TrainedNetwork | None) -> None:
        """Writes the predictions of the trial's best epoch."""
        if record.finished and trained is not None and trained.outcome.best is not None:
            write_validation(self._folder, record.number, self._windows, trained.outcome.best.predictions)


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
def open_experiment(settings: Settings, dataset: Dataset, *, resume: bool, terminal: Terminal) -> Iterator[Experiment]:
    """Makes or reopens the study in ``save_dir``; closes it at the end.

    Raises:
        SaveDirError: the directory can't be used, or belongs to another space, data or target.
    """
    device = resolve_device(settings.training.device)
    save_dir = settings.save_dir
    try:
        save_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveDirError(f"--save-dir {save_dir} can't be made: {error.strerror}") from error
    with _run_log(save_dir / LOG_FILE):
        storage = StudyStorage(save_dir / STUDY_FILE, create=None if resume else settings.study.name)
        try:
            _check_fingerprint(storage, settings, dataset)
            orphans = storage.fail_orphans("its process ended before it did")
            if orphans:
                terminal.say(f"Trials {', '.join(map(str, orphans))} were cut off; each is run again.")
            gate = SkillGate(dataset.chance, len(dataset.validation))
            storage.set_attribute("skill_gate", asdict(gate))
            storage.set_attribute("n_trials", settings.study.n_trials)
            write_text(save_dir / CONFIG_FILE, dump_settings(settings))
            write_json(save_dir / DATA_FILE, dataset.description)
            runner = TrialRunner(dataset, settings.training, seed=settings.study.seed, device=device)
            study = Study(storage, _plan(settings, gate, runner, device))
            terminal.describe_data(dataset, study.plan.gate)
            terminal.describe_space(study.plan.space)
            yield Experiment(settings, dataset, study, runner, terminal, device)
        finally:
            storage.close()


def _plan(settings: Settings, gate: SkillGate, runner: TrialRunner, device: torch.device) -> StudyPlan:
    return StudyPlan(
        space=settings.space,
        sampler=settings.sampler,
        pruner=settings.pruner,
        seed=settings.study.seed,
        n_trials=settings.study.n_trials,
        max_epochs=settings.training.max_epochs,
        trial_seconds=settings.limits.seconds_on(device.type),
        gate=gate,
        size_mb=runner.size_mb,
    )


def _check_fingerprint(storage: StudyStorage, settings: Settings, dataset: Dataset) -> None:
    """A study goes on only with what its trials were made with."""
    now = {
        "study.seed": settings.study.seed,
        **_flat(json.loads(settings.data.model_dump_json()), "data"),
        **_flat(json.loads(settings.training.model_dump_json(exclude={"device"})), "training"),
        **_flat(settings.space.as_dict(), "search_space", depth=2),
        "data.sha256": dataset.description["sha256"],
    }
    before = storage.attribute("made_with")
    if before is None:
        storage.set_attribute("made_with", now)
        return
    changed = [
        f"{key}: {before.get(key)} → {now.get(key)}" for key in (before | now) if before.get(key) != now.get(key)
    ]
    if changed:
        raise SaveDirError(
            f"{settings.save_dir} was made with other settings, so its trials can't be compared with new ones:\n  "
            + "\n  ".join(changed)
            + "\ntake these back, or choose another --save-dir"
        )


def _flat(tree: Mapping[str, Any], prefix: str, depth: int = 1) -> dict[str, Any]:
    if depth == 0:
        return {prefix: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}.{key}"
        flat.update(_flat(value, name, depth - 1) if isinstance(value, Mapping) and depth > 1 else {name: value})
    return flat


def _earlier_retraining(save_dir: Path, finalists: list[Finalist], full_epochs: int) -> dict[str, Any] | None:
    """The retraining that ``results.json`` holds, if it is of these finalists: the test period is not opened twice for them."""
    try:
        results = json.loads((save_dir / RESULTS_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    entries = results.get("retrained_models", [])
    same = [(entry["model_rank"], entry["config_params"]) for entry in entries] == [
        (finalist.rank, readable(finalist.params)) for finalist in finalists
    ]
    if not entries or not same or results.get("full_epochs") != full_epochs:
        return None
    return {key: results[key] for key in ("retrained_models", "baselines", "full_epochs")}


@contextlib.contextmanager
def _run_log(path: Path) -> Iterator[None]:
    """Appends what the package logs to ``run.log``."""
    logger = logging.getLogger("cnn_lstm_hyperopt")
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    before = logger.level
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        handler.close()
