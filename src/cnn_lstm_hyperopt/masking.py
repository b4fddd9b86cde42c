"""Passwords and tokens in URIs, hidden before a text is shown or kept."""

import re

_USER = re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]+://?(?:[^\s/:@?#]*:)?)(?P<secret>[^\s/?#]+)@", re.IGNORECASE)
_PARAMETER = re.compile(
    r"(?P<before>[?&;](?:[\w.-]*(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|signature|sig))=)(?P<secret>[^\s&;#'\"]+)",
    re.IGNORECASE,
)
MASK = "***"


def masked(text: str) -> str:
    """The text with what stands for a password in any URI of it replaced: ``postgresql://me:***@host/db``, ``…?token=***``.

    What stands alone before an ``@`` may be a token (``https://TOKEN@host``), so it is hidden, too.
    """
    return _PARAMETER.sub(rf"\g<before>{MASK}", _USER.sub(rf"\g<before>{MASK}@", text))
