"""Replay of updates over past periods: what each policy would have done, measured on the same windows."""

import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.periods import period_starts
from cnn_lstm_hyperopt.data.problems import date_text
from cnn_lstm_hyperopt.data.splits import Integers
from cnn_lstm_hyperopt.data.window_table import WindowTable
from cnn_lstm_hyperopt.errors import ConfigError, DataError
from cnn_lstm_hyperopt.inference.metadata import Features
from cnn_lstm_hyperopt.inference.versions import Policy
from cnn_lstm_hyperopt.pipeline.updates.measurement import measure
from cnn_lstm_hyperopt.pipeline.updates.present import Present, load_present
from cnn_lstm_hyperopt.pipeline.updates.reading import ReadBars
from cnn_lstm_hyperopt.pipeline.updates.replay_results import PeriodResult, Replay, Replayed
from cnn_lstm_hyperopt.pipeline.updates.update import UpdateRun

COMPARED: tuple[Policy, ...] = ("none", "finetune", "refit")
"""Policies of a replay. The others are compared with the first."""

OnPeriod = Callable[[Policy, int, int], None]
"""Type of a function that is called before each period with the policy, the number of the period and the number of periods."""


def replay(
    folder: Path,
    read: ReadBars,
    *,
    walk_forward: int,
    refit: bool = False,
    features: Features | None = None,
    on_period: OnPeriod = lambda *_: None,
    on_news: Callable[[str], None] = lambda _: None,
) -> Replay:
    """Measure the tested model over past periods and, with ``refit``, replay updates of it. Nothing is written.

    The periods divide the windows from the start of the study's test set on, as in the walk-forward test of a study. The version
    that serves predicts a period. Then it is updated on the labels that are known at the start of the next period.

    Args:
        folder: folder of a retrained model in the directory of its study.
        read: function that reads the bars.
        walk_forward: number of periods, at least 1, or 2 with ``refit``.
        refit: True to replay all policies of updates; False to measure only the tested model.
        features: user's function that computes features, if the model needs it.
        on_period: function that is called before each period.
        on_news: function that receives a line of text before each training.

    Raises:
        ConfigError: the number of periods is too small.
        SaveDirError: the folder holds no model that can be updated.
        DataError: the bars are invalid, or too few for the periods.
    """
    require_periods(walk_forward, refit=refit)
    start = load_present(folder, features, tested=True)
    bars = read(start.symbols, start.model.description.feature_columns)
    table = replace(start, known_until=start.seen_until).table(bars)
    later = table.dates[table.dates >= start.seen_until]
    if not len(later):
        raise DataError(
            f"the bars end {date_text(table.dates.max())}, before the study's test set, which begins"
            f" {date_text(start.seen_until)}; give the bars of the study and all later ones",
            field="--data-dir",
            code="no-new-bars",
        )
    starts = period_starts(later, walk_forward, setting="--walk-forward", cure="or more bars")
    policies = COMPARED if refit else COMPARED[:1]
    return Replay(
        model=folder.absolute().name,
        symbols=len(start.symbols),
        tested_from=start.seen_until,
        tested_until=start.known_until,
        policies=tuple(_replayed(start, table, starts, each, on_period, on_news) for each in policies),
    )


def require_periods(walk_forward: int, *, refit: bool) -> None:
    """Check the number of periods.

    Raises:
        ConfigError: the number is too small.
    """
    least = 2 if refit else 1
    if walk_forward < least:
        text = f"--walk-forward must be at least {least}{' with --refit' * refit}, but got {walk_forward}"
        raise ConfigError(text, field="--walk-forward", code="too-few-periods")


def _replayed(
    start: Present,
    table: WindowTable,
    starts: Sequence[Any],
    policy: Policy,
    on_period: OnPeriod,
    on_news: Callable[[str], None],
) -> Replayed:
    """Return the results of one policy. All policies begin with the same version."""
    before = start.seen_until - np.timedelta64(1, "ns")
    present = replace(start, known_until=before, tried_until=before)
    results: list[PeriodResult] = []
    seconds = 0.0
    for number, (first, after) in enumerate(pairwise([*starts, None]), start=1):
        on_period(policy, number, len(starts))
        result = PeriodResult(present.history.current, measure(present.model, table, _decided(table, first, after)))
        if policy != "none" and after is not None:
            begun = time.perf_counter()
            present, event = _updated(present, _known(table, after), policy, on_news)
            seconds += time.perf_counter() - begun
            result = replace(result, update=event)
        results.append(result)
    return Replayed(policy, tuple(results), seconds)


def _updated(
    present: Present, known: WindowTable, policy: Policy, on_news: Callable[[str], None]
) -> tuple[Present, dict[str, Any] | None]:
    """Return the version that serves after an update, and the update's record; None if no new label is known."""
    newest = known.dates.max()
    if newest <= present.tried_until:
        return present, None
    event, created = UpdateRun(present, known, policy, on_news).run()
    history = replace(present.history, events=(*present.history.events, event))
    present = replace(present, history=history, known_until=newest, tried_until=newest)
    if created is None:
        return present, event
    model, version = created
    return (
        replace(
            present,
            model=model,
            history=replace(history, current=version.version, versions=(*history.versions, version)),
            seen_until=np.datetime64(version.seen_until, "ns"),
            rolling_dates=version.dates,
        ),
        event,
    )


def _decided(table: WindowTable, first: Any, after: Any | None) -> Integers:
    """Return the positions of the windows that are decided from ``first`` on and, unless it is None, before ``after``."""
    inside = table.dates >= first
    return np.flatnonzero(inside if after is None else inside & (table.dates < after))


def _known(table: WindowTable, at: Any) -> WindowTable:
    """Return the table with only the windows whose labels are known before the date ``at``. The rows stay the same."""
    kept: NDArray[np.bool_] = table.reach < at
    of_windows = {
        each.name: getattr(table, each.name)[kept]
        for each in fields(table)
        if each.name not in ("features", "market", "n_segments")
    }
    return replace(table, **of_windows)
