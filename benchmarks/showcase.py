"""A finished study: where the time of its workers went, its front against random trials of equal seconds, and its test.

    cnn-lstm-hyperopt run --config laptop … --retrain-best --save-dir showcase
    cnn-lstm-hyperopt run --config laptop … --sampler random --pruner none --n-trials 100 --save-dir random
    python benchmarks/showcase.py showcase --random random

Seconds are the wall times that the study stored with its trials. The hypervolume is in (score, ln seconds, ln MB); the
reference point is the score of chance, and the seconds and MB of the slowest and the largest complete trial of both studies.
Every model and baseline has the figures of ``results.json``, which were computed once, on the test set.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from cnn_lstm_hyperopt.run_dir.paths import RESULTS_FILE, STUDY_FILE
from cnn_lstm_hyperopt.search import SkillThreshold, StudyStorage, TrialRecord
from cnn_lstm_hyperopt.search.pareto_front import finish_order, front_hypervolume
from machine import printed

Times = dict[int, tuple[Any, Any]]


class Searched(NamedTuple):
    """The trials of a study, the moments when they started and ended, and the study's skill threshold."""

    records: list[TrialRecord]
    times: Times
    skill: SkillThreshold


def read(folder: Path) -> Searched:
    """Read the study in a directory."""
    storage = StudyStorage(folder / STUDY_FILE)
    try:
        skill = SkillThreshold(**storage.attribute("skill_gate"))
        ended = [record for record in storage.records() if record.state.ended]
        return Searched(ended, storage.times(), skill)
    finally:
        storage.close()


def time_rows(study: Searched) -> Iterator[str]:
    """Yield a row for each part of the workers' wall time, from the start of the first trial of a worker to the end of its last.

    If the study was interrupted, the pause counts as time between trials, or within the trial that was interrupted.
    """
    steps = evaluations = in_trials = between = 0.0
    by_worker: dict[Any, list[TrialRecord]] = {}
    for record in sorted(study.records, key=lambda each: study.times[each.number][0]):
        by_worker.setdefault(record.attributes.get("worker"), []).append(record)
    for records in by_worker.values():
        ended = None
        for record in records:
            begun, done = study.times[record.number]
            in_trials += (done - begun).total_seconds()
            between += 0.0 if ended is None else (begun - ended).total_seconds()
            ended = done
            steps += float(record.attributes.get("measured_seconds", 0.0))
            evaluations += float(record.attributes.get("evaluation_seconds", 0.0))
    total = in_trials + between
    yield "| part of the workers' wall time | seconds | share |"
    yield "|---|---|---|"
    rest = in_trials - steps - evaluations
    parts = {"training steps": steps, "evaluations": evaluations, "all else within a trial": rest, "between": between}
    for name, seconds in parts.items():
        yield f"| {name} | {seconds:,.0f} | {seconds / total:.1%} |"
    yield f"| all, {len(by_worker)} workers, {len(study.records):,} trials | {total:,.0f} | |"


def within(records: Sequence[TrialRecord], seconds: float) -> list[TrialRecord]:
    """Return the trials, in the order in which they ended, whose training seconds together are at most ``seconds``."""
    chosen, total = [], 0.0
    for record in finish_order(records):
        total += record.seconds
        if total > seconds:
            break
        chosen.append(record)
    return chosen


def comparison_rows(study: Searched, random: Searched) -> Iterator[str]:
    """Yield a row for the random trials, for the search after the same seconds, and for the whole search."""
    spent = sum(record.seconds for record in random.records)
    equal = within(study.records, spent)
    rows = {
        f"{len(random.records)} random trials": random.records,
        f"the search, the first {len(equal)} trials": equal,
        f"the search, all {len(study.records):,} trials": study.records,
    }
    # All trials with the score of chance: they can't be on a front, but set the reference point.
    bounds = [
        replace(record, values=record.values._replace(score=study.skill.chance))
        for record in (*study.records, *random.records)
        if record.values is not None
    ]
    yield "| trials | training seconds | hypervolume | best validation score | seconds a trial: median |"
    yield "|---|---|---|---|---|"
    for name, records in rows.items():
        volume, _ = front_hypervolume([*records, *bounds], study.skill)
        best = max((r.values.score for r in records if r.values is not None), default=float("nan"))
        seconds = [record.seconds for record in records]
        yield (f"| {name} | {sum(seconds):,.0f} | {volume:.3f} | {best:.4f} | {statistics.median(seconds):.1f} |")
    mean = spent / len(random.records)
    yield ""
    yield (
        f"{len(study.records):,} random trials would take {mean * len(study.records) / 3600:.1f} h of training seconds at the"
        f" measured {mean:.1f} s a trial; the search took {sum(r.seconds for r in study.records) / 3600:.1f} h."
    )
    predicted = [
        float(r.attributes["estimated_seconds"]) for r in random.records if "estimated_seconds" in r.attributes
    ]
    yield f"The cost model predicts {statistics.fmean(predicted):.1f} s a random trial of all epochs."


def test_rows(results: dict[str, Any]) -> Iterator[str]:
    """Yield a row for each model, the ensemble and each baseline on the test set, the best log loss first."""
    found = [(f"model {m['model_rank']} (trial {m['trial_number']})", m) for m in results["retrained_models"]]
    found += [(each["name"], each) for each in results["baselines"]]
    if results.get("ensemble"):
        found.append(("ensemble", results["ensemble"]))
    measured = [(name, each["test_metrics"]) for name, each in found if each.get("test_metrics")]
    yield "| on the test set | log loss (95 % interval) | accuracy (95 % interval) |"
    yield "|---|---|---|"
    for name, metrics in sorted(measured, key=lambda pair: float(pair[1]["test_log_loss"])):
        loss, accuracy = metrics["test_log_loss_interval"], metrics["test_class_acc_interval"]
        yield (
            f"| {name} | {metrics['test_log_loss']:.4f} ({loss[0]:.4f} to {loss[1]:.4f})"
            f" | {metrics['test_class_acc']:.1%} ({accuracy[0]:.1%} to {accuracy[1]:.1%}) |"
        )
    yield ""
    yield f"Grade: {results['verdict']['grade']}. {results['verdict']['sentence']}"


def tables(folder: Path, random: Path | None) -> Iterator[str]:
    """Yield the lines of all tables."""
    study = read(folder)
    yield from time_rows(study)
    if random is not None:
        yield ""
        yield from comparison_rows(study, read(random))
    results = json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8"))
    if results.get("retrained_models"):
        yield ""
        yield from test_rows(results)


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="--save-dir of a study that has ended")
    parser.add_argument("--random", type=Path, help="--save-dir of a study with the sampler random")
    given = parser.parse_args()
    return printed("", tables(given.folder, given.random))


if __name__ == "__main__":
    sys.exit(main())
