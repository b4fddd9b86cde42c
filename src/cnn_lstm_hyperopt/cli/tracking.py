"""The command ``track``, which exports a study to trackers."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from cnn_lstm_hyperopt.cli.application import app
from cnn_lstm_hyperopt.cli.options import Debug, SaveDir, Storage, TrackingUri, config_of, directory, settings_of
from cnn_lstm_hyperopt.config.schema.tracking import TrackerName


@app.command
def track(
    *,
    save_dir: SaveDir = Path("hyperopt_results"),
    storage: Storage = None,
    trackers: Annotated[
        tuple[TrackerName, ...] | None,
        Parameter(consume_multiple=True, negative="", help="Trackers to which the study is written. [default: mlflow]"),
    ] = None,
    tracking_uri: TrackingUri = None,
    register: Annotated[
        str | None, Parameter(help="Register the best retrained model with MLflow under this name.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Write the parts of a study to MLflow or other trackers that they do not have. Existing entries stay unchanged.

    Examples: track --save-dir hyperopt_results --tracking-uri http://127.0.0.1:5000;
    track --save-dir hyperopt_results --trackers tensorboard
    """
    chosen = trackers or ("mlflow",)
    save_dir = directory(save_dir, storage)
    path = config_of(save_dir, "no study to export")
    mlflow: dict[str, Any] = {"enabled": "mlflow" in chosen}
    if tracking_uri is not None:
        mlflow["tracking_uri"] = tracking_uri
    if register is not None:
        mlflow["register_as"] = register
    settings = settings_of(path, {"save_dir": save_dir, "mlflow": mlflow, "tracking": {"trackers": chosen}})
    from cnn_lstm_hyperopt.tracking import TRACKERS
    from cnn_lstm_hyperopt.tracking.process import track_once

    for name in dict.fromkeys(chosen):
        track_once(settings, TRACKERS[name])
