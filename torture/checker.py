"""Checks a directory against what a run that has ended promises. It shares no code with the package.

``faults`` reads one directory; ``comparison.differences`` reads two.
"""

import contextlib
import csv
import json
import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from safetensors import SafetensorError
from safetensors.numpy import load_file

from torture.stored import StoredStudy, Trial, is_whole, read_study, strict_json

TOP_FILES = {"study.db", "config.yaml", "data.json", "results.json", "trials.csv", "run.log"}
MAY_BE_THERE = {"study.backup.db"}
TESTED_FILES = {"metrics.json", "predictions.csv", "README.md"}
WEIGHT_FILES = {"model.json", "model.safetensors"}
MODEL_FILES = TESTED_FILES | WEIGHT_FILES | {"training.json"}
CLOSE = 1e-6
"""Of figures that are worked out anew from float32 numbers in a file."""


def faults(save_dir: Path, *, n_trials: int) -> list[str]:
    """What is wrong with the directory of a run that retrains and has ended by itself, a line each; empty: nothing.

    Args:
        save_dir: of a study that maximises accuracy and takes estimated seconds.
        n_trials: that were asked for.
    """
    try:
        if not is_whole(save_dir):
            return ["study.db: SQLite finds it damaged"]
        study = read_study(save_dir)
        config = yaml.safe_load((save_dir / "config.yaml").read_text(encoding="utf-8"))
        strict_json(save_dir / "data.json")
        results = strict_json(save_dir / "results.json")
    except (OSError, ValueError, sqlite3.Error, yaml.YAMLError) as error:
        return [f"{type(error).__name__}: {error}"]
    found = [*_of_trials(study, n_trials), *_of_retries(study), *_of_curves(study, config)]
    found += [*_of_table(save_dir, study), *_of_validation(save_dir, study)]
    found += [*_of_search_results(study, results), *_of_final_results(study, results, config)]
    for entry in results["retrained_models"]:
        try:
            found += [
                f"{_folder(entry)}: {text}" for text in _of_model(save_dir / _folder(entry), entry, results, study)
            ]
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            found.append(f"{_folder(entry)}: {type(error).__name__}: {error}")
    try:
        found += [f"ensemble: {text}" for text in _of_ensemble(save_dir / "ensemble", results)]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        found.append(f"ensemble: {type(error).__name__}: {error}")
    return [*found, *_left_over(save_dir, study, results)]


def torn_files(save_dir: Path) -> list[str]:
    """Files under their own names that are not whole, at any moment of a run that was killed."""
    found = [] if is_whole(save_dir) else ["study.db is damaged"]
    readers: dict[str, Callable[[Path], Any]] = {
        "*.json": strict_json,
        "config.yaml": lambda path: yaml.safe_load(path.read_text(encoding="utf-8"))["study"],
        "*.csv": pd.read_csv,
        "validation/*.parquet": pd.read_parquet,
        "retrained_model_*/*.json": strict_json,
        "retrained_model_*/*.csv": pd.read_csv,
        "retrained_model_*/**/*.safetensors": load_file,
        "ensemble/**/*.json": strict_json,
        "ensemble/*.csv": pd.read_csv,
        "ensemble/*/*.safetensors": load_file,
    }
    for pattern, read in readers.items():
        for path in save_dir.glob(pattern):
            try:
                read(path)
            except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError, SafetensorError) as error:
                found.append(f"{path.relative_to(save_dir)}: {type(error).__name__}: {error}")
    for folder in save_dir.glob("retrained_model_*"):
        missing = MODEL_FILES - {path.name for path in folder.iterdir()}
        found += [f"{folder.name} lacks {name}" for name in sorted(missing)]
    if (ensemble := save_dir / "ensemble").is_dir():
        members = strict_json(ensemble / "ensemble.json")["members"] if (ensemble / "ensemble.json").is_file() else []
        missing = _ensemble_files(len(members)) - {str(path.relative_to(save_dir)) for path in ensemble.rglob("*")}
        found += [f"ensemble lacks {name}" for name in sorted(missing)]
    return found


def _ensemble_files(n_members: int) -> set[str]:
    members = {f"member_{number}/{name}" for number in range(1, n_members + 1) for name in WEIGHT_FILES}
    return {f"ensemble/{name}" for name in {"ensemble.json", *TESTED_FILES, *members}}


# ---------------------------------------------------------------------- study.db


