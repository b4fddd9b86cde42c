"""Reads files of text and JSON that may hold anything, within limits."""

import json
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

from cnn_lstm_hyperopt.utils.text import printable

MAX_JSON_BYTES = 20_000_000
MAX_DIGITS = 400
"""Of a whole number; every float has fewer."""


def read_text(path: Path, most: int) -> str:
    """Return the content of a file of UTF-8 text, without waiting for a pipe.

    Raises:
        ValueError: it can't be read, is larger than ``most`` bytes or is not text; the message stands behind the file's name.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _NoFileError
            content = file.read(most + 1) or b""
    except _NoFileError as error:
        raise ValueError("is no file, but a pipe or a device; write what it holds into a file and name that") from error
    except OSError as error:
        raise ValueError(f"can't be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ValueError("can't be read: no file has such a name") from error
    if len(content) > most:
        raise ValueError(
            f"is larger than {most:,} bytes; a file of this kind has a few thousand, so is it the right one?"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"is no UTF-8 text (line {line}, byte {error.start}); save it as UTF-8") from error


class _NoFileError(Exception):
    """The path is a pipe, a device or a socket, whose reading may never end."""


def _without_waiting(path: str, flags: int) -> int:
    """Open a file, without waiting for the writer of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def parse_json(text: str) -> Any:
    """Return the content of strict JSON: no NaN, no duplicate key, no number of thousands of digits.

    Raises:
        ValueError: it is not valid; the message says why.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_whole)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{printable(key, 80)} is a duplicate key; remove one")
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"the number {digits[:20]}… has {len(digits)} digits; {MAX_DIGITS} at most")
    return int(digits)
