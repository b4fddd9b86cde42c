"""The search space of a stored study: the space in its settings, without the parameters that have no effect on its data."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import SearchSpace, Settings
from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.models.inputs import with_own_groups, without_missing_inputs
from cnn_lstm_hyperopt.run_dir.paths import DATA_FILE
from cnn_lstm_hyperopt.utils.reading import MAX_JSON_BYTES, parse_json, read_text

FEATURE_GROUPS = "feature_groups"
"""Key in ``data.json`` with the names of the groups of features."""
OWN_GROUPS = "own_groups"
"""Key in ``data.json`` with the channels of the groups of the user's inputs that have flags in the search space, by group."""

RAW_WINDOWS = "raw_windows"
"""Key in ``data.json``: whether the windows are unscaled, so that networks standardise them."""


def read_description(save_dir: Path) -> Mapping[str, Any]:
    """Return the content of a study's ``data.json``; empty if the file is missing.

    Raises:
        SaveDirError: the file is damaged.
    """
    path = save_dir / DATA_FILE
    if not path.is_file():
        return {}
    try:
        value = parse_json(read_text(path, MAX_JSON_BYTES))
    except ValueError as error:
        raise SaveDirError(
            f"{path} is damaged: {error}; resume writes it again", field=path.name, code="file-damaged"
        ) from error
    return value if isinstance(value, dict) else {}


def stored_groups(save_dir: Path) -> tuple[str, ...] | None:
    """Return the groups of features of a study's data. The groups are empty in studies of earlier versions.

    Return None if ``data.json`` is missing or damaged. A resumed run writes this file again.
    """
    try:
        description = read_description(save_dir)
    except SaveDirError:
        return None
    return tuple(description.get(FEATURE_GROUPS, ())) if description else None


def study_space(settings: Settings, description: Mapping[str, Any]) -> SearchSpace:
    """Return the search space of a study.

    Args:
        settings: settings in the study's ``config.yaml``.
        description: content of the study's ``data.json``; data without a ``value_name`` have one task.
            Data of earlier versions have no groups of features.
    """
    one_task = description.get("value_name", "") is None
    groups = (*description.get(FEATURE_GROUPS, ()), *description.get(OWN_GROUPS, ()))
    return space_of_data(settings.whole_space, groups, one_task=one_task, raw=description.get(RAW_WINDOWS, False))


def space_of_data(space: SearchSpace, groups: Iterable[str], *, one_task: bool, raw: bool) -> SearchSpace:
    """Return the space for data with these groups of features.

    Parameters that have no effect on these data are fixed. Each group of the user's inputs adds a flag.

    Args:
        space: the space of the settings.
        groups: names of the groups of features.
        one_task: whether the data have no regression target.
        raw: whether the windows are unscaled.
    """
    groups = tuple(groups)
    space = space.for_one_task() if one_task else space
    return with_own_groups(without_missing_inputs(space, groups, raw=raw), groups)