def _of_trials(study: StoredStudy, n_trials: int) -> Iterator[str]:
    """Numbers, states, counts."""
    if (numbers := [trial.number for trial in study.trials]) != list(range(len(numbers))):
        yield f"study.db: numbers are not 0 … {len(numbers) - 1}: {numbers}"
    if len(study.finished) != n_trials:
        yield f"study.db: {len(study.finished)} trials are finished, not {n_trials}"
    if study.attributes.get("n_trials") != n_trials:
        yield f"study.db: n_trials is {study.attributes.get('n_trials')}, not {n_trials}"
    for trial in study.trials:
        if not (trial.finished or trial.state == "FAIL"):
            yield f"trial {trial.number} is {trial.state}"
        if len(trial.values) != (3 if trial.state == "COMPLETE" else 0):
            yield f"trial {trial.number} is {trial.state} with values {trial.values}"
        if trial.state != "COMPLETE" and not trial.reason:
            yield f"trial {trial.number} is {trial.state} without a reason"
    orders = [trial.attributes["finish_order"] for trial in study.finished if "finish_order" in trial.attributes]
    if len(set(orders)) != len(study.finished):
        yield f"study.db: the order in which trials ended is not told: {orders}"


def _of_retries(study: StoredStudy) -> Iterator[str]:
    """A configuration occurs twice only as the retry of a trial that failed."""
    earlier: dict[str, list[Trial]] = {}
    for trial in study.trials:
        key = json.dumps(trial.params, sort_keys=True)
        same = {other.number: other for other in earlier.setdefault(key, [])}
        retried = same.get(trial.attributes.get("retry_of", -1))
        if "retry_of" in trial.attributes and (retried is None or retried.state != "FAIL"):
            yield f"trial {trial.number} is a retry of {trial.attributes['retry_of']}, which did not fail or is another one"
        if same and retried is None:
            yield f"trials {[*same, trial.number]} have one configuration"
        earlier[key].append(trial)
    retries = Counter(trial.attributes.get("retry_of") for trial in study.trials)
    yield from (
        f"trial {number} is retry_of of {count} trials"
        for number, count in retries.items()
        if number is not None and count > 1
    )
    for trial in study.trials:
        owed = (
            trial.state == "FAIL"
            and not trial.attributes.keys() & {"diverged", "given_up"}
            and "retry_of" not in trial.attributes
        )
        if owed and trial.number not in retries:
            yield f"trial {trial.number} failed ({trial.reason}) and was not tried again"


def _of_curves(study: StoredStudy, config: dict[str, Any]) -> Iterator[str]:
    """Each epoch is told once, and the values follow from the curve and the estimated seconds."""
    max_epochs = config["training"]["max_epochs"]
    for trial in study.finished:
        about, curve = trial.attributes, trial.attributes.get("curve", [])
        epochs = [point[0] for point in curve]
        if not epochs or any(b <= a for a, b in pairwise(epochs)) or epochs[-1] != about["epochs"]:
            yield f"trial {trial.number} has {about['epochs']:g} epochs and a curve of epochs {epochs}"
            continue
        seconds = about["estimated_seconds"] * about["epochs"] / max_epochs
        if not math.isclose(about["seconds"], seconds, rel_tol=CLOSE):
            yield f"trial {trial.number} has {about['seconds']} s, not {seconds}"
        expected = (_score(trial), seconds, about["size_mb"])
        if trial.values and not np.allclose(trial.values, expected, rtol=CLOSE, atol=0):
            yield f"trial {trial.number} has the values {trial.values}, not {expected}"


def _score(trial: Trial) -> float:
    """At the epoch of the lowest loss; NaN if the linear start is better than each epoch, because the curve has no start."""
    if trial.attributes.get("best_epoch") == 0:
        return float(trial.values[0]) if trial.values else math.nan
    return float(min(trial.attributes["curve"], key=lambda point: point[2])[1])


# ---------------------------------------------------------------------- trials.csv, validation/


def _of_table(save_dir: Path, study: StoredStudy) -> Iterator[str]:
    try:
        rows = list(csv.DictReader((save_dir / "trials.csv").read_text(encoding="utf-8").splitlines()))
    except (OSError, ValueError) as error:
        yield f"trials.csv: {error}"
        return
    if [row["number"] for row in rows] != [str(trial.number) for trial in study.trials]:
        yield f"trials.csv: rows of trials {', '.join(row['number'] for row in rows)}"
        return
    for trial, row in zip(study.trials, rows, strict=True):
        if row["state"] != trial.state:
            yield f"trials.csv: trial {trial.number} is {row['state']}, not {trial.state}"
        told = [row["accuracy"], row["training_seconds"], row["size_mb"]]
        if trial.values and told != [str(value) for value in trial.values]:
            yield f"trials.csv: trial {trial.number} has {told}, not {trial.values}"
        for name, value in trial.params.items():
            if _written(value) != _written(row[name]):
                yield f"trials.csv: trial {trial.number} has {name}={row[name]}, not {value}"


