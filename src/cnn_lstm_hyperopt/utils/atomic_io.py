"""Functions that write files completely or not at all or remove folders, and the path of the cache directory."""

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs

CACHE_VARIABLE = "CNN_LSTM_HYPEROPT_CACHE"
"""Environment variable with which users choose another cache directory."""

_NAME_LENGTH = 40
"""Maximum number of characters of a file's name that its part file's name contains; file systems limit names to 255 bytes."""
_PART = re.compile(r"\.(.+)\.[0-9a-f]{16}\.part(-wal|-shm|-journal)?")
"""Pattern of the name of a part file (see :func:`new_part`), or of a side file that SQLite creates for a part file."""


def cache_folder() -> Path:
    """Return the cache directory, whose files (measured speeds, downloaded bars) are used by all studies."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("cnn-lstm-hyperopt", appauthor=False))


def write_text(path: Path, text: str, *, make_folder: bool = True) -> None:
    """Write UTF-8 text to a part file and move this file to ``path``, so that readers get the complete old or new text.

    Args:
        path: path of the file.
        text: new content of the file.
        make_folder: whether a missing folder is created; False during a run, so that a removed directory is an error.
    """
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Any, *, make_folder: bool = True) -> None:
    """Write a value as strict JSON; NaN raises ValueError, because other languages can't read NaN."""
    write_text(path, json_text(value), make_folder=make_folder)


def json_text(value: Any) -> str:
    """Return a value as strict JSON; NaN raises ValueError."""
    return json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Yield a new part file in the folder of ``path``; at the end, move this file to ``path`` or, after an error, delete it."""
    beside = new_part(path)
    try:
        yield beside
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is reported
            beside.unlink(missing_ok=True)
        raise


def new_part(path: Path) -> Path:
    """Create an empty part file ``.NAME.RANDOM.part`` for new content of ``path``, in the same folder.

    The name is random, and an existing file of that name is never used (``O_EXCL``), so no link is followed.

    Raises:
        OSError: the file can't be created.
    """
    while True:
        part = path.with_name(f".{path.name[:_NAME_LENGTH]}.{secrets.token_hex(8)}.part")
        try:
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except FileExistsError:
            continue
        return part


def is_part(path: Path) -> bool:
    """Return whether a path is that of a part file (see :func:`new_part`)."""
    return _PART.fullmatch(path.name) is not None


def whole_path(part: Path) -> Path:
    """Return the path to which a part file (see :func:`new_part`) is moved; return any other path unchanged."""
    found = _PART.fullmatch(part.name)
    return part if found is None else part.with_name(found[1])


def remove_parts(*folders: Path, of: Path | None = None) -> None:
    """Remove the part files of killed processes (see :func:`new_part`) and SQLite's side files of these.

    Args:
        folders: folders of the part files; a folder may be missing.
        of: path whose part files are removed; None to remove all part files.
    """
    for folder in folders:
        try:
            parts = [path for path in folder.iterdir() if is_part(path)]
        except (FileNotFoundError, NotADirectoryError):
            continue
        for part in parts:
            if of is None or whole_path(part).name == of.name[:_NAME_LENGTH]:
                with contextlib.suppress(OSError):  # a remaining part file does no harm
                    part.unlink()


def remove_folder(folder: Path) -> None:
    """Remove a folder. If the path is a symbolic link, remove only the link."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def flush_folder(folder: Path) -> None:
    """Flush all files of a folder to the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("r+b") as file:
                os.fsync(file.fileno())
