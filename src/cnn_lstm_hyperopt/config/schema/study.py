"""The section ``study``: its name, budget, seed and objectives."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from cnn_lstm_hyperopt.config.schema.artifacts_url import artifacts_url
from cnn_lstm_hyperopt.config.schema.base import (
    MAX_SECONDS,
    MAX_TRIALS,
    MIN_SECONDS,
    InputDirectory,
    InputPath,
    Section,
    SettingError,
    legible_name,
)
from cnn_lstm_hyperopt.config.schema.storage_url import storage_url
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.utils.text import JOINERS, shown

if TYPE_CHECKING:
    MetricName = str
else:
    MetricName = Literal[tuple(METRICS)]

_DIRECTIONS = ("maximize", "minimize", "minimize")


class StudySettings(Section):
    """The study: its name, budget and seed."""

    name: str = Field(
        "cnn_lstm_optimization", min_length=1, max_length=200, description="name of the study in its database"
    )
    storage: str | None = Field(
        None,
        description="database of the study on a PostgreSQL server, postgresql+psycopg://USER@HOST:PORT/DATABASE, which "
        "several machines can share; null: study.db in save_dir. config.yaml stores the URL without its password: give it "
        "again in the URL, or use PGPASSWORD or ~/.pgpass",
    )
    artifacts: str | None = Field(
        None,
        description="folder for workers that do not see save_dir, file:///FOLDER or s3://BUCKET/FOLDER: the run puts its "
        "settings and data there, and all workers put their checkpoints there; needs storage. null: workers need save_dir",
    )
    n_trials: int = Field(
        1000, ge=1, le=MAX_TRIALS, description="total number of finished trials (completed or pruned) in the study"
    )
    timeout: float | None = Field(
        None,
        ge=MIN_SECONDS,
        le=MAX_SECONDS,
        description="time limit of the search in seconds, retraining not included; null: no limit",
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**32,
        description="seed of all randomness. The randomness of a trial follows from the seed, its number and its "
        "configuration; measured seconds still differ between runs",
    )
    metric: MetricName = Field(
        "accuracy",
        description="validation score to maximise; log_loss is negated, so that a higher score is better",
    )
    time_objective: Literal["auto", "measured", "estimated"] = Field(
        "auto",
        description="how training time is counted: measured (wall time), or estimated (by the cost model). With "
        "estimated, the same seed and one worker always give the same study. auto: estimated in a study on a cluster "
        "(ray_address) or on a database server (storage), whose workers may be on machines of different speed, otherwise "
        "measured; measured seconds are always stored",
    )
    portfolio: bool = Field(
        True,
        description="start with a few default configurations from the literature, adapted to the search space",
    )
    enqueue: InputPath = Field(
        None,
        description="configurations to try first: a YAML or JSON file with a list of them, a results.json, or the "
        "directory of an earlier study, whose Pareto front is used",
    )
    library: InputDirectory = Field(
        None,
        description="folder of a study library: a new study first tries a few configurations that were good in the most "
        "similar studies of the library, instead of the portfolio, and its results are added to the library at the end of "
        "the search",
    )
    directions: tuple[str, ...] = Field(
        _DIRECTIONS, description="optimisation directions of the metric, the seconds and the MB; they cannot be changed"
    )

    @field_validator("name")
    @classmethod
    def _no_path(cls, value: str) -> str:
        if "/" in value or "\\" in value or value in (".", ".."):
            raise SettingError(f"must be a name, not a path (no / and no \\), but got {shown(value)}", "name-is-path")
        if JOINERS & set(value):
            raise SettingError(f"must be text without control characters, but got {shown(value)}", "name-not-printable")
        return legible_name(value)

    @field_validator("storage")
    @classmethod
    def _of_a_server(cls, value: str | None) -> str | None:
        return None if value is None else storage_url(value)

    @field_validator("artifacts")
    @classmethod
    def _of_a_folder(cls, value: str | None) -> str | None:
        return None if value is None else artifacts_url(value)

    @field_validator("directions")
    @classmethod
    def _only_these(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value != _DIRECTIONS:
            raise SettingError(f"must be {list(_DIRECTIONS)} (the metric, seconds, MB)", "directions")
        return value