def _written(value: Any) -> str:
    """One way of writing for 3-5-7, [3, 5, 7] and its text, and for 8, 8.0 and theirs."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, list):
        return "-".join(str(each) for each in value)
    return str(float(value)) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _of_validation(save_dir: Path, study: StoredStudy) -> Iterator[str]:
    """Each finished trial's predictions are there, whole, and as right as the trial is said to be."""
    for trial in study.finished:
        name = f"validation/trial_{trial.number:05d}.parquet"
        try:
            table = pd.read_parquet(save_dir / name)
        except (OSError, ValueError) as error:
            yield f"{name}: {error}"
            continue
        columns = [column for column in table if str(column).startswith("probability_")]
        later = table[columns].to_numpy()
        probabilities = np.column_stack([1 - later.sum(axis=1), later])
        if not np.isfinite(later).all() or probabilities.min() < -CLOSE:
            yield f"{name}: probabilities are not between 0 and 1"
        right = probabilities.argmax(axis=1) == table["label"].to_numpy()
        fold = table["fold"] if "fold" in table else pd.Series(1, index=table.index)
        accuracy = float(pd.Series(right).groupby(fold).mean().mean())
        score = _score(trial) if trial.attributes.get("curve") else math.nan
        if not math.isnan(score) and not math.isclose(accuracy, score, rel_tol=CLOSE):
            yield f"{name}: an accuracy of {accuracy}, but the trial's is {score}"


# ---------------------------------------------------------------------- results.json


def _of_search_results(study: StoredStudy, results: dict[str, Any]) -> Iterator[str]:
    counts = Counter(trial.state for trial in study.trials)
    if results["n_trials_completed"] != len(study.finished):
        yield f"results.json: n_trials_completed is {results['n_trials_completed']}, not {len(study.finished)}"
    if wrong := {state: told for state, told in results["counts"].items() if told != counts[state]}:
        yield f"results.json: counts {wrong}, but study.db has {dict(counts)}"
    threshold = _threshold(study.attributes["skill_gate"])
    searched = {name for trial in study.finished for name in trial.params}
    told = [
        (
            each["rank"],
            each["trial_number"],
            tuple(each["values"]),
            _readable({name: value for name, value in each["params"].items() if name in searched}),
        )
        for each in results["best_trials"]
    ]
    front = enumerate(_front(study.finished, threshold), start=1)
    if told != (expected := [(rank, each.number, each.values, _readable(each.params)) for rank, each in front]):
        yield f"results.json: best_trials {_short(told)}, but the front of study.db is {_short(expected)}"
    best, history = None, []
    for place, trial in enumerate(study.finished, start=1):
        if trial.values:
            best = trial.values[0] if best is None else max(best, trial.values[0])
        size = len(_front(study.finished[:place], threshold))
        history.append([trial.number, trial.state, list(trial.values) or None, best, size])
    rows = [
        [row[key] for key in ("trial_number", "state", "values", "best_accuracy", "front_size")]
        for row in results["optimization_history"]
    ]
    if rows != history:
        yield f"results.json: optimization_history is not that of study.db: {_first_other(rows, history)}"


def _threshold(skill: dict[str, Any]) -> float:
    """Chance and two standard errors (docs/explanation/evaluation.md)."""
    chance, n = skill["chance"], skill["n_validation"] / skill["overlap"] / skill.get("dependence", 1.0)
    return float(chance + 2 * math.sqrt(chance * (1 - chance) / n))


