"""The section ``limits``: limits for trials, retraining and workers."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from cnn_lstm_hyperopt.config.schema.base import MAX_MB, MAX_SECONDS, Section, SettingError


class LimitSettings(Section):
    """Limits for trials, retraining and workers."""

    trial_seconds: float | Literal["auto"] | None = Field(
        "auto",
        description="maximum training time of a trial in seconds. Configurations predicted to take longer are not tried; "
        "a trial that takes 25 % longer than this ends early. auto: 300 on a CPU, no limit on a GPU; with fewer than 500 "
        "windows, only configurations predicted to take at most 8 s, or as long as a tenth of the search space, are tried; "
        "null: no limit",
    )
    size_mb: float | None = Field(
        None, gt=0, le=MAX_MB, description="maximum size of a model in MB; larger models are not tried; null: no limit"
    )
    memory_mb: Annotated[float, Field(gt=0, le=MAX_MB)] | Literal["auto"] | None = Field(
        "auto",
        description="maximum memory of a trial in MB. Configurations predicted to need more are not tried; a trial that "
        "still needs more switches to memory-saving modes or fails. auto: a worker's share of 80 % of the machine's memory (on a "
        "GPU: of the GPU's memory); null: no limit",
    )
    retrain_seconds: float | None = Field(
        None,
        gt=0,
        le=MAX_SECONDS,
        description="time limit in seconds for everything after the search. Confirmation gets at most half of this "
        "time; the retrainings share the rest equally; null: no limit",
    )
    worker_growth_mb: float = Field(
        500.0,
        gt=0,
        le=MAX_MB,
        description="maximum growth of a worker's memory in MB after its first trial. A worker with more "
        "growth is replaced",
    )
    worker_silence_seconds: float = Field(
        45.0,
        ge=5,
        le=MAX_SECONDS,
        description="maximum time in seconds without a heartbeat from a worker (not one training batch finished). Then "
        "the worker is replaced and its trial runs again",
    )

    @field_validator("trial_seconds")
    @classmethod
    def _positive(cls, value: float | str | None) -> float | str | None:
        if isinstance(value, (int, float)) and not 0 < value <= MAX_SECONDS:
            raise SettingError(
                f"must be above 0 and at most {MAX_SECONDS:g}, auto or null, but got {value}", "out-of-range"
            )
        return value

    @property
    def trial_mb(self) -> float | None:
        """Memory limit of a trial in MB if the user has set one; None for ``auto`` and without a limit."""
        return None if self.memory_mb == "auto" else self.memory_mb

    def seconds_on(self, device_type: str) -> float | None:
        """Return the time limit of a trial in seconds on a device of the given type, or None without a limit."""
        if self.trial_seconds == "auto":
            return 300.0 if device_type == "cpu" else None
        return self.trial_seconds
