"""Markdown notes that optuna-dashboard shows for a study and for its finalists."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.evaluation.grades import graded
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.results.model_card import escaped
from cnn_lstm_hyperopt.run_dir.paths import REPORT_FILE, model_folder
from cnn_lstm_hyperopt.search import SkillThreshold, Study
from cnn_lstm_hyperopt.search.trial_seals import numbered


class DashboardNotes(RunEvents):
    """Subscriber that writes the notes when a study is opened and when its results are written."""

    def on_study(self, settings: Settings, study: Study, earlier: Mapping[str, Any]) -> None:
        self._write(study, earlier)

    def on_results(self, study: Study, results: Mapping[str, Any]) -> None:
        self._write(study, results)

    def _write(self, study: Study, results: Mapping[str, Any]) -> None:
        skipped = study.storage.skipped
        models = results.get("retrained_models", [])
        notes = dashboard_notes(study.plan.skill, results.get("verdict"), models, skipped=skipped)
        own = {record.number for record in study.records()}
        study.storage.write_notes({number: note for number, note in notes.items() if number is None or number in own})


def dashboard_notes(
    skill: SkillThreshold,
    verdict: Mapping[str, Any] | None,
    models: Sequence[Mapping[str, Any]],
    *,
    skipped: Iterable[int] = (),
) -> dict[int | None, str]:
    """Return the notes by trial number: one note for each finalist. The note of the study has the key None.

    Args:
        skill: skill threshold of the study, a score that a trial must exceed to beat chance.
        verdict: entry ``verdict`` of ``results.json``; None if there is no verdict.
        models: entry ``retrained_models`` of ``results.json``.
        skipped: numbers of the trials that other programs added or changed.
    """
    notes: dict[int | None, str] = {None: _of_study(skill, verdict, models, sorted(skipped))}
    for entry in models:
        if isinstance(number := entry.get("trial_number"), int):
            notes[number] = _of_model(entry, skill.metric)
    return notes


def _of_study(
    skill: SkillThreshold,
    verdict: Mapping[str, Any] | None,
    models: Sequence[Mapping[str, Any]],
    skipped: Sequence[int],
) -> str:
    judged = "**No verdict yet: no model was tested.**"
    if verdict is not None:
        judged = graded(verdict, escaped(verdict["sentence"], 2_000))
    lines = [
        judged,
        "",
        f"- Objectives: {skill.words} on validation (more is better), seconds in training steps, MB of weights (less is better).",
        f"- Skill threshold: {skill.threshold:.4f} ({skill.to_beat} and two standard errors). A completed trial that is not above"
        " it, or breaks a bound of `constraints`, is marked as infeasible.",
        "- User attributes of a trial: `reason` (why it was pruned or failed), `curve` (epoch, score, loss, seconds).",
    ]
    if models:
        named = ", ".join(f"model {entry['model_rank']} is trial {entry.get('trial_number', '–')}" for entry in models)
        lines.append(f"- Retrained and tested: {named}.")
    if skipped:
        lines.append(f"- Skipped, because other programs added or changed them: {numbered(skipped)}.")
    return "\n".join([*lines, f"- Full report: `{REPORT_FILE}` in the directory of this study.", ""])


def _of_model(entry: Mapping[str, Any], metric: str) -> str:
    metrics = entry.get("test_metrics") or {}
    score, interval = metrics.get("test_score"), metrics.get("test_score_interval")
    figure = "is not defined" if score is None else f"{score:.4f}"
    if interval is not None:
        figure += f" ({interval[0]:.4f} to {interval[1]:.4f})"
    return (
        f"Model {entry['model_rank']}: retrained on all training windows, then tested once.\n\n"
        f"- Test {METRICS[metric].words}: {figure}\n- Folder: `{model_folder(Path(), entry['model_rank']).name}/`\n"
    )
