"""Files written whole or not at all, and where those lie that are no study's own."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs

CACHE_VARIABLE = "CNN_LSTM_HYPEROPT_CACHE"
"""Environment variable that names another cache directory."""


def cache_folder() -> Path:
    """Where things lie that studies share: a machine's speeds, bars that were fetched."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("cnn-lstm-hyperopt", appauthor=False))


def write_text(path: Path, text: str, *, make_folder: bool = True) -> None:
    """Writes UTF-8 beside the place and moves it there: a reader sees the old file or the new one, never half of it.

    Args:
        path: of the file.
        text: that it holds then.
        make_folder: whether a missing folder is made. A run that has begun asks for no: if its directory is gone, somebody
            has removed it.
    """
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Any, *, make_folder: bool = True) -> None:
    """Strict JSON: a NaN raises ValueError rather than making a file that other languages can't read."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_text(path, text, make_folder=make_folder)


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A place beside ``path`` for a file that is moved there when it is whole; half of one is removed."""
    beside = path.with_name(f".{path.name}.part")
    try:
        yield beside
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to be told
            beside.unlink(missing_ok=True)
        raise
