"""Params, tags and metrics that trackers get for a study, a trial and a retrained model."""

import contextlib
import functools
import json
import math
import platform
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import Settings, load_settings, plain_settings, readable
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.pipeline.results.stored_results import read_results
from cnn_lstm_hyperopt.run_dir.paths import CONFIG_FILE, RESULTS_FILE
from cnn_lstm_hyperopt.search import (
    SkillThreshold,
    State,
    StudyStorage,
    TrialRecord,
    hypervolume_history,
    read_description,
    study_space,
    with_fixed,
)
from cnn_lstm_hyperopt.search.constraints import violation_text
from cnn_lstm_hyperopt.search.pareto_front import finish_order
from cnn_lstm_hyperopt.utils.nested import flattened
from cnn_lstm_hyperopt.utils.secrets import masked

_ENDED = (State.COMPLETE, State.PRUNED, State.FAIL)
_MAX_PARAM, _MAX_TAG = 6_000, 5_000
"""Maximum number of characters that MLflow stores of a param or of a tag."""
_PACKAGES = ("cnn-lstm-hyperopt", "torch", "optuna", "numpy", "mlflow")


class Snapshot:
    """Content of a study at one moment, to be exported to a tracker.

    Attributes:
        name, settings, space, skill, n_trials: the study's name, settings, search space, skill threshold, number of
            trials.
        objective: name of the objective that is maximised.
        ended: trials that have ended, in order of their numbers.
        start_ms, end_ms: times at which each trial started and ended, in ms since 1970.
        results: content of ``results.json``; empty if the file is missing or damaged.
    """

    def __init__(self, save_dir: Path, storage: StudyStorage) -> None:
        self.name = storage.study.study_name
        file = save_dir / CONFIG_FILE
        self.settings = _settings(file, file.stat().st_mtime_ns)
        self.objective = METRICS[self.settings.study.metric].objective
        self.space = study_space(self.settings, read_description(save_dir))
        self.skill = SkillThreshold(**storage.attribute("skill_gate"))
        self.n_trials = int(storage.attribute("n_trials"))
        self.ended = [record for record in storage.records() if record.state.ended]
        times = storage.times()
        self.start_ms = {number: _milliseconds(start) for number, (start, _) in times.items()}
        self.end_ms = {number: _milliseconds(end or start) for number, (start, end) in times.items()}
        self.results: dict[str, Any] = {}
        with contextlib.suppress(ValueError):  # a resumed run reports damaged results
            self.results = read_results(save_dir / RESULTS_FILE) or {}


@functools.lru_cache(maxsize=1)
def _settings(file: Path, _changed: int) -> Settings:
    """Return the settings in a file; an exporter asks for them after each trial, and the file seldom changes."""
    return load_settings(file, environment={})


def _milliseconds(moment: datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp() * 1000)


@dataclass(frozen=True)
class Metric:
    """Value of a metric at a step (an epoch, or a number of ended trials) and a moment (ms since 1970)."""

    key: str
    value: float
    moment: int
    step: int


@dataclass(frozen=True)
class Content:
    """Params, tags and metrics of one run in a tracker.

    The times of metrics come from the study, so a repeated request adds no point.
    """

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)


def trial_content(record: TrialRecord, snapshot: Snapshot) -> Content:
    """Return the content of a trial: configuration, metrics by epoch, objectives and state.

    If the first epoch is long, there are also metrics after each quarter of it. The step of these metrics is 0; the metric
    ``epoch`` has the fraction of the epoch.
    """
    start, end = snapshot.start_ms[record.number], snapshot.end_ms[record.number]
    metrics: list[Metric] = []
    for point in record.curve:
        values = {f"val_{snapshot.objective}": point.score, "val_loss": point.loss}
        values |= {"seconds_so_far": point.seconds, "epoch": point.epoch}
        metrics += _metrics(values, step=int(point.epoch), moment=start + int(point.seconds * 1000))
    objectives = {"training_seconds": record.seconds, "size_mb": record.size_mb}
    if (found := record.values) is not None:
        objectives = {snapshot.objective: found.score, "training_seconds": found.seconds, "size_mb": found.size_mb}
    objectives |= {name: value for name, (value, _) in record.constraints.items()}
    metrics += _metrics(objectives, step=int(record.curve[-1].epoch) if record.curve else 0, moment=end)
    tags = {name: record.attributes.get(name) for name in ("worker", "origin", "cut_off_by", "seeded_as")}
    tags |= {"reason": record.reason or None, "retry_of": record.retry_of}
    tags |= {"broken_constraints": violation_text(record) or None}
    tags |= {"trial_number": record.number, "state": record.state.value}
    return Content(_params(readable(with_fixed(snapshot.space, record.params))), _tags(tags), metrics)


