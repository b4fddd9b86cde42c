"""Where a study is mirrored to, and what may be said of it."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import sqlalchemy

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.config.schema.tracking import tracking_uri
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.run_dir.paths import MLFLOW_ARTIFACTS, MLFLOW_FILE
from cnn_lstm_hyperopt.utils.secrets import MASK, masked

URI_VARIABLE = "MLFLOW_TRACKING_URI"
"""MLflow's own; it counts where no setting names a URI."""
_SECRET_VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
UI_ADDRESS = "http://127.0.0.1:5000"
"""Where ``mlflow ui`` serves its pages unless another port is asked for."""
RUNS_PAGE = "/#/experiments/{}/runs?workflowType=machine_learning"
"""Of an experiment, in MLflow 3; without the workflow type the page of language models comes up."""
_SERVERS = ("http://", "https://", "databricks")


@dataclass(frozen=True)
class Target:
    """A store of runs.

    Attributes:
        uri: of the server or database, with its password.
        experiment: the runs belong to.
        register_as: name of the registered model; None: none is registered.
        artifacts: URI of the directory for files, for a new experiment; None: the server's business.
    """

    uri: str
    experiment: str
    register_as: str | None
    artifacts: str | None

    @property
    def shown(self) -> str:
        """The URI without its password."""
        return masked(self.uri)

    @property
    def served(self) -> bool:
        """Whether a server keeps the runs, not a database that this process opens."""
        return self.uri.startswith(_SERVERS)

    def how_to_look(self, experiment_id: str) -> str:
        """Return the command and the page that show the runs.

        The first page of ``mlflow ui`` is about language models and lists no runs, so the page of the experiment is named.

        Args:
            experiment_id: of the experiment in the store; empty where it is not known.
        """
        if self.uri.startswith("databricks"):  # its pages are elsewhere than a server's
            return self.shown
        page = RUNS_PAGE.format(experiment_id) if experiment_id else ""
        if self.served:
            return f"{self.shown.rstrip('/')}{page}"
        return f"mlflow ui --backend-store-uri {shlex.quote(self.shown)}\nThen open {UI_ADDRESS}{page}"

    def without_secrets(self, text: str, environment: Mapping[str, str] | None = None) -> str:
        """The text with every password and token that gives access to the store hidden."""
        variables = os.environ if environment is None else environment
        written = urlsplit(self.uri).password if self.served else None
        meant = unquote(written or "") if self.served else sqlalchemy.make_url(self.uri).password
        secrets = [written, meant, *(variables.get(name) for name in _SECRET_VARIABLES)]
        for secret in secrets:
            if secret:
                text = text.replace(secret, MASK)
        return masked(text)


def tracking_target(settings: Settings, environment: Mapping[str, str] | None = None) -> Target | None:
    """Where the study is mirrored to; None: nowhere.

    Args:
        settings: of the run.
        environment: variables; None: those of the process.

    Raises:
        ConfigError: the URI's password is not known any more, or MLflow can't write to what the variable names.
    """
    asked = settings.mlflow
    if not asked.enabled:
        return None
    variable = (os.environ if environment is None else environment).get(URI_VARIABLE) or None
    uri = asked.tracking_uri
    if uri is not None and MASK in uri:
        if variable is None:
            raise ConfigError(
                f"mlflow.tracking_uri is kept without its password ({masked(uri)}); give it whole with the variable"
                f" {URI_VARIABLE} or with --tracking-uri, or go on with --no-mlflow"
            )
        uri = None
    if uri is None and variable is not None:
        try:
            uri = tracking_uri(variable)
        except ValueError as error:
            raise ConfigError(
                f"the variable {URI_VARIABLE} {error}; unset it, name another with --tracking-uri, or leave MLflow out with"
                " --no-mlflow"
            ) from error
    folder = settings.save_dir.absolute()
    if uri is None:  # built, not pasted: a "?" or a "%" in the path would mean something in a URL
        uri = sqlalchemy.URL.create("sqlite", database=str(folder / MLFLOW_FILE)).render_as_string()
    elif uri.startswith("sqlite:///"):
        folder = Path(sqlalchemy.make_url(uri).database or "").parent
    served = uri.startswith(_SERVERS)
    artifacts = None if served else (folder / MLFLOW_ARTIFACTS).as_uri()
    return Target(uri, asked.experiment, asked.register_as, artifacts)
