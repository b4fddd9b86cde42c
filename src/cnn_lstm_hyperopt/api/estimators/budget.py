"""Time budgets, such as ``10m``."""

import math
import re
from typing import Any

from cnn_lstm_hyperopt.config.schema.base import MAX_SECONDS
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.utils.text import shown

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhd])", re.IGNORECASE)

SEARCH_SHARE = 0.7
"""Share of a budget after which no further trial is started. The rest of the budget is for the final training."""


def budget_seconds(budget: Any) -> float | None:
    """Return the seconds of a budget: a number of seconds, or text such as ``90s``, ``10m``, ``2h`` or ``1h30m``.

    Return None for None.

    Raises:
        ConfigError: the budget has another form, or is not between 1 second and 10^9 seconds.
    """
    if budget is None:
        return None
    seconds = math.nan
    if isinstance(budget, (int, float)) and not isinstance(budget, bool):
        seconds = float(budget)
    elif isinstance(budget, str) and budget.strip() and not _PART.sub("", budget).strip():
        seconds = sum(float(number) * _UNITS[unit.lower()] for number, unit in _PART.findall(budget))
    if not 1 <= seconds <= MAX_SECONDS:
        raise ConfigError(
            f"budget must be a time of at least 1 second, such as '90s', '10m', '1h30m' or a number of seconds, but got"
            f" {shown(budget)}",
            field="budget",
            code="not-a-budget",
        )
    return seconds
