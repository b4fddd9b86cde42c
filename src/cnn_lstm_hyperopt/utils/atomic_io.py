"""Files written whole or not at all, and where those lie that are no study's own."""

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
    """A new empty file beside ``path`` that is moved there when it is whole; half of one is removed."""
    beside = new_part(path)
    try:
        yield beside
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to be told
            beside.unlink(missing_ok=True)
        raise


def new_part(path: Path) -> Path:
    """Make an empty file beside ``path`` for its content to come: ``.NAME.RANDOM.part``.

    Nobody can know the name before, and the file is made only if there is none of that name (``O_EXCL``): a link that somebody
    has put there is never followed.

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