def _front(trials: Sequence[Trial], threshold: float) -> list[Trial]:
    """Non-dominated among those above threshold, or among all complete ones without any, by brute force; by accuracy, then
    lower log loss, then fewer seconds and MB."""
    complete = [trial for trial in trials if trial.values]
    skilled = [trial for trial in complete if trial.values[0] > threshold] or complete
    rows = {trial.number: (-trial.values[0], *trial.values[1:]) for trial in skilled}

    def dominated(row: tuple[float, ...]) -> bool:
        others = (other for other in rows.values() if other != row)
        return any(all(a <= b for a, b in zip(other, row, strict=True)) for other in others)

    kept = [trial for trial in skilled if not dominated(rows[trial.number])]
    losses = {
        trial.number: min((point[2] for point in trial.attributes.get("curve", [])), default=math.inf) for trial in kept
    }
    return sorted(
        kept, key=lambda each: (rows[each.number][0], losses[each.number], rows[each.number][1:], each.number)
    )


def _readable(params: dict[str, Any]) -> dict[str, str]:
    """Without what this configuration's space fixes."""
    return {name: _written(value) for name, value in params.items() if name != "augmentation.switch"}


def _short(rows: list[Any]) -> list[Any]:
    return [row[:3] for row in rows]


def _first_other(told: list[Any], expected: list[Any]) -> str:
    return next(
        (f"{a} instead of {b}" for a, b in zip(told, expected, strict=False) if a != b),
        f"{len(told)} rows instead of {len(expected)}",
    )


def _of_final_results(study: StoredStudy, results: dict[str, Any], config: dict[str, Any]) -> Iterator[str]:
    models, openings, asked = results["retrained_models"], results["test_openings"], config["retrain"]
    if not results["best_trials"]:
        if models or openings:
            yield "results.json: there is no front, but models were retrained"
        return
    candidates = [each for each in results["confirmation"]["candidates"] if each["failure"] is None]
    retrained = {each["trial_number"] for each in models}
    for each in candidates:  # the worse half of them gets no further seed
        least = asked["confirm_seeds"] if each["trial_number"] in retrained else 1
        if not least <= len(each["scores"]) <= asked["confirm_seeds"]:
            yield f"results.json: trial {each['trial_number']} is confirmed with {len(each['scores'])} seeds"
    means = [(-len(each["losses"]), float(np.mean(each["losses"]))) for each in candidates]  # more seeds first
    if means != sorted(means):
        yield f"results.json: confirmed candidates are not in the order of their mean log losses {means}"
    first = [each["trial_number"] for each in candidates[: asked["top_k"]]]
    if (trials := [each["trial_number"] for each in models]) != first:
        yield f"results.json: trials {trials} are retrained, not {first}"
    if [each["model_rank"] for each in models] != list(range(1, len(models) + 1)):
        yield f"results.json: retrained models have the ranks {[each['model_rank'] for each in models]}"
    if len(openings) != 1 or openings[0]["trials"] != trials:
        yield f"results.json: the test period was not opened once for {trials}: {openings}"
    if openings != study.attributes.get("test_openings"):
        yield f"results.json: test_openings {openings}, study.db: {study.attributes.get('test_openings')}"
    if not results["verdict"] or not results["verdict"]["sentence"] or results["verdict"]["test_openings"] != 1:
        yield f"results.json: the verdict is {results['verdict']}"
    for each in models:
        if [seed["seed"] for seed in each["seeds"]] != list(range(1, asked["seeds"] + 1)):
            yield f"results.json: model {each['model_rank']} has the seeds {each['seeds']}"


# ---------------------------------------------------------------------- models


def _folder(entry: dict[str, Any]) -> str:
    return f"retrained_model_{entry['model_rank']}"


def _of_model(folder: Path, entry: dict[str, Any], results: dict[str, Any], study: StoredStudy) -> Iterator[str]:
    """Its weights load, its figures are those of ``results.json``, and its predictions score as they say."""
    weights = load_file(folder / "model.safetensors")
    every = [load_file(folder / name) for name in entry["networks"]]
    if not all(np.isfinite(weight).all() for each in every for weight in each.values()):
        yield "weights are not finite"
    about = strict_json(folder / "model.json").get("networks", [{"file": "model.safetensors"}])
    if [each["file"] for each in about] != entry["networks"] or len(about) != len(entry["seeds"]):
        yield f"model.json has the networks {about}, not one of each of the seeds {entry['seeds']}"
    size_mb = sum(weight.nbytes for weight in weights.values()) / 1e6
    sizes = {trial.number: trial.attributes["size_mb"] for trial in study.trials}
    if (expected_mb := sizes.get(entry["trial_number"])) is None:
        yield f"its trial {entry['trial_number']} is missing"
        return
    if not math.isclose(size_mb, expected_mb, rel_tol=0.01):
        yield f"weights have {size_mb} MB, not {expected_mb}"
    if strict_json(folder / "model.json")["params"] != entry["config_params"]:
        yield "model.json has other parameters than results.json"
    if strict_json(folder / "metrics.json") != entry:
        yield "metrics.json is not what results.json says"
    yield from _of_predictions(folder, entry, results)