def study_content(snapshot: Snapshot) -> Content:
    """Return the content of a study: settings without passwords, the seed, and the versions of packages."""
    tags = {f"version.{name}": version(name) for name in _PACKAGES}
    tags |= {"version.python": platform.python_version(), "seed": str(snapshot.settings.study.seed)}
    tags |= {"n_trials": str(snapshot.n_trials)}
    return Content(_params(flattened(plain_settings(snapshot.settings))), _tags(tags))


def study_metrics(snapshot: Snapshot, since: int) -> list[Metric]:
    """Return metrics after each ended trial: the counts of trials and the best score.

    The first ``since`` trials are left out.
    """
    ordered = sorted(snapshot.ended, key=lambda record: (snapshot.end_ms[record.number], record.number))
    count: Counter[State] = Counter()
    best = -math.inf
    metrics: list[Metric] = []
    for step, record in enumerate(ordered, start=1):
        count[record.state] += 1
        best = max(best, record.values.score) if record.values is not None and record.feasible else best
        values = {"trials_ended": float(step), f"best_{snapshot.objective}": best}
        values |= {f"trials_{state.value.lower()}": float(count[state]) for state in _ENDED}
        if step > since:
            metrics += _metrics(values, step=step, moment=snapshot.end_ms[record.number])
    return metrics


def hypervolume_metrics(snapshot: Snapshot, name: str) -> list[Metric]:
    """Return the hypervolume after each finished trial as metrics. All values use the reference point of the whole study."""
    finished = [record.number for record in finish_order(snapshot.ended) if record.finished]
    return [
        Metric(name, step.hypervolume, snapshot.end_ms[finished[step.trials - 1]], step.trials)
        for step in hypervolume_history(snapshot.ended, snapshot.skill)
    ]


def model_content(entry: Mapping[str, Any], snapshot: Snapshot) -> Content:
    """Return the content of a retrained model: its configuration, its test metrics with intervals, and the baselines.

    ``entry`` is the model's entry in the snapshot's ``results``, the content of ``results.json``. The time of the metrics is the
    end of the model's trial.
    """
    results, moment = snapshot.results, snapshot.end_ms[entry["trial_number"]]
    training, verdict = entry.get("training_results") or {}, results.get("verdict") or {}
    tags = {"of_trial": entry.get("trial_number"), "finalist_rank": entry["model_rank"]}
    values = _numbers(training) | _numbers(entry.get("test_metrics"))
    values |= _numbers(entry.get("spread_over_seeds"), "test_score_over_seeds.")
    values |= _numbers({"training_time": entry.get("training_time")})
    for baseline in results.get("baselines") or ():
        values |= _numbers(baseline.get("test_metrics"), f"baseline.{_allowed(baseline['name'])}.")
    if verdict.get("model_rank") == entry["model_rank"]:
        tags |= {"verdict": verdict["sentence"], "skill": str(verdict.get("skill"))}
        tags |= {name: str(verdict[name]) for name in ("grade", "colour") if name in verdict}
        values |= _numbers({"difference_to_best_baseline": verdict.get("difference")})
    metrics = _metrics(values, step=int(training.get("best_epoch") or 0), moment=moment)
    return Content(_params(flattened(entry["config_params"])), _tags(tags), metrics)


def _metrics(values: Mapping[str, float], *, step: int, moment: int) -> list[Metric]:
    return [Metric(name, value, moment, step) for name, value in values.items() if math.isfinite(value)]


def _numbers(facts: Mapping[str, Any] | None, prefix: str = "") -> dict[str, float]:
    """Return the numbers in a mapping, and both ends of its intervals.

    Lists and tables are left out; the artifacts contain them.
    """
    found: dict[str, float] = {}
    for name, value in (facts or {}).items():
        is_interval = name.endswith("interval") and isinstance(value, list) and len(value) == 2
        ends = {f"{name}_low": value[0], f"{name}_high": value[1]} if is_interval else {name: value}
        found |= {f"{prefix}{end}": float(each) for end, each in ends.items() if type(each) in (int, float)}
    return found


def _params(values: Mapping[str, Any]) -> dict[str, str]:
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, default=str) for name, value in values.items()
    }
    return {_allowed(name): masked(text)[:_MAX_PARAM] for name, text in texts.items()}


def _tags(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: masked(str(value))[:_MAX_TAG] for name, value in values.items() if value is not None}


def _allowed(name: str) -> str:
    """Return a name with replacements for the characters that MLflow does not allow."""
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)
