"""The real type of a file with a wrong name, from its first bytes. Nothing is opened, unpacked or unpickled."""

import re
from collections.abc import Iterable
from typing import Literal

_PACKED = ("compressed", "unpack it")
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "an Excel file (or another archive)", "save it as {kind}"),
    (b"\xd0\xcf\x11\xe0", "an Excel file", "save it as {kind}"),
    (b"PAR1", "a Parquet file", "name it SYMBOL.parquet"),
    (b"PARE", "an encrypted Parquet file", "save it without encryption"),
    (b"ARROW1", "an Arrow (Feather) file", "save it as {kind}"),
    (b"\x89HDF", "an HDF5 file", "save it as {kind}"),
    (b"SQLite format 3", "an SQLite database", "export the table as {kind}"),
    (b"%PDF", "a PDF", "save the table as {kind}"),
    (b"<", "a web page", "download the table itself"),
    (b"{", "JSON", "save it as {kind}"),
    *((magic, *_PACKED) for magic in (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd")),
    *(
        (b"\x80" + bytes([protocol]), "a pickle, which is never loaded", "save it as {kind}")
        for protocol in range(2, 6)
    ),
)
_NAMES_IN_BRACKETS = re.compile(rb"<\w+>[,;\t|]<\w+>")
"""Start of a header such as ``<DATE>,<OPEN>``, which is no web page."""
_WRITTEN = {"CSV": "CSV UTF-8", "Parquet": "Parquet"}


def other_kind(head: bytes, wanted: Literal["CSV", "Parquet"]) -> tuple[str, str] | None:
    """Return the real type of a file whose content does not match its ending .csv or .parquet, and the fix.

    Return None if the type is unknown.

    Args:
        head: first bytes of the file.
        wanted: type that the ending of the file's name stands for.
    """
    begun = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _NAMES_IN_BRACKETS.match(begun):
        return None
    starts: Iterable[bytes] = (head, begun[:16].lower())
    for magic, what, cure in _KINDS:
        if any(start.startswith(magic) for start in starts) and not (wanted == "Parquet" and magic == b"PAR1"):
            return f"is {what}, not {wanted}", cure.format(kind=_WRITTEN[wanted])
    return None
