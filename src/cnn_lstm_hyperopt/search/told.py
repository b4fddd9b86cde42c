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
    best it has. A trial that was ended before its first validation (by a limit) is told as one at chance.
    """
    rows = []
    for record in records:
        if record.state is State.COMPLETE and record.values is not None:
            accuracy, seconds, size_mb = record.values
        elif record.state is State.PRUNED:
            point = selected(record.curve, math.inf)
            accuracy = point.accuracy if point else gate.chance
            seconds = record.projected_seconds or record.seconds
            size_mb = record.size_mb
        else:
            continue
        rows.append(Told(record.number, record.params, losses(accuracy, seconds, size_mb)))
    return rows


def losses(accuracy: float, seconds: float, size_mb: float) -> tuple[float, float, float]:
    """(−accuracy, ln seconds, ln MB); seconds below a millisecond count as one."""
    return -accuracy, math.log(max(seconds, 1e-3)), math.log(size_mb)
