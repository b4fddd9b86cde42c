"""Passwords of database servers, which are kept apart from URLs and never written to a file or a command line."""

import json
import os
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

_VARIABLE = "HYPEROPT_STORAGE_PASSWORDS"
"""Environment variable that passes the passwords to the processes of a run, as JSON. Only the same user can read it."""

_passwords: dict[str, str] = {}


def without_password(url: str) -> str:
    """Return the URL of a database server without its password, and keep the password in the memory of this process.

    Raises:
        ValueError: the text is not a URL.
    """
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    secret = next((value for key, value in query if key == "password"), unquote(password))
    kept = [(key, value) for key, value in query if key != "password"]
    bare = urlunsplit((parts.scheme, f"{name}{at if name else ''}{host}", parts.path, urlencode(kept), ""))
    if secret:
        _passwords[bare] = secret
    return bare


def password_of(url: str) -> str | None:
    """Return the password that belongs to a URL without password; None if this process was given no password."""
    given = os.environ.pop(_VARIABLE, None)
    if given is not None:
        _passwords.update(json.loads(given))
    return _passwords.get(url)


def passwords_for_child() -> dict[str, str]:
    """Return the environment variables that pass the kept passwords to a process that this process starts."""
    password_of("")
    return {_VARIABLE: json.dumps(_passwords)} if _passwords else {}
