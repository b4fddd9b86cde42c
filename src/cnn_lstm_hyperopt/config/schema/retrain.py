"""The sections ``retrain`` and ``evaluation``: what follows the search."""

from pydantic import Field

from cnn_lstm_hyperopt.config.schema.base import Section


class RetrainSettings(Section):
    """What happens to the best trials after the search."""

    enabled: bool = Field(False, description="retrain the best trials and test them once")
    top_k: int = Field(5, ge=1, le=1_000, description="how many of the confirmed candidates are retrained")
    full_epochs: int = Field(
        200, ge=1, le=100_000, description="epochs of a retraining at most (patience ends it earlier)"
    )
    confirm_seeds: int = Field(
        3,
        ge=1,
        le=100,
        description="the best 3 x top_k of the front are trained again with so many fresh seeds, and ranked by their mean score",
    )
    seeds: int = Field(
        3, ge=1, le=100, description="each of the top_k is retrained so many times; the one best on validation is kept"
    )


class EvaluationSettings(Section):
    """What the verdict assumes."""

    cost_bps: float = Field(
        5.0,
        ge=0,
        le=1_000,
        description="cost of a change of position in the long/flat strategy, in basis points (direction)",
    )
