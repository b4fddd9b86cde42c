"""How people's own words are shown in a line: short, and without what a terminal would obey."""

from collections.abc import Sequence

_LONGEST = 60
_LISTED = 20


def printable(text: str) -> str:
    """Control characters, line ends and marks that turn the direction of text as escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shown_name(name: object, longest: int = _LONGEST) -> str:
    """A name, shortened and printable."""
    text = str(name)
    return printable(text if len(text) <= longest else f"{text[: longest - 1]}…")


def listed(names: Sequence[object], most: int = _LISTED, *, separator: str = ", ") -> str:
    """``a, b, c … and 7 more``."""
    more = f" … and {len(names) - most:,} more" if len(names) > most else ""
    return separator.join(str(name) for name in names[:most]) + more


def shown_names(names: Sequence[object], most: int = _LISTED) -> str:
    """The first of the names, each of them shortened and printable."""
    return listed([shown_name(name, 40) for name in names[: most + 1]] + list(names[most + 1 :]), most)


def one_line(error: BaseException, longest: int = 200) -> str:
    """What an error says, in one printable line; an error may fail to say it."""
    try:
        text = str(error)
    except Exception as fault:  # noqa: BLE001 - a user's own class of error
        text = f"(its text raises {type(fault).__name__})"
    return shown_name(" ".join(text[: 4 * longest].split()), longest)
