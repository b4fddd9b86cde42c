"""Texts about trials that break constraints."""

from collections.abc import Sequence

from cnn_lstm_hyperopt.search import State, TrialRecord
from cnn_lstm_hyperopt.search.constraints import no_feasible_text, violation_text
from cnn_lstm_hyperopt.utils.text import counted

MAX_INFEASIBLE = 3
"""Maximum number of infeasible trials that a line names."""


def infeasible_lines(records: Sequence[TrialRecord]) -> list[str]:
    """Return a line about the trials that break constraints; an empty list without such trials."""
    infeasible = [record for record in records if not record.feasible]
    if not infeasible:
        return []
    if (text := no_feasible_text(records)) is not None:
        return [f"Constraints: {text}"]
    complete = sum(record.state is State.COMPLETE for record in records)
    latest = infeasible[-MAX_INFEASIBLE:]
    shown = "; ".join(f"trial {record.number}: {violation_text(record)}" for record in latest)
    more = "the latest are " if len(infeasible) > len(latest) else ""
    return [f"Constraints: {len(infeasible)} of {counted(complete, 'complete trial')} broke them; {more}{shown}"]


def infeasible_note(records: Sequence[TrialRecord]) -> str:
    """Return a sentence of the report about the trials that break constraints; empty without such trials."""
    if (text := no_feasible_text(records)) is not None:
        return f"{text}."
    infeasible = sum(not record.feasible for record in records)
    broken = f"{counted(infeasible, 'complete trial')} broke a constraint and cannot join the front"
    return f"{broken} (crosses in the chart; the table of all trials says why)." if infeasible else ""
