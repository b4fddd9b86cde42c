"""The sections ``retrain`` and ``evaluation``, with the settings for the time after the search."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from cnn_lstm_hyperopt.config.schema.base import MAX_SECONDS, FunctionReference, Names, Section, SettingError
from cnn_lstm_hyperopt.metrics import METRICS

if TYPE_CHECKING:
    VerdictMetric = str
else:
    VerdictMetric = Literal[(*METRICS, "study")]

EnsembleMethod = Literal["auto", "stack", "greedy", "equal", "none"]
Execution = Literal["next_open", "next_close", "same_close"]
PickName = Literal["best_score", "balanced", "fastest", "smallest"]
"""Names of the picks of a Pareto front."""
HalfSpread = Annotated[float, Field(ge=0, le=1_000)]
"""Type of half of a bid-ask spread, in basis points."""


class RetrainSettings(Section):
    """Confirmation and retraining of the best trials after the search."""

    enabled: bool = Field(False, description="retrain the best trials and evaluate them once on the test set")
    top_k: int = Field(5, ge=1, le=1_000, description="number of confirmed candidates to retrain")
    also: Annotated[tuple[Annotated[int, Field(ge=0)] | PickName, ...], Names] = Field(
        (),
        description="more trials to retrain, after the top_k: trial numbers, or picks of the Pareto front (best_score, balanced, "
        "fastest, smallest)",
    )
    full_epochs: int = Field(
        200, ge=1, le=100_000, description="maximum number of epochs of a retraining; patience may end it earlier"
    )
    confirm_seeds: int = Field(
        3,
        ge=1,
        le=100,
        description="number of new seeds for the confirmation. The best trials by score and of the front, three for each of the "
        "top_k models, are trained again with a new seed. The better half by mean log loss, but at least top_k, gets the next "
        "seed",
    )
    seeds: int = Field(
        3,
        ge=1,
        le=100,
        description="number of seeds with which each of the top_k models is retrained; the model predicts the mean of all seeds",
    )
    ensemble: EnsembleMethod = Field(
        "auto",
        description="weights of the retrained networks and of two regressions in the ensemble, from validation. stack: "
        "non-negative logistic regression on log probabilities; greedy: selected one after the other; equal: equal weights, "
        "unless selected ones are clearly better; none: no ensemble; auto: stack in a new final phase, later the same method as "
        "before. The ensemble keeps constraints.size_mb and constraints.latency_ms",
    )
    refit: bool = Field(
        False,
        description="after the test, train the best retrained model again on training and validation windows, for the median of "
        "the best epochs of its seeds. predict then uses this refit; all test figures are of the tested model. "
        "limits.retrain_seconds does not limit the refit",
    )


class EvaluationSettings(Section):
    """Metric and assumptions of the evaluation on the test set."""

    verdict_metric: VerdictMetric = Field(
        "log_loss",
        description="metric that compares the model with chance and with the baselines on the test set, and so decides the "
        "grade; study: the metric of the study. The accuracy is always reported, too",
    )
    baselines: Annotated[tuple[FunctionReference, ...], Names] = Field(
        (),
        description="module:function of each of your own baselines, such as a zero-shot model; they are compared with the models "
        "like the built-in baselines",
    )
    baseline_seconds: float = Field(
        3600.0,
        gt=0,
        le=MAX_SECONDS,
        description="time limit in seconds for one of your own baselines to fit and to forecast the windows of one test period. "
        "The baseline runs in a separate process, which is stopped at the limit",
    )
    test_periods: int = Field(
        1,
        ge=1,
        le=100,
        description="number of consecutive periods of the test set (walk-forward test). Before each period after the first, the "
        "models are trained again on all windows before this period. The predictions of all periods are judged together. "
        "More than 1 needs bars",
    )
    cost_bps: float = Field(
        5.0,
        ge=0,
        le=1_000,
        description="fees of a change of position in the long/flat strategy, in basis points (direction target)",
    )
    half_spread_bps: HalfSpread | Literal["auto"] | dict[str, HalfSpread] = Field(
        2.0,
        description="half of the bid-ask spread, in basis points; a change of position pays it in addition to cost_bps. It is a "
        "number, a mapping of symbols to numbers, or auto (estimated for each symbol from its bars before the test set; too "
        "high for very liquid symbols)",
    )
    execution: Execution = Field(
        "next_open",
        description="prices at which the strategy trades: the open or the close of the bar after the window, or the close of the "
        "window's last bar (same_close, which no order can reach and which profits from bid-ask bounce)",
    )

    @field_validator("baselines")
    @classmethod
    def _unique(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            twice = next(name for name in value if value.count(name) > 1)
            raise SettingError(f"names a function twice: {twice}; remove one", "duplicate-function")
        return value
