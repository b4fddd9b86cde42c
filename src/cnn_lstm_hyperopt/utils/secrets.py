"""Passwords and tokens in URIs, hidden before a text is shown or kept."""

import re

_USER = re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]+://?(?:[^\s/:@?#]*:)?)(?P<secret>[^\s/?#]+)@", re.IGNORECASE)
_DATABASE = re.compile(
    r"(?P<before>\b(?:postgresql|mysql|mssql)(?:\+\w+)?://[^\s:/@]*:)(?P<secret>[^\s@]+)@", re.IGNORECASE
)
"""SQLAlchemy takes all up to the ``@`` for the password, whatever is in it."""
_ENCODED = re.compile(r"(?P<before>\bodbc_connect=)(?P<secret>[^\s&#'\"]+)", re.IGNORECASE)
"""A whole connection string, with its password, in percent code."""
_PARAMETER = re.compile(
    r"(?P<before>[?&;](?:[\w.-]*(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|signature|sig))=)(?P<secret>[^\s&;#'\"]+)",
    re.IGNORECASE,
)
MASK = "***"


def masked(text: str) -> str:
    """The text with what stands for a password in any URI of it replaced: ``postgresql://me:***@host/db``, ``…?token=***``.

    What stands alone before an ``@`` may be a token (``https://TOKEN@host``), so it is hidden, too.
    """
    for before_at in (_DATABASE, _USER):
        text = before_at.sub(rf"\g<before>{MASK}@", text)
    for parameter in (_ENCODED, _PARAMETER):
        text = parameter.sub(rf"\g<before>{MASK}", text)
    return text