def _of_ensemble(folder: Path, results: dict[str, Any]) -> Iterator[str]:
    """Its members are models of the finalists, weights add up to 1, and selected weights beat single members on validation."""
    entry = results["ensemble"]
    if entry is None:
        several = sum(len(each["seeds"]) for each in results["retrained_models"]) > 1
        if folder.exists() or several:
            yield f"results.json tells of none, and {'there are several models' if several else 'there is a folder'}"
        return
    nothing = dict.fromkeys(("model_rank", "trial_number", "seed", "baseline"))
    members = [{**nothing, **each} for each in strict_json(folder / "ensemble.json")["members"]]
    if [{key: each[key] for key in each if key != "folder"} for each in members] != entry["members"]:
        yield f"ensemble.json has the members {members}, results.json {entry['members']}"
    if not math.isclose(sum(each["weight"] for each in members), 1) or min(each["weight"] for each in members) <= 0:
        yield f"weights do not add up to 1: {members}"
    known = {(e["model_rank"], e["trial_number"], s["seed"]) for e in results["retrained_models"] for s in e["seeds"]}
    networks = [each for each in members if each["baseline"] is None]
    if not {(each["model_rank"], each["trial_number"], each["seed"]) for each in networks} <= known:
        yield f"{members} are not all models of the finalists"
    if entry["weighting"] == "selected" and entry["selection_score"] < entry["best_member_selection_score"]:
        yield f"it scores {entry['selection_score']} on validation, a member {entry['best_member_selection_score']}"
    for each in members:
        load_file(folder / each["folder"] / "model.safetensors")
    if strict_json(folder / "metrics.json") != entry:
        yield "metrics.json is not what results.json says"
    yield from _of_predictions(folder, entry, results)


def _of_predictions(folder: Path, entry: dict[str, Any], results: dict[str, Any]) -> Iterator[str]:
    """``predictions.csv`` is of the whole test period and scores as ``metrics.json`` says."""
    table, scores = pd.read_csv(folder / "predictions.csv"), entry["test_metrics"]
    if len(table) != results["verdict"]["test_windows"] or table.duplicated(["date", "symbol"]).any():
        yield f"predictions.csv has {len(table)} rows, or one twice"
    probabilities = table[[column for column in table if column.startswith("probability_")]].to_numpy()
    if (probabilities.argmax(axis=1) != table["class"]).any() or not np.allclose(probabilities.sum(axis=1), 1):
        yield "predictions.csv: classes are not those of the highest probability"
    label = table["label"].to_numpy()
    own = -np.log(np.maximum(probabilities[np.arange(len(label)), label], 1e-12))
    again = {
        "test_class_acc": float((table["class"] == label).mean()),
        "test_log_loss": float(own.mean()),
        "test_reg_mse": float(((table["value"] - table["target"]) ** 2).mean()),
    }
    for name, value in again.items():
        if not math.isclose(value, scores[name], rel_tol=1e-4):
            yield f"predictions.csv: {name} is {value}, metrics.json says {scores[name]}"


# ---------------------------------------------------------------------- what else there is


def _left_over(save_dir: Path, study: StoredStudy, results: dict[str, Any]) -> Iterator[str]:
    """Every file and folder is one that a finished run has, and none of them is missing."""
    expected = set(TOP_FILES) | {f"validation/trial_{trial.number:05d}.parquet" for trial in study.finished}
    for entry in results["retrained_models"]:
        expected |= {f"{_folder(entry)}/{name}" for name in (*MODEL_FILES, *entry["networks"])}
    if results["ensemble"] is not None:
        expected |= _ensemble_files(len(results["ensemble"]["members"]))
    there = {str(path.relative_to(save_dir)) for path in save_dir.rglob("*") if path.is_file()}
    folders = {str(path.relative_to(save_dir)) for path in save_dir.rglob("*") if path.is_dir()}
    yield from (f"{name} is missing" for name in sorted(expected - there))
    yield from (f"{name} is left over" for name in sorted(there - expected - MAY_BE_THERE))
    known = {str(parent) for name in expected for parent in Path(name).parents}
    yield from (f"the folder {name} is left over" for name in sorted(folders - known))
