"""Text about the selection of inputs, for the terminal and the report."""

from collections.abc import Mapping
from typing import Any

from cnn_lstm_hyperopt.evaluation import level_text
from cnn_lstm_hyperopt.metrics.proportions import CONFIDENCE
from cnn_lstm_hyperopt.models.inputs import OWN

MAX_NAMES = 12
"""Maximum number of groups that a sentence names."""


def group_title(entry: Mapping[str, Any]) -> str:
    """Return the name of a group for people: the name of its only input, or the name of the group."""
    if len(entry["inputs"]) == 1:
        return str(entry["inputs"][0])
    return str(entry["group"]).removeprefix(OWN)


def selection_lines(result: Mapping[str, Any]) -> list[str]:
    """Return sentences about a selection of inputs.

    Args:
        result: the entry ``feature_selection`` of ``results.json``.
    """
    optional = sorted((each for each in result["groups"] if each["optional"]), key=lambda each: -each["importance"])
    if not optional:
        return [f"No inputs were selected: {result['reason']}."]
    kept = [group_title(each) for each in optional if each["kept"]]
    others = [group_title(each) for each in optional if not each["kept"]]
    lines = [
        f"Inputs: {len(kept)} of {len(optional)} groups beat the best shadow input on validation"
        + (f": {_names(kept)}." if kept else ".")
    ]
    if others:
        lines.append(f"Not better than the best shadow: {_names(others)}.")
    losses = result["log_loss"]
    if losses is not None:
        lines.append(
            f"Log loss on validation: {losses['all']:.4f} with all inputs, {losses['recommended']:.4f} with the recommended ones"
            f" (difference {losses['difference']:+.4f}, {level_text(CONFIDENCE)} interval {losses['low']:+.4f} to"
            f" {losses['high']:+.4f})."
        )
    if result["reason"] is not None:
        lines.append(f"The recommendation is not applied: {result['reason']}.")
    return lines


def _names(names: list[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
