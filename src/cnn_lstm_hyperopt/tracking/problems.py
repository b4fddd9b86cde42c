"""Why MLflow could not be written to, in a few words and without secrets."""

import re

from cnn_lstm_hyperopt.config.messages import printable
from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.tracking.target import Target

_SILENT = ("failed with exception", "timed out", "Connection refused", "Connection aborted", "Max retries exceeded")
_NOT_LET_IN = ("error code 401", "error code 403", "PERMISSION_DENIED", "UNAUTHENTICATED")


def problem_text(error: BaseException, target: Target) -> str:
    """One line."""
    text = target.without_secrets(" ".join(str(error).split()))
    if isinstance(error, HyperoptError):
        return text
    if any(sign in text for sign in _NOT_LET_IN):
        return "the server does not let us in; set MLFLOW_TRACKING_USERNAME and …_PASSWORD, or MLFLOW_TRACKING_TOKEN"
    if target.served and (found := re.search(r"too many (\d+) error responses|error code (5\d\d)", text)):
        return f"the server answers with error {found[1] or found[2]}; its log says why"
    if target.served and any(sign in text for sign in _SILENT):
        return "the server does not answer"
    return f"{'the server' if target.served else 'the database'} says {type(error).__name__}: {printable(text, 300)}"
