"""The section ``constraints``: upper bounds on results of a trial. Trials that break a bound never join the Pareto front."""

from pydantic import Field

from cnn_lstm_hyperopt.config.schema.base import MAX_MB, Section

MAX_MILLISECONDS = 1e6


class ConstraintSettings(Section):
    """Upper bounds on results of a trial. Trials that break a bound are shown, but never join the front."""

    latency_ms: float | None = Field(
        None,
        gt=0,
        le=MAX_MILLISECONDS,
        description="maximum time of a prediction for one window in milliseconds: the median of repeated predictions of the "
        "trained network on one thread of this machine's CPU; null: no bound",
    )
    size_mb: float | None = Field(
        None,
        gt=0,
        le=MAX_MB,
        description="maximum size of a model in MB, known before training; larger models are not tried; null: no bound",
    )
    calibration_error: float | None = Field(
        None,
        gt=0,
        le=1,
        description="maximum expected calibration error of the trial's probabilities on validation (15 bins); null: no bound",
    )

    @property
    def measured(self) -> dict[str, float]:
        """Bounds of the results that are measured on the trained network, by name."""
        bounds = {"latency_ms": self.latency_ms, "calibration_error": self.calibration_error}
        return {name: bound for name, bound in bounds.items() if bound is not None}
