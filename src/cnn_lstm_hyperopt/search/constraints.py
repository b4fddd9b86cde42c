"""Upper bounds on measured results of trials, such as the latency. A complete trial that breaks a bound is infeasible."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cnn_lstm_hyperopt.search.trial import CONSTRAINTS, TrialRecord


def constraint_attribute(values: Mapping[str, float], bounds: Mapping[str, float]) -> dict[str, Any]:
    """Return the attribute that stores a complete trial's measured values with their bounds; empty without bounds.

    Raises:
        ValueError: a value is missing or not finite.
    """
    for name in bounds:
        value = values.get(name)
        if value is None or not math.isfinite(value):
            raise ValueError(f"the constraint {name} needs a finite value, but got {value}")
    stored = {name: {"value": float(values[name]), "bound": float(bound)} for name, bound in bounds.items()}
    return {CONSTRAINTS: stored} if stored else {}


def relative_excess(value: float, bound: float) -> float:
    """Return by how much a value exceeds its bound, as a share of the bound; absolute for the bound 0. Below 0: it does not."""
    return (value - bound) / (abs(bound) or 1.0)


def nearest_infeasible(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """Return the complete trial whose largest relative excess over a bound is smallest; None if a complete trial is feasible."""
    complete = [record for record in records if record.values is not None]
    if not complete or any(record.feasible for record in complete):
        return None
    return min(complete, key=lambda record: (max(_excesses(record)), record.number))


def violation_text(record: TrialRecord) -> str:
    """Return the bounds that a trial breaks as text: ``latency_ms 6.2 (bound 5, 24% above)``; empty for a feasible trial."""
    return ", ".join(
        f"{name} {value:.4g} (bound {bound:.4g}" + (f", {relative_excess(value, bound):.0%} above)" if bound else ")")
        for name, (value, bound) in record.constraints.items()
        if value > bound
    )


def no_feasible_text(records: Sequence[TrialRecord]) -> str | None:
    """Return a sentence that names the complete trial nearest to its bounds; None unless all complete trials are infeasible."""
    nearest = nearest_infeasible(records)
    if nearest is None:
        return None
    count = sum(record.values is not None for record in records)
    return (
        f"none of {count} complete trials keeps all constraints; the nearest is trial {nearest.number}:"
        f" {violation_text(nearest)}"
    )


def _excesses(record: TrialRecord) -> list[float]:
    return [relative_excess(value, bound) for value, bound in record.constraints.values()]
