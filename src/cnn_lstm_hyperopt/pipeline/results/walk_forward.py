"""The part of ``results.json`` about the periods of a walk-forward test."""

from dataclasses import asdict
from typing import Any

from cnn_lstm_hyperopt.data.problems import date_text
from cnn_lstm_hyperopt.metrics import if_defined
from cnn_lstm_hyperopt.pipeline.periods import PeriodScores
from cnn_lstm_hyperopt.pipeline.test_evaluation import Verdict


def walk_forward_results(verdict: Verdict) -> list[dict[str, Any]]:
    """Return an entry of ``results.json`` for each period of the test set. The list is empty if the test set is one period.

    All periods have the same best baseline, which is the best on the whole test set, as in the verdict.
    """

    def scores(period: PeriodScores, name: str) -> dict[str, float | None]:
        found = {"log_loss": period.log_loss[name], "accuracy": period.accuracy[name]}
        return {metric: if_defined(value) for metric, value in found.items()}

    best = verdict.judgement.best_baseline
    return [
        {
            "period": each.number,
            "first": date_text(each.first),
            "last": date_text(each.last),
            "windows": each.windows,
            "train_windows": each.train_windows,
            "validation_windows": each.validation_windows,
            "finalists": [
                {"model_rank": int(result.name.split()[-1]), **scores(each, result.name)}
                for result in verdict.finalists
            ],
            "best_baseline": {"name": best, **scores(each, best)},
            "kept_models": [asdict(model) for model in each.kept],
        }
        for each in verdict.periods
    ]
