"""Versions of the format in which studies are stored, and the check of a study's fixed attributes."""

from collections.abc import Mapping
from typing import Any

from cnn_lstm_hyperopt.search.trial_seals import Seals

FORMAT = 6
"""Version of the format in which studies are stored."""
UNMARKED_FORMAT = 5
"""Earlier version of the format, whose studies can be resumed; trials in this format have no marks."""
FORMATS = (FORMAT, UNMARKED_FORMAT)
"""Versions of the format whose studies can be resumed, the newest first."""
MADE_WITH = (
    "made_with",
    "skill_gate",
    "speeds",
    "train_share",
    "passes",
    "starts",
    "begun_with",
    "enqueue",
    "power",
    "proposal_seconds",
)
"""Names of the study attributes that never change after the study is created."""


class DamagedError(Exception):
    """Error: the content of a study's file differs from the content that this program wrote."""


def require_unchanged(seals: Seals, attributes: Mapping[str, Any], seal: Any) -> None:
    """Raise DamagedError if the study's fixed attributes were changed.

    Args:
        seals: seals with the key of the study.
        attributes: user attributes of the study.
        seal: stored seal of the fixed attributes; None if an earlier version created the study.
    """
    if seals.keyed != (attributes.get("format") != UNMARKED_FORMAT):
        raise DamagedError("its seal key is missing")
    if seal is not None and seal != seals.of_study(attributes, MADE_WITH):
        raise DamagedError("its fixed attributes were changed")
    total = attributes.get("n_trials")
    if (total is not None or "begun_with" in attributes) and (type(total) is not int or total < 1):
        raise DamagedError("its attribute n_trials is not a positive integer")
