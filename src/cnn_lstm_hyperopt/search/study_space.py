"""The search space of a stored study: the space in its settings, without the parameters that have no effect on its data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import SearchSpace, Settings
from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.run_dir.paths import DATA_FILE
from cnn_lstm_hyperopt.utils.reading import MAX_JSON_BYTES, parse_json, read_text


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


def study_space(settings: Settings, description: Mapping[str, Any]) -> SearchSpace:
    """Return the search space of a study.

    Args:
        settings: settings in the study's ``config.yaml``.
        description: content of the study's ``data.json``; data without a ``value_name`` have one task.
    """
    one_task = description.get("value_name", "") is None
    return settings.search_space.for_one_task() if one_task else settings.search_space
