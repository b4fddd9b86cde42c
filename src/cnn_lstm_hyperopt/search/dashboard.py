"""Notes on a study and its trials, where optuna-dashboard keeps those that people write: attributes of the study.

The package that shows them is an extra, so what is stored is made here; a test reads it through that package.
"""

import re
from collections.abc import Mapping
from typing import Any

from optuna.storages import BaseStorage

_PART = 2045
"""Characters of an attribute at most."""
_OURS = "cnn_lstm_hyperopt:"
"""Begins the attribute that says which version of a note was written by :func:`note_attributes`."""


def write_notes(storage: BaseStorage, study_id: int, notes: Mapping[int | None, str]) -> None:
    """Writes what optuna-dashboard shows beside trials, by number, and the study (None); notes of people stay.

    Raises:
        KeyError: there is no such trial.
    """
    by_id = {
        None if number is None else storage.get_trial_id_from_study_id_trial_number(study_id, number): note
        for number, note in notes.items()
    }
    for name, value in note_attributes(by_id, storage.get_study_system_attrs(study_id)).items():
        storage.set_study_system_attr(study_id, name, value)


def note_attributes(notes: Mapping[int | None, str], there: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be set so that these are all notes but those of people; nothing where they are.

    A note in which a person has written since stays as it is.

    Args:
        notes: Markdown, by the storage's id of a trial; None: the study's own.
        there: all system attributes of the study.
    """
    before: dict[int | None, str] = dict.fromkeys(_written(there), "")
    wanted: dict[str, Any] = {}
    for trial_id, body in (before | dict(notes)).items():
        of = "" if trial_id is None else f"{trial_id}:"
        version, ours, part = f"dashboard:{of}note_ver", f"{_OURS}{of}note_ver", f"dashboard:{of}note_str:"
        said = {f"{part}{place}": body[start : start + _PART] for place, start in enumerate(range(0, len(body), _PART))}
        shown = {key: text for key, text in there.items() if key.startswith(part)}
        said = dict.fromkeys(shown, "") | said
        if there.get(version, 0) == there.get(ours, 0) and said != shown:
            following = there.get(version, 0) + 1
            wanted |= {**said, version: following, ours: following}
    return wanted


def _written(there: Mapping[str, Any]) -> list[int | None]:
    """Of what there are notes by this program."""
    found = (re.fullmatch(rf"{_OURS}(?:(\d+):)?note_ver", key) for key in there)
    return [None if match[1] is None else int(match[1]) for match in found if match]
