"""The section ``limits``: what a trial, the retraining and a worker may cost."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from cnn_lstm_hyperopt.config.schema.base import MAX_MB, MAX_SECONDS, Section


class LimitSettings(Section):
    """What a trial, the retraining and a worker may cost."""

    trial_seconds: float | Literal["auto"] | None = Field(
        "auto",
        description="configurations predicted to train longer are not tried, trials that turn out to need a quarter more end"
        " early; auto: 300 on a CPU, none on a GPU; null: none",
    )
    size_mb: float | None = Field(None, gt=0, le=MAX_MB, description="larger models are not tried; null: no limit")
    memory_mb: Annotated[float, Field(gt=0, le=MAX_MB)] | Literal["auto"] | None = Field(
        "auto",
        description="configurations predicted to need more are not tried, trials that do need more save memory or fail; auto: a"
        " worker's part of 80 % of the memory of the machine (on a GPU: of the device); null: no limit",
    )
    retrain_seconds: float | None = Field(
        None,
        gt=0,
        le=MAX_SECONDS,
        description="for what follows the search: confirmation gets half of it at most, and each retraining an equal part of what"
        " is left; null: no limit",
    )
    worker_growth_mb: float = Field(
        500.0,
        gt=0,
        le=MAX_MB,
        description="a worker that holds so much more memory than after its first trial is replaced by a new one",
    )
    worker_silence_seconds: float = Field(
        45.0,
        ge=5,
        le=MAX_SECONDS,
        description="a worker without a sign of life for so long (not one batch in a training) is replaced, its trial run again",
    )

    @field_validator("trial_seconds")
    @classmethod
    def _positive(cls, value: float | str | None) -> float | str | None:
        if isinstance(value, (int, float)) and not 0 < value <= MAX_SECONDS:
            raise ValueError(f"must be above 0 and at most {MAX_SECONDS:g}, auto or null, but got {value}")
        return value

    def seconds_on(self, device_type: str) -> float | None:
        """The limit in seconds on a device of this type; None: no limit."""
        if self.trial_seconds == "auto":
            return 300.0 if device_type == "cpu" else None
        return self.trial_seconds
