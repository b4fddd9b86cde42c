"""The record of when the test period was opened, and for which models; :func:`.evaluate_once` alone opens it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cnn_lstm_hyperopt.pipeline.retraining import Retrained
from cnn_lstm_hyperopt.search import StudyStorage


def record_opening(storage: StudyStorage, retrained: Sequence[Retrained]) -> int:
    """Stores, before the test period is opened, that it will be; returns how often that has happened in this study.

    A run that continues one that was killed before it wrote its results opens it for the very same models. That is the
    same opening: no model was selected by its result.
    """
    models = [
        {
            "trial_number": each.finalist.trial_number,
            "seeds": [run.seed for run in each.runs],
            "epochs": [run.epochs for run in each.runs],
        }
        for each in retrained
    ]
    openings: list[dict[str, Any]] = storage.attribute("test_openings") or []
    if not openings or openings[-1].get("models") != models:
        openings.append(
            {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "trials": [each.finalist.trial_number for each in retrained],
                "models": models,
            }
        )
        storage.set_attribute("test_openings", openings)
        storage.back_up()  # a copy that somebody goes back to must know of it, too
    return len(openings)
