"""The calibration plot's bins, with how sure each of them is."""

from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import binomtest

ENOUGH_WINDOWS = 30
"""Windows of a bin below which its share is too uncertain to be connected with others: the interval spans 0.3 and more."""


def calibration_rows(bins: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the bins that have windows, with a 95 % interval of the share that was right.

    The interval is Wilson's, which stays within 0 to 1 (Wilson 1927); it takes windows as independent.

    Args:
        bins: rows with ``confidence``, ``right`` (shares) and ``n`` (windows), as in ``results.json``.
    """
    rows = []
    for each in bins:
        if not each["n"]:
            continue
        right = min(each["n"], round(each["right"] * each["n"]))
        interval = binomtest(right, each["n"]).proportion_ci(0.95, method="wilson")
        rows.append(
            {
                "confidence": round(each["confidence"], 4),
                "right": round(each["right"], 4),
                "n": each["n"],
                "low": round(min(interval.low, each["right"]), 4),
                "high": round(max(interval.high, each["right"]), 4),
                "enough": each["n"] >= ENOUGH_WINDOWS,
            }
        )
    return rows
