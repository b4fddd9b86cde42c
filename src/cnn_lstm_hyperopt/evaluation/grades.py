"""Colours of the grades, and texts about a verdict in ``results.json``."""

from collections.abc import Mapping
from typing import Any

from cnn_lstm_hyperopt.evaluation.skill_test import Grade

COLOURS = {Grade.CHANCE: "red", Grade.WORSE: "orange", Grade.AS_GOOD: "blue", Grade.BETTER: "green"}
_SYMBOLS = {Grade.CHANCE: "🔴", Grade.WORSE: "🟠", Grade.AS_GOOD: "🔵", Grade.BETTER: "🟢"}


def known_grade(verdict: Mapping[str, Any]) -> Grade | None:
    """Return the grade of a verdict in ``results.json``, or None if an earlier version wrote the verdict without a grade."""
    grade = verdict.get("grade")
    return Grade(grade) if grade in list(Grade) else None


def graded(verdict: Mapping[str, Any], sentence: str) -> str:
    """Return a verdict as Markdown: the colour and the name of the grade, then ``sentence``."""
    grade = known_grade(verdict)
    return sentence if grade is None else f"{_SYMBOLS[grade]} **{grade.capitalize()}.** {sentence}"
