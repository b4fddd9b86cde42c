"""SELECT statements that read trials."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Select, Table, and_, bindparam, or_, select

from cnn_lstm_hyperopt.search.rows.base import Head
from cnn_lstm_hyperopt.search.rows.tables import (
    PARAMS,
    REPORTS,
    SYSTEM_ATTRIBUTES,
    TRIALS,
    USER_ATTRIBUTES,
    VALUES,
    distribution_in,
    local_time,
    number_in,
)

_MANY = 500
"""Number of trials above which a range of ids is read instead of a list of ids; databases limit the length of a list."""

_T = TRIALS.c
_HEAD = select(_T.trial_id, _T.number, _T.state, _T.datetime_start, _T.datetime_complete).order_by(_T.trial_id)
_OF_STUDY = _T.study_id == bindparam("study")
_IN_LIST = _T.trial_id.in_(bindparam("ids", expanding=True))
_NEW = _HEAD.where(_OF_STUDY, _T.trial_id > bindparam("after"))
# The study is not compared for listed trials, since SQLite would then read the whole index of the study.
_NEW_OR_LISTED = _HEAD.where(or_(and_(_OF_STUDY, _T.trial_id > bindparam("after")), _IN_LIST))
_LISTED = _HEAD.where(_OF_STUDY, _IN_LIST)
_RANGE = _HEAD.where(_OF_STUDY, _T.trial_id.between(bindparam("first"), bindparam("last")))
_IDS = select(_T.trial_id).where(_OF_STUDY).order_by(_T.trial_id)

Attributes = dict[int, dict[str, Any]]


def _parts(table: Table, *columns: str) -> tuple[Select[Any], Select[Any]]:
    """Return two statements that read a table in order of insertion: of listed trials, and of a range of trials."""
    read = select(table.c.trial_id, *(table.c[name] for name in columns)).order_by(*table.primary_key.columns)
    listed = read.where(table.c.trial_id.in_(bindparam("ids", expanding=True)))
    return listed, read.where(table.c.trial_id.between(bindparam("first"), bindparam("last")))


_PARAMS = _parts(PARAMS, "param_name", "param_value", "distribution_json")
_VALUES = _parts(VALUES, "objective", "value", "value_type")
_USER = _parts(USER_ATTRIBUTES, "key", "value_json")
_SYSTEM = _parts(SYSTEM_ATTRIBUTES, "key", "value_json")
_REPORTS = _parts(REPORTS, "step", "intermediate_value", "intermediate_value_type")


def heads(connection: Connection, study_id: int, after: int, ids: Collection[int]) -> list[Head]:
    """Return the heads of trials with an id above ``after`` or in ``ids``, in order of id."""
    if ids:
        found = connection.execute(_NEW_OR_LISTED, {"study": study_id, "after": after, "ids": list(ids)})
    else:
        found = connection.execute(_NEW, {"study": study_id, "after": after})
    return _heads(found)


def trial_ids(connection: Connection, study_id: int) -> list[int]:
    """Return the ids of all trials of a study in ascending order."""
    return list(connection.scalars(_IDS, {"study": study_id}))


def trials(connection: Connection, study_id: int, ids: Collection[int]) -> list[FrozenTrial]:
    """Return trials in order of id, without trials that do not exist. All statements must see the same state of the database.

    Raises:
        LookupError, TypeError, ValueError: a row has an impossible value.
    """
    if not ids:
        return []
    many = len(ids) > _MANY
    wanted: dict[str, Any] = {"first": min(ids), "last": max(ids)} if many else {"ids": list(ids)}
    found = _heads(connection.execute(_RANGE if many else _LISTED, {"study": study_id, **wanted}))
    read = [connection.execute(part[many], wanted).all() for part in (_PARAMS, _VALUES, _USER, _SYSTEM, _REPORTS)]
    params, values, user, system, reports = read
    searched, distributions = _searched(params)
    objectives, shown = _numbers(values), _numbers(reports)
    user_attributes, system_attributes = _attributes(user), _attributes(system)
    chosen = set(ids)
    return [
        FrozenTrial(
            number=head.number,
            state=head.state,
            value=None,
            values=[value for _, value in sorted(objectives[head.trial_id].items())] or None,
            datetime_start=head.started,
            datetime_complete=head.ended,
            params=searched[head.trial_id],
            distributions=distributions[head.trial_id],
            user_attrs=user_attributes[head.trial_id],
            system_attrs=system_attributes[head.trial_id],
            intermediate_values=shown[head.trial_id],
            trial_id=head.trial_id,
        )
        for head in found
        if head.trial_id in chosen
    ]


def _heads(rows: Iterable[Any]) -> list[Head]:
    return [
        Head(trial_id, number, state, local_time(started), local_time(ended))
        for trial_id, number, state, started, ended in rows
    ]


def _searched(rows: Iterable[Any]) -> tuple[Attributes, Attributes]:
    """Return parameters and distributions by trial and name."""
    searched: Attributes = defaultdict(dict)
    distributions: Attributes = defaultdict(dict)
    for trial_id, name, value, text in rows:
        distribution = distribution_in(text)
        distributions[trial_id][name] = distribution
        searched[trial_id][name] = distribution.to_external_repr(value)
    return searched, distributions


def _numbers(rows: Iterable[Any]) -> dict[int, dict[int, float]]:
    found: dict[int, dict[int, float]] = defaultdict(dict)
    for trial_id, place, value, kind in rows:
        found[trial_id][place] = number_in(value, kind)
    return found


def _attributes(rows: Sequence[Any]) -> Attributes:
    found: Attributes = defaultdict(dict)
    for (trial_id, key, _), value in zip(rows, _values_in([text for _, _, text in rows]), strict=True):
        found[trial_id][key] = value
    return found


def _values_in(texts: Sequence[str]) -> list[Any]:
    """Return the values of JSON texts. One long text is parsed several times faster than many short ones.

    A damaged text makes the long text invalid, or changes the number of values. Then each text is parsed alone, so that the
    damaged text raises an error.
    """
    try:
        values: list[Any] = json.loads(f"[{','.join(texts)}]")
    except (TypeError, ValueError):
        values = []
    return values if len(values) == len(texts) else [json.loads(text) for text in texts]
