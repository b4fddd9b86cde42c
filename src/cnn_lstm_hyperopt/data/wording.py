"""How people's own words are shown in a line: short, and without what a terminal would obey."""

import difflib
from collections.abc import Collection, Sequence
from pathlib import PurePath

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


def meant(names: Sequence[object], known: Collection[str]) -> str:
    """``AAPL`` for AAPPL and for AAPL.csv: those of the known names, in whatever case, that may have been meant; "" for none."""
    by_key = {name.lower(): name for name in known}
    found: list[str] = []
    for name in names[:_LISTED]:
        key = str(name)[:100].lower()
        close = [key] if key in by_key else [PurePath(key).stem] if PurePath(key).stem in by_key else []
        close = close or difflib.get_close_matches(key, by_key, n=1, cutoff=0.6)
        found += [by_key[each] for each in close if by_key[each] not in found]
    return shown_names(found, 5)


def one_line(error: BaseException, longest: int = 200) -> str:
    """What an error says, in one printable line; an error may fail to say it."""
    try:
        text = str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as fault:  # noqa: BLE001 - a user's own class of error
        text = f"(its text raises {type(fault).__name__})"
    return shown_name(" ".join(text[: 4 * longest].split()), longest)
