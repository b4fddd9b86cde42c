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
        gate, total = storage.attribute("skill_gate"), storage.attribute("n_trials")
        name = storage.study.study_name
        source = storage.attribute("made_with")["data.source"]
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
    if gate is not None:
        front = ranked_front(records, SkillGate(**gate))
        if front and front[0].values is not None:
            best = front[0].values
            lines.append(
                f"Front: {counted(len(front), 'trial')}; most accurate is trial {front[0].number}:"
                f" accuracy {best.score:.4f}, {best.seconds:.1f} s, {best.size_mb:.3f} MB"
            )
        else:
            lines.append("Front: empty, no trial has learnt more than the majority class yet")
    lines.append(_next_step(save_dir, done, total, source))
    return lines


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
