"""Files written whole or not at all, and where those lie that are no study's own."""

import json
import os
from pathlib import Path
from typing import Any

import platformdirs

CACHE_VARIABLE = "CNN_LSTM_HYPEROPT_CACHE"
"""Environment variable that names another cache directory."""


def cache_folder() -> Path:
    """Where things lie that studies share: a machine's speeds, bars that were fetched."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("cnn-lstm-hyperopt", appauthor=False))


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 beside the place and moves it there: a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    with beside.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Strict JSON: a NaN raises ValueError rather than making a file that other languages can't read."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
