"""The tables in which Optuna stores trials, and conversions between rows and values.

``optuna.storages._rdb.models`` is not part of Optuna's public interface. The package requires Optuna 5, and a test compares these
tables with those of the installed Optuna.
"""

import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages._rdb import models

TRIALS: sqlalchemy.Table = models.TrialModel.__table__
PARAMS: sqlalchemy.Table = models.TrialParamModel.__table__
VALUES: sqlalchemy.Table = models.TrialValueModel.__table__
USER_ATTRIBUTES: sqlalchemy.Table = models.TrialUserAttributeModel.__table__
SYSTEM_ATTRIBUTES: sqlalchemy.Table = models.TrialSystemAttributeModel.__table__
REPORTS: sqlalchemy.Table = models.TrialIntermediateValueModel.__table__
HEARTBEATS: sqlalchemy.Table = models.TrialHeartbeatModel.__table__
STUDIES: sqlalchemy.Table = models.StudyModel.__table__
DIRECTIONS: sqlalchemy.Table = models.StudyDirectionModel.__table__
STUDY_USER_ATTRIBUTES: sqlalchemy.Table = models.StudyUserAttributeModel.__table__
STUDY_SYSTEM_ATTRIBUTES: sqlalchemy.Table = models.StudySystemAttributeModel.__table__

_VALUE = models.TrialValueModel.TrialValueType
_REPORT = models.TrialIntermediateValueModel.TrialIntermediateValueType
_INFINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}


def value_row(trial_id: int, objective: int, value: float) -> dict[str, Any]:
    """Return the row of an objective value; SQL has no portable infinity, so the sign of an infinite value is its type.

    Raises:
        ValueError: the value is NaN, which Optuna's tables can't store.
    """
    if math.isnan(value):
        raise ValueError(f"objective {objective} is NaN")
    kind = _VALUE.FINITE if math.isfinite(value) else _VALUE.INF_POS if value > 0 else _VALUE.INF_NEG
    return {
        "trial_id": trial_id,
        "objective": objective,
        "value": value if kind is _VALUE.FINITE else None,
        "value_type": kind,
    }


def number_in(stored: float | None, kind: Any) -> float:
    """Return an objective value or a report from its row.

    Raises:
        ValueError: a finite value is missing in the row.
    """
    if kind in (_VALUE.FINITE, _REPORT.FINITE):
        if stored is None:
            raise ValueError("a finite value is missing")
        return stored
    return _INFINITE[kind.name]


def local_time(stored: datetime | None) -> datetime | None:
    """Return a stored time, which is in UTC, as local time without a time zone, as Optuna does."""
    return None if stored is None else stored.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def stored_now() -> datetime:
    """Return the current time as it is stored: UTC without a time zone."""
    return datetime.now(UTC).replace(tzinfo=None)


@lru_cache(maxsize=10_000)
def distribution_in(text: str) -> BaseDistribution:
    """Return the distribution of a parameter from its JSON text; the trials of a study share a few texts."""
    return json_to_distribution(text)


def text_of(distribution: BaseDistribution) -> str:
    """Return the JSON text in which Optuna stores a distribution."""
    return distribution_to_json(distribution)
