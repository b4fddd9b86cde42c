"""The section ``study``: its name, budget, seed and objectives."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from cnn_lstm_hyperopt.config.schema.base import MAX_SECONDS, MAX_TRIALS, MIN_SECONDS, InputPath, Section, legible_name
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
        "cnn_lstm_optimization", min_length=1, max_length=200, description="name of the study in study.db"
    )
    n_trials: int = Field(
        1000, ge=1, le=MAX_TRIALS, description="finished trials (completed or pruned) that the study is to have"
    )
    timeout: float | None = Field(
        None,
        ge=MIN_SECONDS,
        le=MAX_SECONDS,
        description="seconds after which the search ends (retraining comes on top); null: no limit",
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**32,
        description="decides, with a trial's number and configuration, all of its randomness; measured seconds differ each time",
    )
    metric: MetricName = Field(
        "accuracy",
        description="what is maximised on validation; log_loss counts with its sign turned, so that more is better",
    )
    time_objective: Literal["measured", "estimated"] = Field(
        "measured",
        description="training time as the clock says, or as the cost model does: then one seed and one worker give one study",
    )
    portfolio: bool = Field(
        True,
        description="begin with a few configurations known from the literature, as far as the search space has them",
    )
    enqueue: InputPath = Field(
        None,
        description="begin with these configurations: a YAML or JSON file with a list of them, a results.json, or the directory"
        " of an earlier study, whose front is taken",
    )
    directions: tuple[str, ...] = Field(_DIRECTIONS, description="of the metric, seconds and MB; can't be changed")

    @field_validator("name")
    @classmethod
    def _no_path(cls, value: str) -> str:
        if "/" in value or "\\" in value or value in (".", ".."):
            raise ValueError(f"must be a name and no path (no / and no \\), but got {shown(value)}")
        if JOINERS & set(value):
            raise ValueError(f"must be text without control characters, but got {shown(value)}")
        return legible_name(value)

    @field_validator("directions")
    @classmethod
    def _only_these(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value != _DIRECTIONS:
            raise ValueError(f"must be {list(_DIRECTIONS)} (the metric, seconds, MB)")
        return value
