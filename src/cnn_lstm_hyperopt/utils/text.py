"""Functions that convert values, names, lists, counts and errors to short printable text for messages."""

import difflib
import reprlib
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from pathlib import PurePath
from typing import Any

_MAX_LIST_CHARACTERS = 3_500
"""Maximum number of characters of the text that :func:`listed` returns."""
_MAX_NAMES = 20
JOINERS = frozenset("\u200c\u200d")
"""Invisible format characters that are allowed, because words in Persian and many emoji need them."""
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories of invisible characters: control, format and surrogate characters, line and paragraph ends."""


# ---------------------------------------------------------------------- values and names


def is_legible(text: str) -> bool:
    """Return whether every character of ``text`` is visible when printed."""
    return text.isprintable() or not any(map(_is_invisible, text))


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE and character not in JOINERS


def printable(text: str, most: int = 200) -> str:
    """Return ``text`` in one line of about ``most`` characters; characters that are invisible or have no glyph become escapes."""
    if not text.isprintable():
        text = "".join(ascii(each)[1:-1] if _is_invisible(each) or _has_no_glyph(each) else each for each in text)
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most // 2) :]}"


def _has_no_glyph(character: str) -> bool:
    return unicodedata.category(character) in ("Cn", "Co")  # unassigned, or for private use


class _Short(reprlib.Repr):
    """Formatter that writes the ``repr`` of any value in a few characters, also of a very large value."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlist, self.maxtuple, self.maxset = 3, 4, 6, 6, 6
        self.maxstring = self.maxother = 80

    def repr_int(self, value: int, level: int) -> str:
        """Write a whole number in short form. Python's own ``repr`` raises an error for a number with thousands of digits."""
        digits = int(value.bit_length() * 0.30103) + 1
        return repr(value) if digits <= 40 else f"a number of about {digits} digits"

    def repr_date(self, value: date, level: int) -> str:
        """Write a date in the form that files use (ISO 8601)."""
        return str(value)

    repr_datetime = repr_date


_SHORT = _Short()


def shown(value: Any) -> str:
    """Return a value as one short line, with quotes around text. A number or a text of NumPy is shown like one of Python."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        value = value.item()
    return "nothing" if value is None else printable(_SHORT.repr(value))[:200]


def shown_name(name: object, most: int = 60) -> str:
    """Return a name as one short line, without quotes."""
    return printable(str(name), most)


def one_line(error: BaseException, most: int = 200) -> str:
    """Return the message of an error as one line, or the name of the error's type if the message is empty."""
    try:
        text = str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as fault:  # noqa: BLE001 - ``__str__`` of a user's error class may raise anything
        text = f"(its text raises {type(fault).__name__})"
    return printable(" ".join(text[: 4 * most].split()), most) or type(error).__name__


def typed_line(error: BaseException, most: int = 200) -> str:
    """Return the type and the message of an error as one line, such as ``ValueError: the message``."""
    kind, text = type(error).__name__, one_line(error, most)
    return kind if text == kind else f"{kind}: {text}"


# ---------------------------------------------------------------------- lists


def listed(head: str, lines: Sequence[str]) -> str:
    """Return a text of ``head`` and the lines. A very long list is shortened to the first lines and the number of other lines."""
    kept: list[str] = []
    for line in lines:
        if kept and sum(map(len, kept)) + len(line) > _MAX_LIST_CHARACTERS - len(head):
            kept.append(f"… and {len(lines) - len(kept)} more")
            break
        kept.append(line)
    return "\n  ".join([head, *kept])


def enumerated(items: Sequence[object], most: int = _MAX_NAMES, *, separator: str = ", ") -> str:
    """Return items as text in one line, such as ``a, b, c … and 7 more``."""
    more = f" … and {len(items) - most:,} more" if len(items) > most else ""
    return separator.join(map(str, items[:most])) + more


def shown_names(names: Sequence[object], most: int = _MAX_NAMES) -> str:
    """Return a list of names as one line of text: the first names, each in short form, and the number of other names."""
    return enumerated([shown_name(name, 40) for name in names[: most + 1]] + list(names[most + 1 :]), most)


# ---------------------------------------------------------------------- suggestions


def did_you_mean(name: Any, known: Iterable[str], elsewhere: Iterable[str] = ()) -> str:
    """Return a suggestion such as ``"; did you mean seed?"``, or ``""`` if no known name is similar.

    Args:
        name: name that the user wrote.
        known: names that are valid at this place.
        elsewhere: dotted names that are valid at other places; only their last parts are compared with ``name``.
    """
    if not isinstance(name, str):
        return ""
    name = name[:100].lower()
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    if not close:
        places: dict[str, list[str]] = {}
        for path in elsewhere:
            places.setdefault(path.rpartition(".")[2], []).append(path)
        close = [" or ".join(places[last]) for last in difflib.get_close_matches(name, places, n=1, cutoff=0.85)]
    return f"; did you mean {close[0]}?" if close else ""


def close_names(names: Sequence[object], known: Collection[str]) -> str:
    """Return the known names that are similar to ``names``, ignoring case, such as ``AAPL`` for AAPPL or AAPL.csv; else ""."""
    by_key = {name.lower(): name for name in known}
    found: list[str] = []
    for name in names[:_MAX_NAMES]:
        key = str(name)[:100].lower()
        close = [key] if key in by_key else [PurePath(key).stem] if PurePath(key).stem in by_key else []
        close = close or difflib.get_close_matches(key, by_key, n=1, cutoff=0.6)
        found += [by_key[each] for each in close if by_key[each] not in found]
    return shown_names(found, 5)


def install_command(extra: str) -> str:
    """Return the command that installs an optional extra of this package, for users and for a clone of the repository."""
    return f"pip install 'cnn-lstm-hyperopt[{extra}]' (in its repository: pip install -e '.[{extra}]')"


# ---------------------------------------------------------------------- counts and durations


def counted(count: int, what: str, several: str | None = None) -> str:
    """Return a count with its noun, such as ``1 trial`` or ``1,200 trials``; ``several`` is the plural if it is irregular."""
    return f"{count:,} {what if count == 1 else several or what + 's'}"


def seconds_text(seconds: float) -> str:
    """Return a duration as text, such as ``4.2 s``, ``12 min`` or ``7.5 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def epochs_text(epochs: float) -> str:
    """Return a number of epochs as text, such as ``1 epoch`` or ``2.25 epochs``."""
    number = f"{round(epochs, 2):g}"
    return f"{number} epoch" + ("" if number == "1" else "s")
