"""Notes on a study and its trials in the format of optuna-dashboard, which stores notes as attributes of the study.

optuna-dashboard is an optional dependency, so this module writes the notes without optuna-dashboard; a test reads the notes with
optuna-dashboard.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from optuna.storages import BaseStorage

_PART = 2045
"""Maximum number of characters of a study attribute."""
_OURS = "cnn_lstm_hyperopt:"
"""Prefix of the names of attributes that store each note as this program last wrote it, without later edits by people."""


def write_notes(
    storage: BaseStorage, study_id: int, notes: Mapping[int | None, str], id_of: Callable[[int], int]
) -> None:
    """Write notes on trials (key: trial number) and on the study (key: None), except where a person has edited the note.

    Args:
        storage: storage of the study.
        study_id: id of the study.
        notes: notes as Markdown texts.
        id_of: function that returns the storage id of a trial number.

    Raises:
        KeyError: the study has no trial with one of these numbers.
    """
    by_id = {None if number is None else id_of(number): note for number, note in notes.items()}
    for name, value in note_attributes(by_id, storage.get_study_system_attrs(study_id)).items():
        storage.set_study_system_attr(study_id, name, value)


def note_attributes(notes: Mapping[int | None, str], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the study attributes that must be set so that ``notes`` replace all earlier notes of this program.

    A note that a person has edited stays unchanged.

    Args:
        notes: notes as Markdown texts. The key is the storage id of the trial, or None for the note on the study.
        stored: all system attributes that the study has now.
    """
    before: dict[int | None, str] = dict.fromkeys(_written(stored), "")
    wanted: dict[str, Any] = {}
    for trial_id, body in (before | dict(notes)).items():
        of = "" if trial_id is None else f"{trial_id}:"
        version, ours, part = f"dashboard:{of}note_ver", f"{_OURS}{of}note_ver", f"dashboard:{of}note_str:"
        parts = {
            f"{part}{place}": body[start : start + _PART] for place, start in enumerate(range(0, len(body), _PART))
        }
        shown = {key: text for key, text in stored.items() if key.startswith(part)}
        parts = dict.fromkeys(shown, "") | parts
        if stored.get(version, 0) == stored.get(ours, 0) and parts != shown:
            following = stored.get(version, 0) + 1
            wanted |= {**parts, version: following, ours: following}
    return wanted


def _written(stored: Mapping[str, Any]) -> list[int | None]:
    """Return the storage ids of the trials with a note by this program, and None if the study itself has such a note."""
    found = (re.fullmatch(rf"{_OURS}(?:(\d+):)?note_ver", key) for key in stored)
    return [None if match[1] is None else int(match[1]) for match in found if match]
