"""The table ``trials.csv``, with one row for each trial."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from typing import Any

from cnn_lstm_hyperopt.config import Params, SearchSpace, readable
from cnn_lstm_hyperopt.search import SkillThreshold, TrialRecord, above_chance, selected, with_fixed
from cnn_lstm_hyperopt.search.constraints import violation_text
from cnn_lstm_hyperopt.utils.spreadsheets import csv_cell

COLUMNS = (
    "number",
    "state",
    "reason",
    "accuracy",
    "above_chance",
    "training_seconds",
    "size_mb",
    "epochs",
    "projected_seconds",
    "projected_full_seconds",
    "measured_seconds",
    "paused_seconds",
    "memory_mb",
    "precision",
    "retry_of",
    "origin",
    "would_have_ended_epoch",
    "would_have_ended_reason",
    "latency_ms",
    "calibration_error",
    "feasible",
    "broken_constraints",
)
"""Names of the columns of ``trials.csv``. ``accuracy`` is replaced by the name of the study's first objective."""


def trials_csv(
    records: Sequence[TrialRecord],
    space: SearchSpace,
    skill: SkillThreshold,
    *,
    train_share: float,
    estimated_memory: Callable[[Params], float] | None = None,
) -> str:
    """Return the content of ``trials.csv``.

    The meaning of columns whose names do not explain them:

    - ``accuracy`` (or another objective, such as ``negative_log_loss``): the trial's value; for a trial that was ended early,
      its value at that time.
    - ``above_chance``: whether a completed trial beats the skill threshold.
    - ``training_seconds``: the time objective, measured or estimated.
    - ``measured_seconds``: seconds of training, always measured.
    - ``projected_seconds``: predicted seconds for all epochs.
    - ``projected_full_seconds``: predicted seconds for all epochs with all training windows instead of ``train_share``.
    - ``memory_mb``: measured peak of the memory, or the result of ``estimated_memory`` if it is given.
    - ``paused_seconds``: seconds for which the process was stopped (Ctrl-Z) during training. Other columns do not include them.
    - ``latency_ms``, ``calibration_error``: measured values of the study's constraints.
    - ``feasible``, ``broken_constraints``: whether a completed trial keeps all constraints, and those that it breaks.
    - ``would_have_ended_…``: when and why the pruner would have ended a trial that is never pruned.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([skill.objective if name == "accuracy" else name for name in COLUMNS] + list(space.specs))
    for record in records:
        projected = record.projected_seconds
        point = selected(record.curve, math.inf)
        score = record.values.score if record.values else (point.score if point else None)
        whole = with_fixed(space, record.params)
        memory = estimated_memory(whole) if estimated_memory else record.attributes.get("memory_mb")
        would_have_ended = record.attributes.get("would_have_ended") or {}
        row: list[Any] = [
            record.number,
            record.state.value,
            record.reason,
            score,
            None if record.values is None else above_chance(record, skill),
            record.seconds,
            record.size_mb,
            record.attributes.get("epochs"),
            projected,
            None if projected is None else projected / train_share,
            record.attributes.get("measured_seconds"),
            record.attributes.get("paused_seconds"),
            memory,
            record.attributes.get("precision"),
            record.retry_of,
            record.attributes.get("origin"),
            would_have_ended.get("epoch"),
            would_have_ended.get("reason"),
            *_constraint_cells(record),
        ]
        params = readable(whole)
        cells = [*row, *(params.get(name) for name in space.specs)]
        writer.writerow(["" if value is None else csv_cell(value) for value in cells])
    return out.getvalue()


def _constraint_cells(record: TrialRecord) -> list[Any]:
    """Return the measured values of the constraints, whether the trial is feasible, and which constraints it breaks."""
    measured = record.constraints
    values = [measured[name][0] if name in measured else None for name in ("latency_ms", "calibration_error")]
    return [*values, record.feasible if measured else None, violation_text(record) or None]
