"""``cnn-lstm-hyperopt status``: how far a study is and what to do next."""

import json
import shlex
from collections import Counter
from pathlib import Path

from cnn_lstm_hyperopt.folder import RESULTS_FILE, STUDY_FILE, is_running
from cnn_lstm_hyperopt.reporting.pruning import pruned_text
from cnn_lstm_hyperopt.reporting.wording import counted
from cnn_lstm_hyperopt.search import SkillGate, State, StudyStorage, ranked_front
from cnn_lstm_hyperopt.search.summary import pruned_by


def status_lines(save_dir: Path) -> list[str]:
    """A few lines about the study in ``save_dir``; may be called while it runs.

    Raises:
        SaveDirError: there is no study.
    """
    storage = StudyStorage(save_dir / STUDY_FILE)
    try:
        records = storage.records()
        stored, total = storage.attribute("skill_gate"), storage.attribute("n_trials")
        name = storage.study.study_name
        source = storage.attribute("made_with")["data.source"]
        openings = len(storage.attribute("test_openings") or ())
    finally:
        storage.close()
    count = Counter(record.state for record in records)
    done = count[State.COMPLETE] + count[State.PRUNED]
    probes = sum(record.probe for record in records)
    ended = f"{count[State.COMPLETE]} complete, {count[State.PRUNED] - probes} pruned"
    ended += f", {counted(probes, 'probe')}" if probes else ""
    lines = [
        f"Study {name} in {save_dir}: {done} of {total} trials finished"
        f" ({ended}), {count[State.FAIL]} failed,"
        f" {count[State.RUNNING]} running or cut off"
    ]
    if count[State.PRUNED]:
        lines.append(f"Pruned: {pruned_text(pruned_by(records))}")
    if stored is not None:
        gate = SkillGate(**stored)
        front = ranked_front(records, gate)
        if front and front[0].values is not None:
            best = front[0].values
            lines.append(
                f"Front: {counted(len(front), 'trial')}; {'most accurate' if gate.metric == 'accuracy' else 'best'} is trial"
                f" {front[0].number}: {gate.words} {best.score:.4f}, {best.seconds:.1f} s, {best.size_mb:.3f} MB"
            )
        else:
            lines.append(f"Front: empty, no trial has learnt more than {gate.to_beat} yet")
    lines += _verdict(save_dir)
    if openings:
        lines.append(f"The test period was opened {'once' if openings == 1 else f'{openings} times'}.")
    lines.append(_next_step(save_dir, done, total, source))
    return lines


def _verdict(save_dir: Path) -> list[str]:
    """The sentence, if there is one yet."""
    results = save_dir / RESULTS_FILE
    verdict = json.loads(results.read_text(encoding="utf-8")).get("verdict") if results.is_file() else None
    return [] if verdict is None else [verdict["sentence"]]


def _next_step(save_dir: Path, done: int, total: int, source: str) -> str:
    if is_running(save_dir):
        return "A run is at work on it now."
    resume = f"cnn-lstm-hyperopt resume --save-dir {shlex.quote(str(save_dir))}"
    if source == "loaders":
        resume = f"in Python, CNNLSTMHyperparameterOptimizer(data_loaders, save_dir={str(save_dir)!r}, resume=True)"
    if done < total:
        return f"Next: {resume}"
    results = save_dir / RESULTS_FILE
    if not results.is_file():
        return f"Next: {resume} (writes the results)"
    retrained = json.loads(results.read_text(encoding="utf-8"))["retrained_models"]
    if not retrained:
        return f"Next: {resume}" + (" --retrain-best" if source != "loaders" else ".retrain_best_models()")
    return f"Done: {len(retrained)} models retrained and tested; see {results}"
