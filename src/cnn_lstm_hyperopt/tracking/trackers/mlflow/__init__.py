"""Tracker that exports a study to an MLflow server or database."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.tracking.base import Tracker
from cnn_lstm_hyperopt.tracking.trackers.mlflow.target import MlflowTarget, mlflow_target

if TYPE_CHECKING:
    from cnn_lstm_hyperopt.tracking.exporter import StudyExporter


class Mlflow(Tracker):
    """MLflow: a run for the study, for each trial and for each retrained model."""

    name, place = "mlflow", 1
    label, default = "MLflow", True
    description = "MLflow, as mlflow.enabled"
    package = "mlflow"
    environment = {  # noqa: RUF012 - read without import by utils/registry.py
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        # No retries by MLflow: a request without answer may have succeeded, so the export first checks the runs.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }

    @classmethod
    def chosen(cls, settings: Settings) -> bool:
        """Return ``mlflow.enabled``. The name in ``tracking.trackers`` changes nothing."""
        return settings.mlflow.enabled

    @classmethod
    def wait_limit(cls, settings: Settings) -> tuple[float, str]:
        """Return ``mlflow.wait_seconds``."""
        return settings.mlflow.wait_seconds, "mlflow.wait_seconds"

    @classmethod
    def target(cls, settings: Settings) -> MlflowTarget:
        """Return the MLflow server or database of ``mlflow.tracking_uri``."""
        return mlflow_target(settings)

    @classmethod
    def exporter(cls, save_dir: Path, target: Mapping[str, Any], status_file: Path) -> "StudyExporter":
        """Return the exporter to MLflow."""
        from cnn_lstm_hyperopt.tracking.trackers.mlflow.export import MlflowExporter  # MLflow takes seconds to import

        return MlflowExporter(save_dir, MlflowTarget(**target), status_file)
