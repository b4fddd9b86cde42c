"""Functions that read text and JSON files of unknown content and check their size."""

import json
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

from cnn_lstm_hyperopt.utils.text import printable

MAX_JSON_BYTES = 20_000_000
MAX_DIGITS = 400
"""Maximum number of digits of a whole number; every float has fewer digits."""


def read_text(path: Path, most: int) -> str:
    """Return the content of a UTF-8 text file; a pipe is an error, since reading would wait for its writer.

    Raises:
        ValueError: the file can't be read, is larger than ``most`` bytes or is not text; the caller puts the name of
            the file before the message.
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
    """Error: the path is a pipe, a device or a socket, so reading from it may never end."""


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; if the file is a pipe, do not wait for its writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def parse_json(text: str) -> Any:
    """Parse strict JSON; NaN, duplicate keys and numbers with thousands of digits are errors.

    Raises:
        ValueError: the text is not valid JSON; the message contains the reason.
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
