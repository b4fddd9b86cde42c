"""How MLflow is told to be quick and quiet, before it is imported."""

import logging
import os
import warnings

_VARIABLES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # Tried again here, after a look at what the server has: a request that was not answered may have been carried out.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "GIT_PYTHON_REFRESH": "quiet",
}
_ALWAYS = ("MLFLOW_DISABLE_TELEMETRY",)
_ARTIFACT_ROOT = "_MLFLOW_SERVER_ARTIFACT_ROOT"
"""Where a database's own experiments keep files; without it, MLflow makes a directory wherever the process happens to be."""


def prepare_mlflow(artifacts: str | None) -> None:
    """Sets MLflow's variables; those that the user has set stay, but for telemetry.

    Args:
        artifacts: URI of the directory for files; None: the server has its own.
    """
    for name, value in _VARIABLES.items():
        if name in _ALWAYS:
            os.environ[name] = value
        else:
            os.environ.setdefault(name, value)
    if artifacts is not None:
        os.environ.setdefault(_ARTIFACT_ROOT, artifacts)
    with warnings.catch_warnings():  # about Python's and pydantic's future, not about this study
        warnings.simplefilter("ignore")
        import mlflow.pytorch  # here, where the variables are set and nobody is warned
        import mlflow.store.db.utils

    mlflow.store.db.utils.MAX_RETRY_COUNT = 1  # of a database that is away; the next look tries again, and can be ended
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)


def forget_artifact_root() -> None:
    """Once a store is made: MLflow takes a process that has the variable for a server, which may do less."""
    os.environ.pop(_ARTIFACT_ROOT, None)
