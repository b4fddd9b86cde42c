"""The sections ``mlflow`` and ``tracking``, and the check of MLflow's URI."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from cnn_lstm_hyperopt.config.schema.base import Names, Section, SettingError, legible_name
from cnn_lstm_hyperopt.utils.registry import declared, described
from cnn_lstm_hyperopt.utils.secrets import masked
from cnn_lstm_hyperopt.utils.text import JOINERS, is_legible, shown

TRACKERS = declared("tracking/trackers")
"""Properties of each tracker, by name."""
if TYPE_CHECKING:
    TrackerName = str
else:
    TrackerName = Literal[tuple(TRACKERS)]

_SCHEMES = r"https?://[^/?#]+|sqlite:///.+|(postgresql|mysql|mssql)(\+\w+)?://.+|databricks(-uc)?(://.*)?$"
_WINDOWS_DRIVE = r"[A-Za-z]:[/\\]"


def tracking_uri(value: str) -> str:
    """Return MLflow's URI; the path of a SQLite file becomes absolute, because a run may be resumed in another directory.

    A URI of a folder with plain files is refused, because this version of MLflow can't write into such a folder.

    Raises:
        SettingError: MLflow cannot write runs to this URI; the text contains no password.
    """
    if not is_legible(value) or value != value.strip() or re.match(_SCHEMES, value) is None:
        raise SettingError(
            "must be the URI of an MLflow server or database (http://HOST:5000, https://…, sqlite:///FILE, postgresql://…,"
            f" mysql://…, mssql://…, databricks), but got {shown(masked(value))}",
            "not-a-tracking-uri",
        )
    if not value.startswith("sqlite:///"):
        return value
    place = value.removeprefix("sqlite:///")
    if place.startswith(":memory:"):
        raise SettingError(
            f"must be a file, because a database in memory is lost when the run ends, but got {shown(value)}",
            "database-in-memory",
        )
    if place.startswith("/") or re.match(_WINDOWS_DRIVE, place):
        return value
    return f"sqlite:///{Path(place).absolute()}"


class MlflowSettings(Section):
    """Copy of the study in MLflow, which is written while the study runs."""

    enabled: bool = Field(
        True, description="copy the study to MLflow: one run for the study, for each trial and for each retrained model"
    )
    tracking_uri: str | None = Field(
        None,
        description="URI of an MLflow server (http://HOST:5000) or database (sqlite:///…, postgresql://…); null: the "
        "environment variable MLFLOW_TRACKING_URI, or else mlflow.db in save_dir",
    )
    experiment: str = Field(
        "CNN_LSTM_Hyperopt_Task_5_5", min_length=1, max_length=200, description="name of the MLflow experiment"
    )
    register_as: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="name under which the best retrained model is registered in MLflow; null: not registered",
    )
    wait_seconds: float = Field(
        120.0,
        ge=0,
        le=86_400,
        description="maximum time in seconds that the end of a run waits for MLflow. The command track can write the rest "
        "later",
    )

    @field_validator("tracking_uri")
    @classmethod
    def _of_a_store(cls, value: str | None) -> str | None:
        return None if value is None else tracking_uri(value)

    @field_validator("experiment", "register_as")
    @classmethod
    def _legible(cls, value: str | None) -> str | None:
        if value is not None and ({"/", ":"} & set(value) or JOINERS & set(value)):
            raise SettingError(f"must be a name without / and :, but got {shown(value)}", "not-an-mlflow-name")
        return None if value is None else legible_name(value)


class TrackingSettings(Section):
    """Copies of the study in further trackers, which are written while the study runs."""

    trackers: Annotated[tuple[TrackerName, ...], Names] = Field(
        (), description=f"trackers that get a copy of the study, beside MLflow (mlflow.enabled): {described(TRACKERS)}"
    )
    wait_seconds: float = Field(
        30.0,
        ge=0,
        le=86_400,
        description="maximum time in seconds that the end of a run waits for each of these trackers. The command track can"
        " write the rest later",
    )
