"""The command ``track``, which exports a study to MLflow."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from cnn_lstm_hyperopt.cli.application import app
from cnn_lstm_hyperopt.cli.options import Debug, SaveDir, Storage, TrackingUri, config_of, directory, settings_of


@app.command
def track(
    *,
    save_dir: SaveDir = Path("hyperopt_results"),
    storage: Storage = None,
    tracking_uri: TrackingUri = None,
    register: Annotated[
        str | None, Parameter(help="Register the best retrained model with MLflow under this name.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Write the parts of a study to MLflow that MLflow does not have. Existing entries in MLflow stay unchanged.

    Example: track --save-dir hyperopt_results --tracking-uri http://127.0.0.1:5000
    """
    save_dir = directory(save_dir, storage)
    path = config_of(save_dir, "no study to write to MLflow")
    asked: dict[str, Any] = {"enabled": True}
    if tracking_uri is not None:
        asked["tracking_uri"] = tracking_uri
    if register is not None:
        asked["register_as"] = register
    settings = settings_of(path, {"save_dir": save_dir, "mlflow": asked})
    from cnn_lstm_hyperopt.tracking.process import track_once

    track_once(settings)
