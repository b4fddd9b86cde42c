"""Check of the URL through which workers of other machines get data and exchange files."""

import re
from urllib.parse import urlsplit

from cnn_lstm_hyperopt.config.schema.base import SettingError
from cnn_lstm_hyperopt.utils.secrets import masked
from cnn_lstm_hyperopt.utils.text import is_legible, shown


def artifacts_url(value: str) -> str:
    """Return the URL of a folder, ``file:///…`` or ``s3://BUCKET/…``, without a slash at its end.

    Raises:
        SettingError: the text is not such a URL, or it contains credentials, which ``config.yaml`` would store.
    """
    if not is_legible(value) or value != value.strip() or re.match(r"file:///[^/]|s3://[^/]", value) is None:
        raise SettingError(
            f"must be file:///FOLDER or s3://BUCKET/FOLDER, but got {shown(masked(value))}", "not-an-artifacts-url"
        )
    parts = urlsplit(value)
    if "@" in parts.netloc or parts.query or parts.fragment or ".." in parts.path.split("/"):
        raise SettingError(
            "must have no user, password, ?, # or .. part (s3:// finds its keys in AWS_ACCESS_KEY_ID and"
            f" AWS_SECRET_ACCESS_KEY or in the profile of AWS), but got {shown(masked(value))}",
            "bad-artifacts-url",
        )
    return value.rstrip("/")
