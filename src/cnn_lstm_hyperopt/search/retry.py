"""Retries of failed trials, and a count of consecutive failures."""

from collections.abc import Sequence
from typing import Any

from cnn_lstm_hyperopt.errors import StudyFailedError
from cnn_lstm_hyperopt.search.trial import KILLED, LOST, TrialRecord

MAX_FAILURES_IN_A_ROW = 10

_INHERITED = ("note", "origin", "expected_score")


def to_retry(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the failed trials that the study must retry."""
    retried = {record.retry_of for record in records}
    return [record for record in records if record.owed_another_try and record.number not in retried]


def inherited(failed: TrialRecord) -> dict[str, Any]:
    """Return the user attributes of the trial that repeats the trial ``failed``.

    If the process of ``failed`` died, the retry continues from the checkpoint. If the process was killed, the retry also uses
    less memory.
    """
    attributes = {key: failed.attributes[key] for key in _INHERITED if key in failed.attributes}
    if (cut_off_by := failed.attributes.get("cut_off_by")) is not None:
        attributes |= {"seeded_as": failed.seeded_as, "saving": failed.memory_level + (cut_off_by == KILLED)}
        handovers = int(failed.attributes.get("handovers", 0)) + (cut_off_by == LOST)
        attributes |= {"handovers": handovers} if handovers else {}
    return {**attributes, "retry_of": failed.number}


class Failures:
    """Count of the consecutive failed trials of this process."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._last = ""

    def add(self, why: str) -> None:
        """Count a failed trial."""
        self._in_a_row += 1
        self._last = why

    def reset(self) -> None:
        """Reset the count of consecutive failures after a trial that did not fail."""
        self._in_a_row = 0

    def check(self) -> None:
        """Raise StudyFailedError after ten consecutive failures."""
        if self._in_a_row >= MAX_FAILURES_IN_A_ROW:
            text = f"{MAX_FAILURES_IN_A_ROW} trials failed in a row, the last with: {self._last}"
            raise StudyFailedError(text, code="failures-in-a-row")
