"""Which URIs MLflow can write runs to."""

import re
from pathlib import Path

from cnn_lstm_hyperopt.config.messages import is_legible, shown
from cnn_lstm_hyperopt.utils.secrets import masked

_SCHEMES = r"https?://[^/?#]+|sqlite:///.+|(postgresql|mysql|mssql)(\+\w+)?://.+|databricks(-uc)?(://.*)?$"
_WINDOWS_DRIVE = r"[A-Za-z]:[/\\]"


def tracking_uri(value: str) -> str:
    """The URI, a relative path of a SQLite file made whole: the run may go on in another directory.

    MLflow's store of plain files is refused: it can't be written by this version of MLflow.

    Raises:
        ValueError: it is none of these; the text is the rule and the value, without a password.
    """
    if not is_legible(value) or value != value.strip() or re.match(_SCHEMES, value) is None:
        raise ValueError(
            "must be the URI of an MLflow server or database (http://HOST:5000, https://…, sqlite:///FILE, postgresql://…,"
            f" mysql://…, mssql://…, databricks), but got {shown(masked(value))}"
        )
    if not value.startswith("sqlite:///"):
        return value
    place = value.removeprefix("sqlite:///")
    if place.startswith(":memory:"):
        raise ValueError(f"must be a file, for what is in memory is gone when the run ends, but got {shown(value)}")
    if place.startswith("/") or re.match(_WINDOWS_DRIVE, place):
        return value
    return f"sqlite:///{Path(place).absolute()}"
