"""The main flow: settings and a dataset in, results in ``save_dir`` out."""

import contextlib
import json
import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from cnn_lstm_hyperopt.calibration import calibration_for
from cnn_lstm_hyperopt.config import Settings, dump_settings, readable
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.data.store import save_trial_data
from cnn_lstm_hyperopt.exceptions import ConfigError, EmptyFrontError, InterruptedRunError, SaveDirError
from cnn_lstm_hyperopt.execution import (
    CTRL_C,
    FINISHED,
    StopSignal,
    resolve_workers,
    run_trials,
    run_with_workers,
    study_plan,
)
from cnn_lstm_hyperopt.files import write_json, write_text
from cnn_lstm_hyperopt.folder import (
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
from cnn_lstm_hyperopt.forecast import EPOCH_SHARE, SAMPLED, Forecast, SampledSpace, choose_train_share, forecast
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
from cnn_lstm_hyperopt.reporting.terminal import Terminal, limits_text
from cnn_lstm_hyperopt.reporting.trials_table import trials_csv
from cnn_lstm_hyperopt.reporting.validation import ValidationWriter
from cnn_lstm_hyperopt.retraining import Finalist, Retrained, evaluate_once, retrain
from cnn_lstm_hyperopt.search import (
    SkillGate,
    Study,
    StudyPlan,
    StudyStorage,
    TrialRecord,
    with_fixed,
)
from cnn_lstm_hyperopt.training.cost import CostModel
from cnn_lstm_hyperopt.training.device import resolve_device
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
    device = resolve_device(settings.training.device)
    gate = SkillGate(dataset.chance, len(dataset.validation))
    if not resume:
        preparation = _prepare(settings, dataset, gate, device, _measured_speeds(device, terminal, anew=recalibrate))
        records: list[TrialRecord] = []
    else:
        storage = StudyStorage(settings.save_dir / STUDY_FILE)
        try:
            _compare(storage.attribute("made_with"), _fingerprint(settings, dataset, device), settings.save_dir)
            preparation = _prepare(settings, dataset, gate, device, *_stored_costs(storage))
            records = storage.records()
        finally:
            storage.close()
    terminal.describe_data(preparation.dataset, gate)
    terminal.describe_space(preparation.plan.space)
    expected = preparation.forecast(records)
    terminal.describe_costs(preparation.plan, preparation.runner.speeds, preparation.dataset.train_share, expected)
    terminal.describe_forecast(expected)
    terminal.say("Dry run: nothing was started or written; leave out --dry-run to begin.")
    return expected


@dataclass(frozen=True)
class Preparation:
    """All that is decided before the first trial: on which windows, by which plan, at which cost."""

    settings: Settings
    dataset: Dataset
    runner: TrialRunner
    plan: StudyPlan
    sampled: SampledSpace
    workers: int

    def forecast(self, records: Sequence[TrialRecord]) -> Forecast:
        """What the trials that are still missing will take.

        Raises:
            ConfigError: the limits leave nothing of the space.
        """
        finished = [record for record in records if record.finished]
        epochs = [record.attributes.get("epochs", 0.0) / self.plan.max_epochs for record in finished]
        expected = forecast(
            self.plan,
            self.sampled,
            evaluation_seconds=self.runner.evaluation_seconds,
            n_validation=len(self.dataset.validation),
            trials=max(0, self.plan.n_trials - len(finished)),
            new=not records,
            workers=self.workers,
            epoch_share=sum(epochs) / len(epochs) if epochs else EPOCH_SHARE,
        )
        if expected is None:
            raise ConfigError(
                f"no configuration of the search space keeps the limits ({limits_text(self.plan)}):"
                f" {SAMPLED} random ones were tried on paper; raise them, lower training.max_epochs or data.train_share,"
                " or take a space of smaller models (configs/hyperopt/small.yaml is one)"
            )
        return expected


def _prepare(
    settings: Settings,
    dataset: Dataset,
    gate: SkillGate,
    device: torch.device,
    speeds: CostModel,
    train_share: float | None = None,
) -> Preparation:
    """``train_share``: that of an earlier run of the study; None: as the settings say, or as the limit of seconds demands.

    Raises:
        ConfigError: the device does not have the precision.
    """
    if settings.training.precision not in ("auto", *speeds.speeds):
        raise ConfigError(
            f"training.precision={settings.training.precision}: this device has {' and '.join(speeds.speeds)} in hardware;"
            " use one of these, or auto"
        )

    def runner_on(data: Dataset) -> TrialRunner:
        return TrialRunner(data.for_trials(), settings.training, seed=settings.study.seed, device=device, speeds=speeds)

    runner = runner_on(dataset)
    plan = study_plan(settings, gate, runner, device)
    sampled = SampledSpace(plan.space)
    if train_share is None and settings.data.train_share == "auto":
        train_share = choose_train_share(sampled, plan.limits.seconds, runner.cost)
    if train_share is not None and train_share != dataset.train_share:
        dataset = dataset.with_train_share(train_share)
        runner = runner_on(dataset)
        plan = replace(plan, cost=runner.cost)
    return Preparation(settings, dataset, runner, plan, sampled, resolve_workers(settings, device.type))


def _measured_speeds(device: torch.device, terminal: Terminal, *, anew: bool) -> CostModel:
    return calibration_for(
        device,
        anew=anew,
        on_start=lambda: terminal.say("Measuring this machine's speed, once for all studies (a dozen seconds) …"),
    )


def _stored_costs(storage: StudyStorage) -> tuple[CostModel, float]:
    """What the study was begun with: the speeds that its predictions come from, and the share of the windows."""
    return CostModel.from_dict(storage.attribute("speeds")), float(storage.attribute("train_share"))


@dataclass
class Experiment:
    """A study on a dataset in a directory; search, retraining and results work on it in turn."""

    settings: Settings
    dataset: Dataset
    study: Study
    runner: TrialRunner
    terminal: Terminal
    device: torch.device
    preparation: Preparation
    after_search: dict[str, Any] = field(default_factory=dict)

    def search(self, stop: StopSignal) -> str:
        """Runs trials up to ``study.n_trials``; returns what ended it."""
        study, terminal = self.study, self.terminal
        done = study.n_finished()
        terminal.say(
            f"Study {self.settings.study.name}: {done} of {study.plan.n_trials} trials done,"
            f" sampler {study.plan.sampler.type}, pruner {study.plan.pruner.type}, seed {study.plan.seed}, {self.device},"
            f" at most {study.plan.max_epochs} epochs"
            + ("" if study.plan.limits.seconds is None else f" and {study.plan.limits.seconds:g} s")
            + " a trial"
        )
        expected = self.preparation.forecast(study.records())
        terminal.describe_costs(study.plan, self.runner.speeds, self.dataset.train_share, expected)
        terminal.describe_forecast(expected)
        warning = study.pruner_warning()
        if warning is not None:
            terminal.warn(warning)
        with terminal.watch(study, seconds_left=lambda: stop.seconds_left, expected=expected):
            end = self._run_trials(stop)
        if end == FINISHED:
            terminal.say(f"Search finished: {study.n_finished()} trials.")
        else:
            terminal.say(
                f"Search ended by {end} with {study.n_finished()} of {study.plan.n_trials} trials.",
                style="yellow",
            )
        terminal.show_front(study.front(), study.plan.space)
        return end

    def _run_trials(self, stop: StopSignal) -> str:
        """In this process, or in workers that share one file of windows."""
        save_dir, data = self.settings.save_dir, self.runner.data
        workers = self.preparation.workers
        if workers == 1:
            writer = ValidationWriter(save_dir / "validation", data.validation)
            return run_trials(self.study, self.runner, stop=stop, observers=[self.terminal, writer])
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
            **search_facts(records, plan.gate),
            "cost_model": cost_model_facts(self.runner.speeds, records, plan.max_epochs),
            "environment": environment(str(self.device), plan.seed),
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
        best = max((r.values.accuracy for r in records if r.values), default=None)
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
    device = resolve_device(settings.training.device)
    gate = SkillGate(dataset.chance, len(dataset.validation))
    made_with = _fingerprint(settings, dataset, device)
    save_dir = settings.save_dir
    if not resume:  # what is wrong is found before anything is made
        preparation = _prepare(settings, dataset, gate, device, _measured_speeds(device, terminal, anew=recalibrate))
        preparation.forecast([])
    try:
        save_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveDirError(f"--save-dir {save_dir} can't be made: {error.strerror}") from error
    with only_run(save_dir), run_log(save_dir):
        if not resume:
            write_text(save_dir / CONFIG_FILE, dump_settings(settings))
            write_json(save_dir / DATA_FILE, preparation.dataset.description)
            attributes = {
                "made_with": made_with,
                "skill_gate": asdict(gate),
                "n_trials": settings.study.n_trials,
                "speeds": preparation.runner.speeds.as_dict(),
                "train_share": preparation.dataset.train_share,
            }
            storage = StudyStorage(save_dir / STUDY_FILE, create=settings.study.name, attributes=attributes)
        else:
            storage = StudyStorage(save_dir / STUDY_FILE)
        try:
            if resume:
                _compare(storage.attribute("made_with"), made_with, save_dir)
                preparation = _prepare(settings, dataset, gate, device, *_stored_costs(storage))
                storage.set_attribute("n_trials", settings.study.n_trials)
                write_text(save_dir / CONFIG_FILE, dump_settings(settings))
            orphans = storage.fail_orphans("its process ended before it did")
            if orphans:
                terminal.say(f"Trials {', '.join(map(str, orphans))} were cut off; each is run again.")
            study = Study(storage, preparation.plan)
            terminal.describe_data(preparation.dataset, gate)
            terminal.describe_space(study.plan.space)
            yield Experiment(
                settings=settings,
                dataset=preparation.dataset,
                study=study,
                runner=preparation.runner,
                terminal=terminal,
                device=device,
                preparation=preparation,
                after_search=_earlier_retraining(save_dir) if resume else {},
            )
        finally:
            storage.close()


def _fingerprint(settings: Settings, dataset: Dataset, device: torch.device) -> dict[str, Any]:
    """What a study's trials are made with; it goes on with the same only. Where bars lie does not matter, what they are does."""
    return {
        "study.seed": settings.study.seed,
        "study.time_objective": settings.study.time_objective,
        **_flat(json.loads(settings.data.model_dump_json(exclude={"data_dir"})), "data"),
        **_flat(json.loads(settings.training.model_dump_json(exclude={"device"})), "training"),
        **_flat(settings.space.as_dict(), "search_space", depth=2),
        "data.sha256": dataset.description["sha256"],
        "training.device": device.type,
    }


def _compare(before: dict[str, Any], now: dict[str, Any], save_dir: Path) -> None:
    changed = [
        f"{key}: {before.get(key)} → {now.get(key)}" for key in (before | now) if before.get(key) != now.get(key)
    ]
    if changed:
        raise SaveDirError(
            f"{save_dir} was made with other settings, so its trials can't be compared with new ones:\n  "
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


def _earlier_retraining(save_dir: Path) -> dict[str, Any]:
    """What ``results.json`` holds of an earlier retraining; it stays there until another takes its place."""
    try:
        results = json.loads((save_dir / RESULTS_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {key: results[key] for key in _AFTER_SEARCH if key in results}
