"""Record of all evaluations on the test set; only :func:`.evaluate_once` reads the test set."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cnn_lstm_hyperopt.pipeline.retraining import Retrained
from cnn_lstm_hyperopt.search import StudyStorage

MEAN_OF_SEEDS = "mean of the seeds"
"""Model of record of every finalist, registered before the evaluation. Earlier versions tested the best seed on validation."""


def record_opening(storage: StudyStorage, retrained: Sequence[Retrained]) -> int:
    """Record an evaluation on the test set before it begins; return the number of evaluations in this study so far.

    If a resumed run evaluates the same models again, the number stays: the earlier result selected no model.
    """
    models = [
        {
            "trial_number": each.finalist.trial_number,
            "seeds": [run.seed for run in each.runs],
            "epochs": [run.epochs for run in each.runs],
            "prediction": MEAN_OF_SEEDS,
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
        storage.back_up()  # the backup must contain this evaluation, too
    return len(openings)
