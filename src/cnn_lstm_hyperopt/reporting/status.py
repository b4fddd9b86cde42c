"""``cnn-lstm-hyperopt status``: how far a study is and what to do next."""

import json
from collections import Counter
from pathlib import Path

from cnn_lstm_hyperopt.search import SkillGate, State, StudyStorage, ranked_front


def status_lines(save_dir: Path) -> list[str]:
    """A few lines about the study in ``save_dir``; may be called while it runs.

    Raises:
        SaveDirError: there is no study.
    """
    storage = StudyStorage(save_dir / "study.db")
    try:
        records = storage.records()
        gate, total = storage.attribute("skill_gate"), storage.attribute("n_trials")
        name = storage.study.study_name
    finally:
        storage.close()
    count = Counter(record.state for record in records)
    done = count[State.COMPLETE] + count[State.PRUNED]
    lines = [
        f"Study {name} in {save_dir}: {done} of {total} trials finished"
        f" ({count[State.COMPLETE]} complete, {count[State.PRUNED]} pruned), {count[State.FAIL]} failed,"
        f" {count[State.RUNNING]} running or cut off"
    ]
    if gate is not None:
        front = ranked_front(records, SkillGate(**gate))
        if front and front[0].values is not None:
            best = front[0].values
            lines.append(
                f"Front: {len(front)} trials; most accurate is trial {front[0].number}:"
                f" accuracy {best.accuracy:.4f}, {best.seconds:.1f} s, {best.size_mb:.3f} MB"
            )
        else:
            lines.append("Front: empty, no trial has learnt more than the majority class yet")
    lines.append(_next_step(save_dir, done, total))
    return lines


def _next_step(save_dir: Path, done: int, total: int | None) -> str:
    if total is not None and done < total:
        return f"Next: cnn-lstm-hyperopt resume --save-dir {save_dir}"
    results = save_dir / "results.json"
    if not results.is_file():
        return f"Next: cnn-lstm-hyperopt resume --save-dir {save_dir} (writes the results)"
    retrained = json.loads(results.read_text(encoding="utf-8")).get("retrained_models", [])
    if not retrained:
        return f"Next: cnn-lstm-hyperopt resume --save-dir {save_dir} --retrain-best"
    return f"Done: {len(retrained)} models retrained and tested; see {results}"
