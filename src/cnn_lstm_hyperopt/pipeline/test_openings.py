"""Record of all evaluations on the test set. Only :func:`.evaluate_once` reads the test set."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cnn_lstm_hyperopt.config.schema.retrain import EnsembleMethod
from cnn_lstm_hyperopt.pipeline.retraining import Retrained
from cnn_lstm_hyperopt.search import StudyStorage

MEAN_OF_SEEDS = "mean of the seeds"
"""Rule that defines the tested model of each finalist, recorded before the evaluation.

Earlier versions tested the network of the seed that was best on validation.
"""


def record_opening(
    storage: StudyStorage, retrained: Sequence[Retrained], *, periods: int = 1, ensemble: EnsembleMethod = "equal"
) -> int:
    """Record an evaluation on the test set before it begins. Return the number of evaluations in the study so far.

    A walk-forward test of ``periods`` periods is one evaluation. If a resumed run evaluates the same models again on the same
    periods, the number stays the same, because no model was selected by the earlier result. An ensemble by another method
    is another model.
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
    same = itertools.takewhile(
        lambda each: (each.get("models"), each.get("periods", 1)) == (models, periods), reversed(openings)
    )
    methods = {each.get("ensemble", "equal") for each in same}
    if not methods or ensemble not in {*methods, "none"}:
        openings.append(
            {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "trials": [each.finalist.trial_number for each in retrained],
                "models": models,
                **({"periods": periods} if periods > 1 else {}),
                **({"ensemble": ensemble} if ensemble != "equal" else {}),
            }
        )
        storage.set_attribute("test_openings", openings)
        storage.back_up()  # the backup must also contain this evaluation
    return len(openings)
