"""Results of a replay of updates: the scores of each policy, their differences, a table and values for strict JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from cnn_lstm_hyperopt.data.problems import date_text
from cnn_lstm_hyperopt.evaluation.bootstrap import mean_interval
from cnn_lstm_hyperopt.inference.versions import Policy
from cnn_lstm_hyperopt.pipeline.updates.measurement import Measured
from cnn_lstm_hyperopt.utils.text import counted

EVALUATION_FORMAT = 1
"""Format number of the JSON that the command ``evaluate`` writes."""


@dataclass(frozen=True, eq=False)
class PeriodResult:
    """Result of a policy in one period.

    Attributes:
        version: number of the version that predicted the period.
        measured: result of this version on the windows of the period.
        update: record of the update after the period; None: there was no update.
    """

    version: int
    measured: Measured
    update: Mapping[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Replayed:
    """Result of one policy.

    Attributes:
        policy: how candidates were trained.
        periods: result of each period.
        seconds: seconds that the updates took.
    """

    policy: Policy
    periods: tuple[PeriodResult, ...]
    seconds: float

    @property
    def accepted(self) -> int:
        """Number of accepted versions."""
        return sum(each.update is not None and each.update["version"] is not None for each in self.periods)

    @property
    def whole(self) -> Measured:
        """Results on the windows of all periods."""
        return Measured(
            **{
                each.name: np.concatenate([getattr(period.measured, each.name) for period in self.periods])
                for each in fields(Measured)
            }
        )


@dataclass(frozen=True, eq=False)
class Replay:
    """Result of an evaluation over past periods.

    Attributes:
        model: name of the model's folder.
        symbols: number of symbols.
        tested_from: first date of the study's test set, with which the first period begins. The search used earlier windows only.
        tested_until: last date of the study's test set.
        policies: result of each policy, on the same windows. The first policy makes no updates.
    """

    model: str
    symbols: int
    tested_from: np.datetime64
    tested_until: np.datetime64
    policies: tuple[Replayed, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the results as values for strict JSON. An interval is None if there are too few dates."""
        whole = self.policies[0].whole
        return {
            "format": EVALUATION_FORMAT,
            "command": "evaluate",
            "model": self.model,
            "walk_forward": len(self.policies[0].periods),
            "symbols": self.symbols,
            "windows": len(whole.dates),
            "first": date_text(whole.dates.min()),
            "last": date_text(whole.dates.max()),
            "test_set": {
                "first": date_text(self.tested_from),
                "last": date_text(self.tested_until),
                "periods": self._periods_in_test_set,
            },
            "policies": [self._policy(each) for each in self.policies],
        }

    @property
    def _periods_in_test_set(self) -> int:
        return sum(bool(each.measured.dates.min() <= self.tested_until) for each in self.policies[0].periods)

    def _policy(self, replayed: Replayed) -> dict[str, Any]:
        whole = replayed.whole.as_dict()
        scores = ("accuracy", "accuracy_interval", "log_loss", "log_loss_interval")
        return {
            "policy": replayed.policy,
            **{name: whole[name] for name in scores},
            "difference_to_none": None if replayed is self.policies[0] else self._difference(replayed),
            "updates": sum(each.update is not None for each in replayed.periods),
            "accepted": replayed.accepted,
            "seconds": replayed.seconds,
            "periods": [_period(number, each) for number, each in enumerate(replayed.periods, start=1)],
        }

    def _difference(self, replayed: Replayed) -> dict[str, Any]:
        """Return the scores minus those without updates, on the same windows, with intervals of a block bootstrap by date."""
        ours, none = replayed.whole, self.policies[0].whole
        found: dict[str, Any] = {}
        for name, values in (("log_loss", ours.losses - none.losses), ("accuracy", ours.hits - none.hits)):
            interval = mean_interval(values, none.dates)
            found[name] = float(values.mean())
            found[f"{name}_interval"] = None if interval is None else list(interval)
        return found

    def __str__(self) -> str:
        """Return a table of the policies, the log loss of each period, and whether updates pay."""
        found = self.as_dict()
        none, *others = found["policies"]
        lines = [
            f"{found['windows']:,} windows of {counted(self.symbols, 'symbol')} in"
            f" {counted(found['walk_forward'], 'period')}, {found['first']} to {found['last']}",
            self._overlap(),
            "",
            f"{'policy':<9} {'log loss':>8} {'accuracy':>9}" + (_COMPARED_HEAD if others else ""),
        ]
        for each in found["policies"]:
            row = f"{each['policy']:<9} {each['log_loss']:>8.4f} {each['accuracy']:>9.4f}"
            lines.append(row + (_compared(each) if each is not none else ""))
        lines += ["", f"{'log loss by period':<26}" + "".join(f"{each['policy']:>10}" for each in found["policies"])]
        for rows in zip(*(each["periods"] for each in found["policies"]), strict=True):
            period = f"{rows[0]['first']} to {rows[0]['last']}"
            lines.append(f"{period:<26}" + "".join(f"{row['log_loss']:>10.4f}" for row in rows))
        return "\n".join([*lines, *([""] if others else []), *map(_verdict, others)])

    def _overlap(self) -> str:
        last = self._periods_in_test_set
        which = "period 1 overlaps" if last == 1 else f"periods 1 to {last} overlap"
        return (
            f"No period has windows that the search used (before {date_text(self.tested_from)}); {which} the study's test set"
            f" (until {date_text(self.tested_until)})."
        )


_COMPARED_HEAD = f"  {'log loss minus none (95 % interval)':<36} {'versions':>8} {'seconds':>8}"


def _compared(policy: Mapping[str, Any]) -> str:
    difference = policy["difference_to_none"]
    interval = difference["log_loss_interval"]
    between = "" if interval is None else f" ({interval[0]:+.4f} to {interval[1]:+.4f})"
    versions = f"{policy['accepted']} of {policy['updates']}"
    return f"  {difference['log_loss']:+.4f}{between:<29} {versions:>8} {policy['seconds']:>8.1f}"


def _verdict(policy: Mapping[str, Any]) -> str:
    """Return a sentence that says whether a policy pays."""
    name, interval = policy["policy"], policy["difference_to_none"]["log_loss_interval"]
    if interval is None:
        return f"{name}: too few dates to say whether updates pay."
    if interval[1] < 0:
        return f"{name} pays: its log loss is lower than without updates."
    if interval[0] > 0:
        return f"{name} costs: its log loss is higher than without updates."
    return f"{name}: no difference to a model without updates is shown."


def _period(number: int, result: PeriodResult) -> dict[str, Any]:
    measured, update = result.measured, result.update
    kept = ("decision", "reason", "version", "drift")
    return {
        "period": number,
        "first": date_text(measured.dates.min()),
        "last": date_text(measured.dates.max()),
        "windows": len(measured.dates),
        "version": result.version,
        "log_loss": measured.log_loss,
        "accuracy": float(measured.hits.mean()),
        "update": None if update is None else {name: update[name] for name in kept},
    }
