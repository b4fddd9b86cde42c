"""What a sampler is told of finished trials: one function, since it matters more than which trials are pruned."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.search.gate import SkillGate
from cnn_lstm_hyperopt.search.trial import State, TrialRecord, selected


class Told(NamedTuple):
    """A finished trial for a sampler: its parameters and losses (−accuracy, ln seconds, ln MB), all minimised."""

    number: int
    params: Params
    losses: tuple[float, float, float]


def told(records: Iterable[TrialRecord], gate: SkillGate) -> list[Told]:
    """COMPLETE trials with their values; PRUNED ones with the accuracy they had, and the seconds they were heading for.

    Left out, pruned trials would be proposed again and again; told as Optuna tells them (no values), its TPE takes them for the
    best it has. A trial that was ended before its first validation (by a limit), or whose loss diverged, is told as one at
    chance; a diverged one with the most seconds of all, since what it would have taken is not known.
    """
    rows: list[Told] = []
    diverged: list[TrialRecord] = []
    for record in records:
        if record.state is State.COMPLETE and record.values is not None:
            accuracy, seconds, size_mb = record.values
        elif record.state is State.PRUNED:
            point = selected(record.curve, math.inf)
            accuracy = point.accuracy if point else gate.chance
            seconds = record.projected_seconds or record.seconds
            size_mb = record.size_mb
        elif record.state is State.FAIL and record.attributes.get("diverged"):
            diverged.append(record)
            continue
        else:
            continue
        rows.append(Told(record.number, record.params, losses(accuracy, seconds, size_mb)))
    for record in diverged:  # by earlier trials alone, so that a trial is told alike however many follow
        slowest = max((row.losses[1] for row in rows if row.number < record.number), default=0.0)
        rows.append(Told(record.number, record.params, (-gate.chance, slowest, math.log(record.size_mb))))
    return sorted(rows, key=lambda row: row.number)


def losses(accuracy: float, seconds: float, size_mb: float) -> tuple[float, float, float]:
    """(−accuracy, ln seconds, ln MB); seconds below a millisecond count as one."""
    return -accuracy, math.log(max(seconds, 1e-3)), math.log(size_mb)
