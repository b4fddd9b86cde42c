"""The part of ``results.json`` about the ensemble."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.evaluation import Judgement
from cnn_lstm_hyperopt.pipeline.ensemble_selection import Blend
from cnn_lstm_hyperopt.pipeline.results.final_results import compared_results, model_metrics
from cnn_lstm_hyperopt.pipeline.test_evaluation import TestResult
from cnn_lstm_hyperopt.run_dir.paths import ensemble_folder
from cnn_lstm_hyperopt.utils.text import counted, seconds_text


def ensemble_results(blend: Blend, result: TestResult, judgement: Judgement | None, save_dir: Path) -> dict[str, Any]:
    """Return the entry of the ensemble for ``results.json``: members, validation scores and test metrics.

    Both validation scores are too high on average, because the same windows determined the epochs of the members and the
    weights.
    """
    return {
        "members": [
            {
                "model_rank": each.model_rank,
                "trial_number": each.trial_number,
                "seed": each.seed,
                "baseline": each.baseline,
                "weight": each.weight,
                "value_weight": each.value_weight,
            }
            for each in blend.ensemble.members
        ],
        "validation_score": blend.validation_score,
        "best_member_validation_score": blend.best_member_validation_score,
        "weighting": blend.weighting,
        "pooling": blend.ensemble.pooling,
        "selected_by": blend.selected_by,
        "selection_score": blend.selection_score,
        "best_member_selection_score": blend.best_member_selection_score,
        "test_metrics": model_metrics(result),
        "comparison": None if judgement is None else compared_results(judgement),
        "model_path": str(ensemble_folder(save_dir)),
    }


def ensemble_text(ensemble: Mapping[str, Any]) -> str:
    """Return the number of members, the seconds and the MB of an ensemble as text.

    Args:
        ensemble: entry ``ensemble`` of ``results.json``. An entry of an earlier version may lack seconds and MB.
    """
    seconds, size = ensemble.get("training_time"), ensemble.get("size_mb")
    parts = [counted(len(ensemble.get("members") or ()), "member")]
    if seconds is not None:
        parts.append(f"{seconds_text(seconds)} of training")
    if size is not None:
        parts.append(f"{size:.3g} MB")
    return ", ".join(parts)


def weights_text(ensemble: Mapping[str, Any]) -> str:
    """Return the weights of an ensemble as text, such as ``stacked weights: model 1 60%, logistic_regression 40%``.

    The weights of a model's seeds are added up; the largest comes first. The result is empty without members.

    Args:
        ensemble: entry ``ensemble`` of ``results.json``. Members of an earlier version may lack the key ``baseline``.
    """
    shares: Counter[str] = Counter()
    for each in ensemble.get("members") or ():
        shares[each.get("baseline") or f"model {each['model_rank']}"] += each["weight"]
    if not shares:
        return ""
    weights = ", ".join(f"{name} {share:.0%}" for name, share in shares.most_common())
    return f"{ensemble.get('weighting') or 'selected'} weights: {weights}"
