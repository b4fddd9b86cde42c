"""Which of the retrained models a user predicts with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.run_dir.paths import ENSEMBLE, ensemble_folder, model_folder


def model_to_use(save_dir: Path, results: Mapping[str, Any]) -> tuple[str, Path]:
    """Return the name and the folder of the model that the verdict is about, or of the ensemble if the verdict recommends it.

    A user who asked for a final refit gets the model that was refitted.

    Args:
        save_dir: results directory of a study with retrained models.
        results: content of ``results.json``.
    """
    if (results.get("verdict") or {}).get("recommended_model") == ENSEMBLE and not results.get("refit"):
        return "the ensemble", ensemble_folder(save_dir)
    rank = results["retrained_models"][0]["model_rank"]
    return f"model {rank}", model_folder(save_dir, rank)
