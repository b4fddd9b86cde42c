"""What is said of a study, a trial and a retrained model; in plain values, so that MLflow's own types stay in one place."""

import json
import math
import platform
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import yaml

from cnn_lstm_hyperopt.config import Settings, dump_settings, readable
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.search import State, TrialRecord, front_hypervolume, hypervolume_history, with_fixed
from cnn_lstm_hyperopt.search.pareto_front import finish_order
from cnn_lstm_hyperopt.tracking.source import Snapshot
from cnn_lstm_hyperopt.utils.secrets import masked

STATUS = {State.COMPLETE: "FINISHED", State.PRUNED: "KILLED", State.FAIL: "FAILED"}
"""MLflow knows no pruned runs: one that was ended on purpose is told from others by its tag ``state``."""
_LONGEST_PARAM, _LONGEST_TAG = 6_000, 5_000
_PACKAGES = ("cnn-lstm-hyperopt", "torch", "optuna", "numpy", "mlflow")


class Figure(NamedTuple):
    """A metric at a step; the moment is derived from the study, so that writing it twice adds nothing."""

    name: str
    value: float
    step: int
    moment: int


@dataclass(frozen=True)
class Content:
    """What one run in MLflow says."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()


def trial_content(record: TrialRecord, snapshot: Snapshot) -> Content:
    """Configuration, a figure per epoch, the values, and how it ended.

    Of a long first epoch there are points at its quarters, too: they have step 0, and ``epoch`` says where they lie.
    """
    objective = METRICS[snapshot.settings.study.metric].objective
    began, end = snapshot.began(record.number), snapshot.ended_at(record.number)
    figures = []
    for point in record.curve:
        step, moment = int(point.epoch), began + int(point.seconds * 1000)
        figures += [
            Figure(f"val_{objective}", point.score, step, moment),
            Figure("val_loss", point.loss, step, moment),
            Figure("seconds_so_far", point.seconds, step, moment),
            Figure("epoch", point.epoch, step, moment),
        ]
    values = {"training_seconds": record.own_seconds, "size_mb": record.size_mb}
    if record.values is not None:
        values = {
            objective: record.values.score,
            "training_seconds": record.values.seconds,
            "size_mb": record.values.size_mb,
        }
    last = int(record.curve[-1].epoch) if record.curve else 0
    figures += [Figure(name, value, last, end) for name, value in values.items()]
    about = {name: record.attributes.get(name) for name in ("worker", "origin", "cut_off_by", "continues", "seeded_as")}
    about |= {"reason": record.reason or None, "retry_of": record.retry_of, "probe": record.probe or None}
    tags = {name: str(value) for name, value in about.items() if value is not None}
    return Content(
        params=_params(readable(with_fixed(snapshot.space, record.params))),
        tags=_tags({**tags, "trial_number": str(record.number), "state": record.state.value}),
        figures=tuple(figure for figure in figures if math.isfinite(figure.value)),
    )


def study_content(snapshot: Snapshot) -> Content:
    """Settings, versions and seed."""
    tags = {f"version.{name}": found for name in _PACKAGES if (found := _version(name)) is not None}
    tags |= {
        "version.python": platform.python_version(),
        "seed": str(snapshot.settings.study.seed),
        "n_trials": str(snapshot.n_trials),
    }
    return Content(params=_params(_flat(_as_written(snapshot.settings))), tags=_tags(tags))


def study_figures(snapshot: Snapshot, since: int) -> tuple[Figure, ...]:
    """Counts and the best score after each trial that ended, in the order in which they did.

    Args:
        snapshot: of the study.
        since: so many ended trials are told already.
    """
    objective = METRICS[snapshot.settings.study.metric].objective
    ordered = sorted(snapshot.ended, key=lambda record: (snapshot.ended_at(record.number), record.number))
    count: Counter[State] = Counter()
    best = -math.inf
    figures = []
    for step, record in enumerate(ordered, start=1):
        count[record.state] += 1
        best = max(best, record.values.score) if record.values is not None else best
        if step > since:
            said = {"trials_ended": float(step), f"best_{objective}": best}
            said |= {f"trials_{state.value.lower()}": float(count[state]) for state in STATUS}
            moment = snapshot.ended_at(record.number)
            figures += [Figure(name, value, step, moment) for name, value in said.items() if math.isfinite(value)]
    return tuple(figures)


def front_figures(snapshot: Snapshot, key: str) -> tuple[Figure, ...]:
    """How the hypervolume grew, at the reference of the whole study; a step is a finished trial."""
    finished = [record.number for record in finish_order(snapshot.ended) if record.finished]
    return tuple(
        Figure(key, step.hypervolume, step.trials, snapshot.ended_at(finished[step.trials - 1]))
        for step in hypervolume_history(snapshot.ended, snapshot.gate)
    )


def reference_text(snapshot: Snapshot) -> str | None:
    """The point that hypervolumes are measured from: only those of one reference may be compared. None: there is none yet."""
    _, reference = front_hypervolume(snapshot.ended, snapshot.gate)
    return json.dumps(reference) if reference else None


def finalist_content(entry: Mapping[str, Any], results: Mapping[str, Any], moment: int) -> Content:
    """A retrained model: configuration, what the test period said, its intervals, and the baselines beside it."""
    training = dict(entry.get("training_results") or {})
    said = {
        **_numbers(training),
        **_numbers(entry.get("test_metrics") or {}),
        **_numbers(entry.get("spread_over_seeds") or {}, "test_score_over_seeds."),
        **_numbers({"training_time": entry.get("training_time")}),
    }
    for baseline in results.get("baselines") or ():
        said |= _numbers(baseline.get("test_metrics") or {}, f"baseline.{_named(baseline['name'])}.")
    verdict = results.get("verdict") or {}
    tags = {"of_trial": str(entry.get("trial_number")), "finalist_rank": str(entry["model_rank"])}
    if verdict.get("model_rank") == entry["model_rank"]:
        tags |= {"verdict": str(verdict["sentence"]), "skill": str(verdict.get("skill"))}
        tags |= {name: str(verdict[name]) for name in ("grade", "colour") if name in verdict}
        said |= _numbers({"difference_to_best_baseline": verdict.get("difference")})
    epoch = int(training.get("best_epoch") or 0)
    return Content(
        params=_params(_flat(entry["config_params"])),
        tags=_tags(tags),
        figures=tuple(Figure(name, value, epoch, moment) for name, value in said.items()),
    )


def _numbers(facts: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The finite numbers, and both ends of intervals; lists and tables are in the files."""
    found: dict[str, float] = {}
    for name, value in facts.items():
        is_pair = name.endswith("interval") and isinstance(value, list) and len(value) == 2
        ends = zip(("_low", "_high"), value, strict=True) if is_pair else [("", value)]
        for suffix, each in ends:
            if isinstance(each, (int, float)) and not isinstance(each, bool) and math.isfinite(each):
                found[f"{prefix}{name}{suffix}"] = float(each)
    return found


def _as_written(settings: Settings) -> dict[str, Any]:
    """As in ``config.yaml``: whole, and without a password."""
    written: dict[str, Any] = yaml.safe_load(dump_settings(settings))
    return written


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _params(values: Mapping[str, Any]) -> dict[str, str]:
    return {_named(name): masked(_text(value))[:_LONGEST_PARAM] for name, value in values.items()}


def _tags(values: Mapping[str, str]) -> dict[str, str]:
    return {name: masked(value)[:_LONGEST_TAG] for name, value in values.items()}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _named(name: str) -> str:
    """With the characters that MLflow allows in a name."""
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def batches(content: Content, *, metrics: int = 800, others: int = 100) -> Iterator[Content]:
    """In parts that MLflow takes at once: 1000 entries, 100 of them params and 100 tags; a usual trial is a single one."""
    params, tags = list(content.params.items()), list(content.tags.items())
    count = max(-(-len(content.figures) // metrics), -(-len(params) // others), -(-len(tags) // others))
    for part in range(count):
        few, many = slice(part * others, (part + 1) * others), slice(part * metrics, (part + 1) * metrics)
        yield Content(dict(params[few]), dict(tags[few]), content.figures[many])
