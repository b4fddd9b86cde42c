"""Writes files completely or not at all; the cache directory."""

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs

CACHE_VARIABLE = "CNN_LSTM_HYPEROPT_CACHE"
"""Environment variable that names another cache directory."""

_NAME_LENGTH = 40
"""Characters of a file's name in that of its part: a name of 255 bytes leaves no room for more."""
_PART = re.compile(r"\.(.+)\.[0-9a-f]{16}\.part(-wal|-shm|-journal)?")
"""Name of a part, or of what SQLite has beside it."""


def cache_folder() -> Path:
    """Return the directory of files that studies share: a machine's speeds, downloaded bars."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("cnn-lstm-hyperopt", appauthor=False))


def write_text(path: Path, text: str, *, make_folder: bool = True) -> None:
    """Write UTF-8 text to a file beside ``path`` and move it there: a reader sees the old file or the new one, never a part.

    Args:
        path: of the file.
        text: its new content.
        make_folder: whether a missing folder is made; False in a run that has started, whose directory was removed.
    """
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Any, *, make_folder: bool = True) -> None:
    """Write strict JSON; a NaN raises ValueError, because other languages can't read it."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_text(path, text, make_folder=make_folder)


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Yield a new empty file beside ``path`` that is moved there at the end, or removed after an error."""
    beside = new_part(path)
    try:
        yield beside
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is reported
            beside.unlink(missing_ok=True)
        raise


def new_part(path: Path) -> Path:
    """Make an empty file beside ``path`` for its content to come: ``.NAME.RANDOM.part``.

    The name is random, and an existing file of that name is never used (``O_EXCL``), so no link is followed.

    Raises:
        OSError: it can't be made.
    """
    while True:
        part = path.with_name(f".{path.name[:_NAME_LENGTH]}.{secrets.token_hex(8)}.part")
        try:
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except FileExistsError:
            continue
        return part


def whole_path(part: Path) -> Path:
    """Return the path that a file of :func:`new_part` is moved to; any other path as it is."""
    found = _PART.fullmatch(part.name)
    return part if found is None else part.with_name(found[1])


def remove_parts(*folders: Path, of: Path | None = None) -> None:
    """Remove what killed processes have left of :func:`new_part`, and what SQLite had beside it.

    Args:
        folders: where; one may be missing.
        of: only the parts of this path; None: all.
    """
    for folder in folders:
        try:
            parts = [path for path in folder.iterdir() if _PART.fullmatch(path.name)]
        except (FileNotFoundError, NotADirectoryError):
            continue
        for part in parts:
            if of is None or whole_path(part).name == of.name[:_NAME_LENGTH]:
                with contextlib.suppress(OSError):  # a left-over does no harm
                    part.unlink()
