"""The MLflow server or database to which a study is exported, and its description in messages without secrets."""

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import sqlalchemy

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.config.schema.tracking import tracking_uri
from cnn_lstm_hyperopt.errors import ConfigError, HyperoptError
from cnn_lstm_hyperopt.run_dir.paths import MLFLOW_ARTIFACTS, MLFLOW_FILE
from cnn_lstm_hyperopt.tracking.target import Target
from cnn_lstm_hyperopt.utils.secrets import MASK, masked
from cnn_lstm_hyperopt.utils.text import printable

URI_VARIABLE = "MLFLOW_TRACKING_URI"
"""MLflow's own environment variable for the URI. The variable is used if the settings have no URI."""
_SECRET_VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_SERVERS = ("http://", "https://", "databricks")
_REASONS = {
    r"error code 40[13]|PERMISSION_DENIED|UNAUTHENTICATED": "does not let us in; set MLFLOW_TRACKING_USERNAME and …_PASSWORD,"
    " or MLFLOW_TRACKING_TOKEN",
    r"too many (\d+) error responses|error code (5\d\d)": "answers with error {}; its log says why",
    r"failed with exception|timed out|Connection refused|Connection aborted|Max retries exceeded": "does not answer",
}
"""Explanations of server errors. Each key is a pattern that the text of the error matches."""


@dataclass(frozen=True)
class MlflowTarget(Target):
    """MLflow server or database and experiment that store the runs of a study.

    Attributes:
        uri: URI of the server or database, with its password.
        experiment: name of the MLflow experiment.
        register_as: name of the registered model; None: no model is registered.
        artifacts: URI of the directory for artifacts if the experiment is new; None: the server chooses the directory.
    """

    uri: str
    experiment: str
    register_as: str | None
    artifacts: str | None

    @property
    def shown(self) -> str:
        """URI of the server or database without its password."""
        return masked(self.uri)

    @property
    def inside(self) -> str:
        """Text that names the experiment."""
        return f" in its experiment {self.experiment}"

    def how_to_look(self, experiment_id: str) -> str:
        """Return the command and the address of the page that show the runs. MLflow 3's start page does not list runs."""
        page = f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning" if experiment_id else ""
        if self.uri.startswith("databricks"):  # pages of Databricks are not under the URI
            return self.shown
        if self.uri.startswith(_SERVERS):
            return f"{self.shown.rstrip('/')}{page}"
        return f"mlflow ui --backend-store-uri {shlex.quote(self.shown)}\nThen open http://127.0.0.1:5000{page}"

    def error_text(self, error: BaseException) -> str:
        """Return an error of MLflow as one line of text without secrets."""
        text, served = self.without_secrets(" ".join(str(error).split())), self.uri.startswith(_SERVERS)
        if isinstance(error, HyperoptError):
            return text
        for pattern, reason in _REASONS.items() if served else ():
            if (found := re.search(pattern, text)) is not None:
                return f"the server {reason.format(*filter(None, found.groups()))}"
        return f"{'the server' if served else 'the database'} says {type(error).__name__}: {printable(text, 300)}"

    def without_secrets(self, text: str) -> str:
        """Return the text with every password and token of the MLflow target masked."""
        password = (
            urlsplit(self.uri).password if self.uri.startswith(_SERVERS) else sqlalchemy.make_url(self.uri).password
        )
        for secret in (password, unquote(password or ""), *map(os.environ.get, _SECRET_VARIABLES)):
            text = text.replace(secret, MASK) if secret else text
        return masked(text)


def mlflow_target(settings: Settings, environment: Mapping[str, str] = os.environ) -> MlflowTarget:
    """Return the MLflow target of the export.

    Raises:
        ConfigError: the URI needs a password that is missing, or the URI in the environment variable can't be used.
    """
    uri, variable = settings.mlflow.tracking_uri, environment.get(URI_VARIABLE)
    if uri is not None and MASK in uri and not variable:
        text = (
            f"mlflow.tracking_uri is kept without its password ({masked(uri)}); give it in full with the variable"
            f" {URI_VARIABLE} or with --tracking-uri, or continue with --no-mlflow"
        )
        raise ConfigError(text, field="mlflow.tracking_uri", code="password-missing")
    if variable and (uri is None or MASK in uri):
        try:
            uri = tracking_uri(variable)
        except ValueError as error:
            text = (
                f"the variable {URI_VARIABLE} {error}; unset it, name another with --tracking-uri, or leave MLflow out with"
                " --no-mlflow"
            )
            raise ConfigError(text, field=URI_VARIABLE, code="not-a-tracking-uri") from error
    folder = settings.save_dir.absolute()
    if uri is None:  # URL.create escapes characters of the path that have a meaning in URLs, such as "?" and "%"
        uri = sqlalchemy.URL.create("sqlite", database=str(folder / MLFLOW_FILE)).render_as_string()
    elif uri.startswith("sqlite:///"):
        folder = Path(sqlalchemy.make_url(uri).database or "").parent
    artifacts = None if uri.startswith(_SERVERS) else (folder / MLFLOW_ARTIFACTS).as_uri()
    return MlflowTarget(uri, settings.mlflow.experiment, settings.mlflow.register_as, artifacts)
