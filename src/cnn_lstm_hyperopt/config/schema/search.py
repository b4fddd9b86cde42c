"""The sections ``sampler`` and ``pruner``: where configurations come from, and which trials end early."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cnn_lstm_hyperopt.config.schema.base import MAX_TRIALS, Section

SamplerName = Literal["auto", "tpe", "cmaes", "random", "nsga2", "gp"]
PrunerName = Literal["auto", "median", "successive_halving", "front", "none"]


class SamplerSettings(Section):
    """Where the next configuration comes from."""

    type: SamplerName = Field(
        "auto",
        description="tpe, cmaes, nsga2, random, or gp (Gaussian processes of all objectives: the fewest trials for a front);"
        " auto: gp",
    )
    n_startup_trials: Annotated[int, Field(ge=0, le=MAX_TRIALS)] | Literal["auto"] = Field(
        "auto",
        description="trials before the sampler models anything, random ones but for gp; auto: 50 for tpe and nsga2, 24 for cmaes,"
        " 12 for gp, a third of all trials at most",
    )
    multivariate: bool = Field(False, description="tpe: model parameters jointly (Optuna's multivariate, grouped)")

    @model_validator(mode="before")
    @classmethod
    def _without_probes(cls, raw: Any) -> Any:
        """Earlier versions wrote ``probes`` to config.yaml. A study that had none can go on."""
        if not isinstance(raw, Mapping) or "probes" not in raw:
            return raw
        if raw["probes"] is True:
            raise ValueError(
                "probes are gone: a study that was begun with probes: true can't go on; leave it out in a new one"
            )
        return {key: value for key, value in raw.items() if key != "probes"}


class PrunerSettings(Section):
    """When a trial is ended early."""

    type: PrunerName = Field(
        "auto",
        description="median (below the median and beaten), successive_halving (rungs; the best share goes on), front (unlikely to"
        " reach the front) or none; auto: front",
    )
    n_startup_trials: int = Field(
        20,
        ge=0,
        le=MAX_TRIALS,
        description="median: completed trials before any is pruned; front: completed trials that have learnt something",
    )
    n_warmup_steps: int = Field(10, ge=0, le=100_000, description="median: epochs of a trial before it may be pruned")
    interval_steps: int = Field(1, ge=1, le=100_000, description="median: epochs between two decisions")
    min_resource: float = Field(
        1.0,
        gt=0,
        le=100_000,
        description="successive_halving: epochs at the lowest rung; 0.25, 0.5 and 0.75 are parts of a long first epoch",
    )
    reduction_factor: int = Field(
        4,
        ge=2,
        le=1_000,
        description="successive_halving: one in so many goes on at a rung, and the next rung is so many times as high",
    )
    min_early_stopping_rate: int = Field(
        0, ge=0, le=20, description="successive_halving: leaves out so many of the lowest rungs"
    )
