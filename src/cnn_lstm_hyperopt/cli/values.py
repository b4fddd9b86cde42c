"""Functions that read the values of flags."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from cyclopts import Token

T = TypeVar("T")


def whole(kind: object, tokens: Sequence[Token]) -> int:
    """Read a whole number from a flag. The library cyclopts would round 1.5 to 2."""
    return _number(tokens[0].value, int, "a whole number")


def seconds(kind: object, tokens: Sequence[Token]) -> float:
    """Read a number of seconds from a flag."""
    return _number(tokens[0].value, float, "a number of seconds")


def number(kind: object, tokens: Sequence[Token]) -> float:
    """Read a number from a flag."""
    return _number(tokens[0].value, float, "a number")


def _number(text: str, read: Callable[[str], T], what: str) -> T:
    """Read a number that is written in ASCII digits. Python would also accept 1_0 and digits of other scripts."""
    try:
        if text.isascii() and "_" not in text:
            return read(text)
    except ValueError:
        pass
    raise ValueError(f"must be {what}, but got {text!r}")


def workers_of(kind: object, tokens: Sequence[Token]) -> int | str:
    """Read a number of workers, or ``auto``, from a flag."""
    try:
        return "auto" if tokens[0].value == "auto" else whole(kind, tokens)
    except ValueError as error:
        raise ValueError(f"{error}; auto: one worker per core") from None


def path_of(kind: object, tokens: Sequence[Token]) -> Path:
    """Read a path from a flag. The library cyclopts would read an empty text as the working directory."""
    if not tokens[0].value.strip():
        raise ValueError("must be a path, but is empty")
    return Path(tokens[0].value)
