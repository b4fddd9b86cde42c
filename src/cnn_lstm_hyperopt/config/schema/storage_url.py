"""Check of the URL of the database that stores a study."""

import re
from urllib.parse import urlsplit

from cnn_lstm_hyperopt.config.schema.base import SettingError
from cnn_lstm_hyperopt.utils.passwords import without_password
from cnn_lstm_hyperopt.utils.secrets import masked
from cnn_lstm_hyperopt.utils.text import is_legible, shown

_DRIVER = "postgresql+psycopg"
_SCHEME = re.compile(r"postgres(ql)?(\+psycopg)?://", re.IGNORECASE)


def storage_url(value: str) -> str:
    """Return the URL of a PostgreSQL database, with the name of the driver and without its password.

    The password is kept in the memory of this process, so that no copy of the settings contains it.

    Raises:
        SettingError: the text is not such a URL; the text of the error contains no password.
    """
    if not is_legible(value) or value != value.strip() or _SCHEME.match(value) is None:
        raise SettingError(
            f"must be {_DRIVER}://USER@HOST:PORT/DATABASE, or null for study.db in save_dir, but got {shown(masked(value))}",
            "not-a-storage-url",
        )
    url = _SCHEME.sub(f"{_DRIVER}://", value, count=1)
    parts = urlsplit(url)
    try:
        parts.port  # noqa: B018 - raises for a port that is no number
    except ValueError:
        parts = parts._replace(path="@")
    if "@" in parts.path or "@" in parts.query or parts.fragment:
        raise SettingError(
            f"must have a password in which /, ?, # and @ are written as %2F, %3F, %23 and %40, and a number as port, but got"
            f" {shown(masked(value))}",
            "bad-storage-url",
        )
    if not parts.path.strip("/"):
        raise SettingError(f"must name a database after the host, but got {shown(masked(value))}", "no-database-name")
    if "sslpassword" in parts.query:
        raise SettingError(
            "must have no sslpassword, which config.yaml would store; use a key without one", "sslpassword"
        )
    try:
        return without_password(url)
    except ValueError as error:
        raise SettingError(f"must be a URL, but got {shown(masked(value))}", "bad-storage-url") from error
