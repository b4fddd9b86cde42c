"""Tracker that writes a study as TensorBoard event files."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.run_dir.paths import TENSORBOARD
from cnn_lstm_hyperopt.tracking.base import Tracker
from cnn_lstm_hyperopt.tracking.trackers.tensorboard.target import TensorBoardTarget

if TYPE_CHECKING:
    from cnn_lstm_hyperopt.tracking.exporter import StudyExporter


class TensorBoard(Tracker):
    """TensorBoard: scalars by epoch and hyperparameters of each trial, and scalars of the study and of retrained models."""

    name, place = "tensorboard", 2
    label = "TensorBoard"
    description = "event files in tensorboard/ of save_dir; needs the extra tensorboard"
    package, extra = "tensorboard", "tensorboard"

    @classmethod
    def target(cls, settings: Settings) -> TensorBoardTarget:
        """Return the folder ``tensorboard`` in ``save_dir``."""
        return TensorBoardTarget(str(settings.save_dir.absolute() / TENSORBOARD))

    @classmethod
    def exporter(cls, save_dir: Path, target: Mapping[str, Any], status_file: Path) -> "StudyExporter":
        """Return the exporter to event files."""
        from cnn_lstm_hyperopt.tracking.trackers.tensorboard.export import EventFileExporter

        return EventFileExporter(save_dir, TensorBoardTarget(**target), status_file)
