"""``cnn-lstm-hyperopt status``: what state a study is in and what to do next."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.config.faults import printable
from cnn_lstm_hyperopt.config.settings import RetrainSettings
from cnn_lstm_hyperopt.exceptions import ConfigError
from cnn_lstm_hyperopt.folder import BACKUP_FILE, CONFIG_FILE, RESULTS_FILE, STUDY_FILE, is_running, resume_command
from cnn_lstm_hyperopt.reporting.pruning import pruned_text
from cnn_lstm_hyperopt.reporting.results import read_results
from cnn_lstm_hyperopt.reporting.wording import counted
from cnn_lstm_hyperopt.search import SkillGate, State, StudyStorage, ranked_front
from cnn_lstm_hyperopt.search.summary import pruned_by


@dataclass(frozen=True)
class _Progress:
    """How far a study is.

    Attributes:
        done: trials that count.
        total: that there are to be.
        source: of the data.
        front: numbers of the trials in it, by rank.
        confirmations: scores with fresh seeds, by trial number.
        retrainings: trainings on all windows that are begun, since results were last written.
        results: what ``results.json`` holds; None: there is none.
    """

    done: int
    total: int
    source: str
    front: list[int]
    confirmations: dict[str, list[float]]
    retrainings: int
    results: dict[str, Any] | None


def status_lines(save_dir: Path) -> list[str]:
    """A few lines about the study in ``save_dir``; may be called while it runs.

    Raises:
        SaveDirError: there is no study, or it is damaged or of another version.
    """
    names = [STUDY_FILE, BACKUP_FILE]
    if (save_dir / CONFIG_FILE).is_file() and not any((save_dir / name).exists() for name in names):
        return _before_the_study(save_dir)
    running = is_running(save_dir)
    storage = StudyStorage(save_dir / STUDY_FILE)
    try:
        records = storage.records()
        stored, total = storage.attribute("skill_gate"), storage.attribute("n_trials")
        name = storage.study.study_name
        made_with = storage.attribute("made_with") or {}
        openings = len(storage.attribute("test_openings") or ())
        confirmations = storage.attribute("confirmations") or {}
        retrainings = len(storage.attribute("retrainings") or ())
    finally:
        storage.close()
    count = Counter(record.state for record in records)
    done = count[State.COMPLETE] + count[State.PRUNED]
    probes = sum(record.probe for record in records)
    ended = f"{count[State.COMPLETE]} complete, {count[State.PRUNED] - probes} pruned"
    ended += f", {counted(probes, 'probe')}" if probes else ""
    lines = [
        f"Study {name} in {save_dir}: {done} of {total} trials finished ({ended}), {count[State.FAIL]} failed,"
        f" {_unfinished(count, running=running)}"
    ]
    if count[State.PRUNED]:
        lines.append(f"Pruned: {pruned_text(pruned_by(records))}")
    front = []
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
    try:
        results = read_results(save_dir / RESULTS_FILE)
    except ValueError as error:
        where = save_dir / RESULTS_FILE
        return [
            *lines,
            f"{where} is damaged: {error}",
            f"Next: remove it, then {resume_command(save_dir)} writes it anew",
        ]
    verdict = None if results is None else results.get("verdict")
    if verdict is not None:
        lines.append(printable(verdict["sentence"], 2_000))
    if openings:
        lines.append(f"The test period was opened {'once' if openings == 1 else f'{openings} times'}.")
    source = made_with.get("data.source", "")
    progress = _Progress(done, total, source, [record.number for record in front], confirmations, retrainings, results)
    return [*lines, *_next_steps(save_dir, progress, running=running)]


def _before_the_study(save_dir: Path) -> list[str]:
    if is_running(save_dir):
        return [f"{save_dir} holds no study yet.", "A run is at work on it now."]
    return [
        f"{save_dir} holds {CONFIG_FILE} and no study: the run ended before it had made one.",
        f"Next: {resume_command(save_dir)}",
    ]


def _unfinished(count: Counter[State], *, running: bool) -> str:
    """What becomes of the trials that are neither finished nor failed."""
    if not running:
        return f"{count[State.RUNNING] + count[State.WAITING]} cut off and waiting to go on"
    waiting = f", {count[State.WAITING]} waiting to go on" if count[State.WAITING] else ""
    return f"{count[State.RUNNING]} running{waiting}"


def _next_steps(save_dir: Path, progress: _Progress, *, running: bool) -> list[str]:
    """How far the work after the search is, and what to run."""
    resume = resume_command(save_dir)
    if progress.source == "loaders":
        resume = f"in Python, CNNLSTMHyperparameterOptimizer(data_loaders, save_dir={str(save_dir)!r}, resume=True)"
    chosen = _retrain_settings(save_dir)
    results = progress.results
    retrained = [] if results is None else results.get("retrained_models", [])
    lines = []
    if progress.done >= progress.total and not retrained:
        lines = _final_round(progress, chosen)
    if running:
        return [*lines, "A run is at work on it now."]
    if progress.done < progress.total:
        return [f"Next: {resume}"]
    if not lines and (results is None or results.get("n_trials_completed", progress.done) != progress.done):
        return [f"Next: {resume} (writes the results)"]
    if retrained and not progress.retrainings:
        return [f"Done: {len(retrained)} models retrained and tested; see {save_dir / RESULTS_FILE}"]
    in_python = progress.source == "loaders"
    if not progress.front:
        more = 2 * progress.total
        command = f"{resume}.optimize(n_trials={more})" if in_python else f"{resume} --n-trials {more}"
        return [f"Done, and there is nothing to retrain. Next: another target, other data, or more trials: {command}"]
    if in_python:
        return [*lines, f"Next: {resume}.retrain_best_models()"]
    return [*lines, f"Next: {resume}" + ("" if chosen is not None and chosen.enabled else " --retrain-best")]


def _final_round(progress: _Progress, chosen: RetrainSettings | None) -> list[str]:
    """How far confirmation and retraining are, if they were begun."""
    if chosen is None or not (progress.confirmations or progress.retrainings):
        return []
    from cnn_lstm_hyperopt.confirmation import CONFIRMED_FROM_FRONT  # torch comes with it

    candidates = progress.front[: CONFIRMED_FROM_FRONT * chosen.top_k]
    scores = [progress.confirmations.get(str(number), ()) for number in candidates]
    done = sum(min(chosen.confirm_seeds, len(each)) for each in scores)
    lines = [f"Confirmation: {done} of {len(candidates) * chosen.confirm_seeds} trainings done"]
    if progress.retrainings:
        trainings = min(len(candidates), chosen.top_k) * chosen.seeds
        lines.append(f"Retraining: {progress.retrainings} of {trainings} trainings begun")
    return lines


def _retrain_settings(save_dir: Path) -> RetrainSettings | None:
    """As the last run had them; None where they can't be read."""
    try:
        return load_settings(save_dir / CONFIG_FILE, environment={}).retrain
    except ConfigError:
        return None
