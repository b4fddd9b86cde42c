"""Masking of passwords and tokens in URIs."""

import re

_USER = re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]+://?(?:[^\s/:@?#]*:)?)(?P<secret>[^\s/?#]+)@", re.IGNORECASE)
_DATABASE = re.compile(
    r"(?P<before>\b(?:postgresql|mysql|mssql)(?:\+\w+)?://[^\s:/@]*:)(?P<secret>[^\s@]+)@", re.IGNORECASE
)
"""Pattern of a password in a URI. The password is everything up to the ``@``, as in SQLAlchemy."""
_ENCODED = re.compile(r"(?P<before>\bodbc_connect=)(?P<secret>[^\s&#'\"]+)", re.IGNORECASE)
"""Pattern of a percent-encoded connection string in a parameter. The whole string is masked, because it contains the password."""
_PARAMETER = re.compile(
    r"(?P<before>[?&;](?:[\w.-]*(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|signature|sig))=)(?P<secret>[^\s&;#'\"]+)",
    re.IGNORECASE,
)
MASK = "***"


def masked(text: str) -> str:
    """Return the text with the passwords in its URIs masked: ``postgresql://me:***@host/db``, ``…?token=***``.

    A single word before an ``@`` may be a token (``https://TOKEN@host``), so it is masked, too.
    """
    for before_at in (_DATABASE, _USER):
        text = before_at.sub(rf"\g<before>{MASK}@", text)
    for parameter in (_ENCODED, _PARAMETER):
        text = parameter.sub(rf"\g<before>{MASK}", text)
    return text
