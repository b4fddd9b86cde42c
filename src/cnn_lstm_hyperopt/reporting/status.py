"""Output of ``cnn-lstm-hyperopt status``: the state of a study and the next command."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import DataSettings, Settings, load_settings
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.inference.refit import REFIT, REFIT_FAILURE, refit_failure_text
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.pipeline.results.stored_results import read_results
from cnn_lstm_hyperopt.reporting.console.pruning import pruned_text
from cnn_lstm_hyperopt.reporting.infeasible import infeasible_lines
from cnn_lstm_hyperopt.reporting.model_to_use import model_to_use
from cnn_lstm_hyperopt.run_dir.activity import activity_text, read_activity
from cnn_lstm_hyperopt.run_dir.lock import is_running
from cnn_lstm_hyperopt.run_dir.paths import (
    BACKUP_FILE,
    CONFIG_FILE,
    REPORT_FILE,
    RESULTS_FILE,
    STUDY_FILE,
    command,
    predict_command,
    resume_command,
    resume_in_python,
)
from cnn_lstm_hyperopt.search import (
    SkillThreshold,
    State,
    TrialRecord,
    above_chance,
    confirmation_candidates,
    count_confirmations,
    database_in,
    read_description,
    read_study,
    reported_front,
)
from cnn_lstm_hyperopt.search.pruning_stats import pruned_by
from cnn_lstm_hyperopt.utils.text import counted, printable

_FACTS = (
    "study_name",
    "running",
    "n_trials",
    "n_trials_completed",
    "counts",
    "pruned_by",
    "training_seconds",
    "metric",
    "front",
    "front_above_chance",
    "infeasible",
    "best",
    "retrained_models",
    "grade",
    "verdict",
    "test_openings",
    "damaged",
    "skipped_trials",
    "at_work",
    "next",
)
"""Keys of the result of :func:`status_facts`."""


@dataclass(frozen=True)
class _Progress:
    """Progress of a study: the values that determine the next command.

    Attributes:
        done: number of finished trials.
        total: total number of trials that the study is to run.
        source: source of the data.
        confirmations: scores of each candidate with new seeds, by trial number.
        retrainings: number of retrainings, for all periods of the test set, that were started since the results were last
            written.
        results: content of ``results.json``; None if the file is missing.
    """

    done: int
    total: int
    source: str
    confirmations: dict[str, list[float]]
    retrainings: int
    results: dict[str, Any] | None


@dataclass(frozen=True)
class _StudyState:
    """State of a study, read from the files in ``save_dir``."""

    name: str
    records: list[TrialRecord]
    skill: SkillThreshold | None
    openings: int
    progress: _Progress
    running: bool
    damaged: str | None
    skipped: list[int]
    outside: list[str]

    @property
    def count(self) -> Counter[State]:
        """Number of trials in each state."""
        return Counter(record.state for record in self.records)

    @property
    def front(self) -> list[TrialRecord]:
        """Non-dominated trials in the order of their ranks; see :func:`reported_front`."""
        return [] if self.skill is None else reported_front(self.records, self.skill)

    @property
    def above_chance(self) -> bool | None:
        """True if the trials of the Pareto front beat chance; None if no trial is complete."""
        front = self.front
        return above_chance(front[0], self.skill) if front and self.skill is not None else None

    @property
    def verdict(self) -> str | None:
        """Sentence that states the verdict; None without a verdict."""
        verdict = None if self.progress.results is None else self.progress.results.get("verdict")
        return None if verdict is None else printable(verdict["sentence"], 2_000)

    @property
    def grade(self) -> str | None:
        """Grade of the verdict; None without a verdict."""
        verdict = None if self.progress.results is None else self.progress.results.get("verdict")
        grade = None if verdict is None else verdict.get("grade")
        return None if grade is None else printable(str(grade), 100)


def status_lines(save_dir: Path) -> list[str]:
    """Return a few lines about the state of the study in ``save_dir``. This also works while the study is running.

    Raises:
        SaveDirError: there is no study, or the study is damaged or was written by another version.
    """
    if _only_begun(save_dir):
        return _before_the_study(save_dir)
    found = _look(save_dir)
    count, progress = found.count, found.progress
    ended = f"{count[State.COMPLETE]} complete, {count[State.PRUNED]} pruned"
    lines = [
        f"Study {found.name} in {save_dir}: {progress.done} of {progress.total} trials finished ({ended}),"
        f" {count[State.FAIL]} failed, {_unfinished(count, running=found.running)}"
    ]
    if count[State.PRUNED]:
        lines.append(f"Pruned: {pruned_text(pruned_by(found.records))}")
    lines += [f"Warning: {line}" for line in found.outside]
    if found.skill is not None:
        untested = found.verdict is not None and not (progress.results or {}).get("retrained_models")
        lines += infeasible_lines(found.records)
        lines.append(_front_text(found.front, found.skill, verdict_says_why=untested))
    if found.damaged is not None:
        where = save_dir / RESULTS_FILE
        return [
            *lines,
            f"{where} is damaged: {found.damaged}",
            f"Next: remove it, then run: {resume_command(save_dir)}",
        ]
    if found.verdict is not None:
        lines.append(found.verdict if found.grade is None else f"Verdict: {found.grade}. {found.verdict}")
    if found.openings:
        times = "once" if found.openings == 1 else f"{found.openings} times"
        lines.append(f"Test set evaluated {times}.")
    return [*lines, *_next_steps(save_dir, found)]


def status_facts(save_dir: Path) -> dict[str, Any]:
    """Return the state of a study as values for strict JSON. All keys are always present; unknown values are None.

    Raises:
        SaveDirError: in the same cases as :func:`status_lines`.
    """
    if _only_begun(save_dir):
        running = is_running(save_dir)
        return dict.fromkeys(_FACTS) | {"running": running, "next": _before_the_study(save_dir)[1:]}
    found = _look(save_dir)
    front = found.front
    best = front[0] if front else None
    return {
        "study_name": found.name,
        "running": found.running,
        "n_trials": found.progress.total,
        "n_trials_completed": found.progress.done,
        "counts": {state.value: found.count[state] for state in State},
        "pruned_by": pruned_by(found.records),
        "training_seconds": sum(record.seconds for record in found.records),
        "metric": None if found.skill is None else found.skill.metric,
        "front": [record.number for record in front],
        "front_above_chance": found.above_chance,
        "infeasible": [record.number for record in found.records if not record.feasible],
        "best": None
        if best is None or best.values is None
        else {"trial_number": best.number, "values": list(best.values)},
        "retrained_models": len((found.progress.results or {}).get("retrained_models") or ()),
        "grade": found.grade,
        "verdict": found.verdict,
        "test_openings": found.openings,
        "damaged": found.damaged,
        "skipped_trials": found.skipped,
        "at_work": [asdict(each) for each in read_activity(save_dir)] if found.running else [],
        "next": _next_steps(save_dir, found),
    }


def _only_begun(save_dir: Path) -> bool:
    """Return True if a run has written its settings to ``save_dir`` but no study."""
    names = [STUDY_FILE, BACKUP_FILE]
    if not (save_dir / CONFIG_FILE).is_file() or any((save_dir / name).exists() for name in names):
        return False
    return not database_in(save_dir).exists()


def _look(save_dir: Path) -> _StudyState:
    running = is_running(save_dir)
    content = read_study(save_dir)
    records, attributes = content.records, content.attributes
    attribute = attributes.get
    stored, total = attribute("skill_gate"), attributes.get("n_trials", 0)
    made_with = attribute("made_with") or {}
    openings = len(attribute("test_openings") or ())
    confirmations = attribute("confirmation_readings") or {}
    retrainings = len(attribute("retrainings") or ())
    skill = None if stored is None else SkillThreshold(**stored)
    try:
        results, damaged = read_results(save_dir / RESULTS_FILE), None
    except ValueError as error:
        results, damaged = None, str(error)
    done, source = sum(record.finished for record in records), made_with.get("data.source", "")
    progress = _Progress(done, total, source, confirmations, retrainings, results)
    return _StudyState(
        content.name, records, skill, openings, progress, running, damaged, content.skipped, content.news
    )


def _front_text(front: Sequence[TrialRecord], skill: SkillThreshold, *, verdict_says_why: bool) -> str:
    if not front or front[0].values is None:
        return "Front: empty, no trial is complete and feasible"
    best = front[0].values
    chance = (
        ""
        if verdict_says_why or above_chance(front[0], skill)
        else f", none of which beats chance ({skill.words} above {skill.threshold:.4f})"
    )
    return (
        f"Front: {counted(len(front), 'trial')}{chance}; {METRICS[skill.metric].superlative} is trial"
        f" {front[0].number}: {skill.words} {best.score:.4f}, {best.seconds:.1f} s, {best.size_mb:.3f} MB"
    )


def _before_the_study(save_dir: Path) -> list[str]:
    if is_running(save_dir):
        return [f"{save_dir} has no study yet.", "A run is at work on it now."]
    return [
        f"{save_dir} has {CONFIG_FILE} but no study: the run ended before it created one.",
        f"Next: {resume_command(save_dir)}",
    ]


def _unfinished(count: Counter[State], *, running: bool) -> str:
    """Return as text how many trials are unfinished."""
    if not running:
        return f"{count[State.RUNNING] + count[State.WAITING]} interrupted"
    waiting = f", {count[State.WAITING]} interrupted" if count[State.WAITING] else ""
    return f"{count[State.RUNNING]} running{waiting}"


def _next_steps(save_dir: Path, found: _StudyState) -> list[str]:
    """Return lines about the progress of confirmation and retraining, and the next command."""
    progress = found.progress
    resume = resume_command(save_dir)
    if progress.source == "loaders":
        resume = f"in Python, {resume_in_python(save_dir, read_description(save_dir))}"
    settings = _settings(save_dir)
    results = progress.results
    retrained = [] if results is None else results.get("retrained_models", [])
    lines = []
    if progress.done >= progress.total and not retrained:
        lines = _final_round(found, settings)
    if found.running:
        now = activity_text(read_activity(save_dir))
        return [*lines, "A run is at work on it now" + (f": {now}." if now else ".")]
    if progress.done < progress.total:
        return [f"Next: {resume}"]
    if not lines and (results is None or results.get("n_trials_completed", progress.done) != progress.done):
        return [f"Next: {resume} (writes the results)"]
    asks_refit = settings is not None and settings.retrain.refit
    failure = (results or {}).get(REFIT_FAILURE)
    if retrained and asks_refit and not failure and not (results or {}).get(REFIT):
        call = f"{resume}.retrain_best_models()" if progress.source == "loaders" else resume
        return [f"{counted(len(retrained), 'model')} retrained and tested. Next: {call} (completes the final refit)"]
    if retrained and not progress.retrainings:
        done = f"Done: {counted(len(retrained), 'model')} retrained and tested; see {save_dir / RESULTS_FILE}"
        report = save_dir / REPORT_FILE
        shown = f"open {report} in a browser" if report.exists() else command("report", "--save-dir", save_dir)
        failed = [refit_failure_text(failure)] if failure else []
        return [done, *failed, f"Next: {shown}, or predict: {_predict(save_dir, settings, results or {})}"]
    in_python = progress.source == "loaders"
    if not found.front:
        more = 2 * progress.total
        longer = f"{resume}.optimize(n_trials={more})" if in_python else f"{resume} --n-trials {more}"
        return [f"Done, but there is nothing to retrain. Next: another target, other data, or more trials: {longer}"]
    if in_python:
        return [*lines, f"Next: {resume}.retrain_best_models()"]
    return [
        *lines,
        f"Next: {resume}" + ("" if settings is not None and settings.retrain.enabled else " --retrain-best"),
    ]


def _predict(save_dir: Path, settings: Settings | None, results: Mapping[str, Any]) -> str:
    """Return the command that predicts with :func:`.model_to_use`. For a study on DataLoaders, return the Python call."""
    _, model = model_to_use(save_dir, results)
    if settings is not None and settings.data.source == "loaders":
        return f"cnn_lstm_hyperopt.load_model({str(model)!r}).predict(windows)"
    data = DataSettings() if settings is None else settings.data
    return predict_command(model, data.data_dir, data.features)


def _final_round(found: _StudyState, settings: Settings | None) -> list[str]:
    """Return lines about the progress of confirmation and retraining; an empty list if neither has started."""
    progress = found.progress
    if settings is None or found.skill is None or not (progress.confirmations or progress.retrainings):
        return []
    chosen = settings.retrain
    candidates = confirmation_candidates(found.records, found.skill, chosen.top_k, chosen.also)
    scores = [progress.confirmations.get(str(each.number), ()) for each in candidates]
    done = sum(min(chosen.confirm_seeds, len(each)) for each in scores)
    total = count_confirmations(len(candidates), chosen.confirm_seeds, chosen.top_k)
    lines = [f"Confirmation: {done} of {max(done, total)} trainings done"]
    if progress.retrainings:
        trainings = (
            min(len(candidates), chosen.top_k + len(chosen.also)) * chosen.seeds * settings.evaluation.test_periods
        )
        lines.append(f"Retraining: {progress.retrainings} of {trainings} trainings begun")
    return lines


def _settings(save_dir: Path) -> Settings | None:
    """Return the settings of the last run; None if these settings can't be read."""
    try:
        return load_settings(save_dir / CONFIG_FILE, environment={})
    except ConfigError:
        return None
