"""Reading of ``results.json``, with a check of the values that other code reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.utils.reading import parse_json


def read_results(path: Path) -> dict[str, Any] | None:
    """Return the content of ``results.json``, or None if the file is missing.

    Raises:
        ValueError: the file is damaged or has another format.
    """
    if not path.is_file():
        return None
    results = parse_json(path.read_text(encoding="utf-8"))
    if not isinstance(results, dict):
        raise ValueError(f"it holds a {type(results).__name__}")
    for key, fits in _SHAPES.items():
        if key in results and not fits(results[key]):
            raise ValueError(f"{key} is not what this version writes")
    return results


def _is_entry(entry: Any, *integers: str) -> bool:
    return isinstance(entry, dict) and all(type(entry.get(name)) is int for name in integers)


def _is_retrained(models: Any) -> bool:
    return isinstance(models, list) and all(
        _is_entry(model, "model_rank") and isinstance(model.get("config_params"), dict) for model in models
    )


def _is_verdict(verdict: Any) -> bool:
    if verdict is None:
        return True
    if not isinstance(verdict, dict) or not isinstance(verdict.get("sentence"), str):
        return False
    steps = verdict.get("shrinkage")
    return steps is None or (isinstance(steps, dict) and "test_score" in steps)


def _is_confirmation(confirmation: Any) -> bool:
    if confirmation is None:
        return True
    candidates = confirmation.get("candidates") if isinstance(confirmation, dict) else None
    return isinstance(candidates, list) and all(
        _is_entry(each, "trial_number") and "rank" in each for each in candidates
    )


def _is_failures(failures: Any) -> bool:
    return isinstance(failures, list) and all(_is_entry(each, "model_rank") for each in failures)


def _is_failure(failure: Any) -> bool:
    return failure is None or (
        isinstance(failure, dict)
        and isinstance(reasons := failure.get("seed_failures"), list)
        and all(isinstance(reason, str) for reason in reasons)
    )


_SHAPES: dict[str, Callable[[Any], bool]] = {
    "n_trials_completed": lambda count: type(count) is int,
    "retrained_models": _is_retrained,
    "retraining_failures": _is_failures,
    "refit_failure": _is_failure,
    "verdict": _is_verdict,
    "confirmation": _is_confirmation,
}
"""Functions that check the values that a resumed run reads from ``results.json``, by key."""
