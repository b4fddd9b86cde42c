"""Compares what two runs with one seed left behind: one that was killed again and again, and one that nobody disturbed.

Everything that is stored is compared, but for what a clock or a gauge has read and where things lie. It shares no code with the
package.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from torture.stored import StoredStudy, read_study, strict_json

MEASURED_OF_TRIALS = {"measured_seconds", "evaluation_seconds", "memory_mb"}
"""Attributes of a trial in ``study.db``: two clocks and the peak of a process's memory. ``seconds`` and the seconds of ``curve``
stay: with ``time_objective: estimated`` they follow from the configuration."""
KILLED_OF_TRIALS = {"cut_off"}
"""Attributes that say of a trial that, and at which epoch, its process was killed."""
MEASURED_OF_TABLE = {"measured_seconds"}
"""Columns of ``trials.csv``; its ``memory_mb`` is estimated where seconds are."""
LEFT_OUT_OF_RESULTS = {
    "timestamp",  # when it was written
    "test_openings[].time",  # when the test period was opened; how often and for which trials stays
    "training_seconds",  # the clock's, summed over trials
    "cost_model.measured_to_predicted.p10",  # the clock's, beside what was predicted
    "cost_model.measured_to_predicted.median",
    "cost_model.measured_to_predicted.p90",
    "retrained_models[].training_time",  # the clock's
    "retrained_models[].latency.batch_1_ms",
    "retrained_models[].latency.batch_256_ms",
    "retrained_models[].one_network.latency.batch_1_ms",
    "retrained_models[].one_network.latency.batch_256_ms",
    "retrained_models[].seeds[].training_time",
    "retrained_models[].model_path",  # where the directory lies
    "ensemble.training_time",
    "ensemble.latency.batch_1_ms",
    "ensemble.latency.batch_256_ms",
    "ensemble.model_path",
}
"""Keys of ``results.json``, and of ``metrics.json``, which is an entry of ``retrained_models``."""


def differences(save_dir: Path, reference: Path) -> list[str]:
    """What is not the same in both directories, a line each; both must be without faults."""
    found = [*_of_studies(read_study(save_dir), read_study(reference))]
    ours, theirs = (strict_json(folder / "results.json") for folder in (save_dir, reference))
    found += [f"results.json: {text}" for text in _of_trees(ours, theirs, LEFT_OUT_OF_RESULTS)]
    ours, theirs = (list(csv.DictReader(_text(folder / "trials.csv").splitlines())) for folder in (save_dir, reference))
    found += [f"trials.csv: {text}" for text in _of_trees(ours, theirs, {f"[].{name}" for name in MEASURED_OF_TABLE})]
    ours, theirs = (yaml.safe_load(_text(folder / "config.yaml")) for folder in (save_dir, reference))
    found += [f"config.yaml: {text}" for text in _of_trees(ours, theirs, {"save_dir"})]
    patterns = ("validation/*", "retrained_model_*/*.*", "retrained_model_*/seeds/*", "ensemble/*.*", "ensemble/*/*")
    for name in ("data.json", *(name for pattern in patterns for name in _names(reference, pattern))):
        if name.endswith("metrics.json"):
            left_out = {key.removeprefix("retrained_models[].") for key in LEFT_OUT_OF_RESULTS}
            trees = (strict_json(folder / name) for folder in (save_dir, reference))
            found += [f"{name}: {text}" for text in _of_trees(*trees, left_out)]
        elif not (save_dir / name).is_file() or (save_dir / name).read_bytes() != (reference / name).read_bytes():
            found.append(f"{name}: other bytes")
    return found


def unlike_by_number(save_dir: Path, reference: Path) -> list[str]:
    """Where, with several workers, a trial's outcome depends on more than its number and its configuration, a line each.

    Which trials are proposed, and when they are pruned, depends on what others have told by then; what each epoch says does not.
    Those that had less memory are left out.
    """

    def curves(folder: Path) -> dict[tuple[int, str], list[Any]]:
        return {
            (trial.attributes.get("seeded_as", trial.number), json.dumps(trial.params, sort_keys=True)): curve
            for trial in read_study(folder).finished
            if (curve := trial.attributes.get("curve")) and "memory_saving" not in trial.attributes
        }

    ours, theirs = curves(save_dir), curves(reference)
    return [
        f"study.db: trial {key[0]} has the curve {ours[key]}, in another run {theirs[key]}"
        for key in ours.keys() & theirs.keys()
        if any(our != their for our, their in zip(ours[key], theirs[key], strict=False))
    ]


def _of_studies(ours: StoredStudy, theirs: StoredStudy) -> Iterator[str]:
    for text in _of_trees(ours.attributes, theirs.attributes, {"test_openings[].time", "memory_kills"}):
        yield f"study.db: {text}"
    if len(ours.trials) != len(theirs.trials):
        yield f"study.db: {len(ours.trials)} trials, not {len(theirs.trials)}"
    for our, their in zip(ours.trials, theirs.trials, strict=False):
        trees = (
            {"state": trial.state, "params": trial.params, "values": list(trial.values), "attributes": trial.attributes}
            for trial in (our, their)
        )
        for text in _of_trees(*trees, {f"attributes.{name}" for name in MEASURED_OF_TRIALS | KILLED_OF_TRIALS}):
            yield f"study.db: trial {their.number}: {text}"


def _of_trees(ours: Any, theirs: Any, left_out: set[str], path: str = "") -> Iterator[str]:
    """Places where two JSON values differ; ``left_out`` names them without the places in lists: ``models[].time``."""
    if path in left_out:
        return
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in {**theirs, **ours}:
            place = f"{path}.{key}" if path else str(key)
            if key in ours and key in theirs:
                yield from _of_trees(ours[key], theirs[key], left_out, place)
            elif place not in left_out:
                yield f"{place} is {'missing' if key in theirs else 'new'}"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for our, their in zip(ours, theirs, strict=True):
            yield from _of_trees(our, their, left_out, f"{path}[]")
    elif ours != theirs:
        yield f"{path}: {ours!r}, not {theirs!r}"


def _names(folder: Path, pattern: str) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob(pattern))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
