"""Tracker that exports a study to Weights & Biases; offline, unless the user sets ``WANDB_MODE``."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.run_dir.paths import WANDB
from cnn_lstm_hyperopt.tracking.base import Tracker
from cnn_lstm_hyperopt.tracking.trackers.wandb.target import WandbTarget
from cnn_lstm_hyperopt.utils.text import shown

if TYPE_CHECKING:
    from cnn_lstm_hyperopt.tracking.exporter import StudyExporter

MODE_VARIABLE, PROJECT_VARIABLE = "WANDB_MODE", "WANDB_PROJECT"
"""Environment variables of Weights & Biases. Its other variables, such as ``WANDB_ENTITY``, apply as well."""
_MODES = ("offline", "online")
_PROJECT = "cnn-lstm-hyperopt"


class WeightsAndBiases(Tracker):
    """Weights & Biases: a run for each trial, each retrained model and the study, all in one group."""

    name, place = "wandb", 3
    label = "Weights & Biases"
    description = (
        "runs of Weights & Biases in wandb/ of save_dir, offline unless WANDB_MODE=online; needs the extra wandb"
    )
    package, extra = "wandb", "wandb"
    environment = {  # noqa: RUF012 - read without import by utils/registry.py
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_CONSOLE": "off",
    }

    @classmethod
    def target(cls, settings: Settings) -> WandbTarget:
        """Return the folder ``wandb`` in ``save_dir`` with the mode and the project of the environment.

        Raises:
            ConfigError: ``WANDB_MODE`` is neither offline nor online.
        """
        mode = os.environ.get(MODE_VARIABLE) or "offline"
        if mode not in _MODES:
            text = (
                f"the variable {MODE_VARIABLE} must be {' or '.join(_MODES)}, but is {shown(mode)}; change it, or leave wandb"
                " out of tracking.trackers"
            )
            raise ConfigError(text, field=MODE_VARIABLE, code="not-a-mode")
        return WandbTarget(
            str(settings.save_dir.absolute() / WANDB), mode, os.environ.get(PROJECT_VARIABLE) or _PROJECT
        )

    @classmethod
    def exporter(cls, save_dir: Path, target: Mapping[str, Any], status_file: Path) -> "StudyExporter":
        """Return the exporter to Weights & Biases."""
        from cnn_lstm_hyperopt.tracking.trackers.wandb.export import WandbExporter  # wandb takes seconds to import

        return WandbExporter(save_dir, WandbTarget(**target), status_file)
