"""The sections ``sampler`` and ``pruner``: the search algorithm and the pruning rule."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from cnn_lstm_hyperopt.config.schema.base import MAX_TRIALS, Section, SettingError
from cnn_lstm_hyperopt.utils.registry import declared, described

SAMPLERS, PRUNERS = declared("search/samplers"), declared("search/pruners")
"""Properties of each sampler and each pruner, by name."""
AUTO_SAMPLER, AUTO_PRUNER, EARLIER_AUTO_PRUNER = "gp", "none", "front"
"""Sampler and pruner that ``auto`` selects, and the pruner of a study of an earlier version with ``auto``.

The measurements behind this choice are in docs/lab-notes/pruning.md.
"""

if TYPE_CHECKING:
    SamplerName = str
    PrunerName = str
else:
    SamplerName = Literal[("auto", *SAMPLERS)]
    PrunerName = Literal[("auto", *PRUNERS)]


_STARTUPS = ", ".join(
    f"{facts['default_startup']} for {name}" for name, facts in SAMPLERS.items() if facts.get("default_startup")
)


class SamplerSettings(Section):
    """The search algorithm, which proposes configurations."""

    type: SamplerName = Field("auto", description=f"search algorithm: {described(SAMPLERS)}; auto: {AUTO_SAMPLER}")
    n_startup_trials: Annotated[int, Field(ge=0, le=MAX_TRIALS)] | Literal["auto"] = Field(
        "auto",
        description="number of trials before the sampler uses a model; these trials are random, except with the sampler gp."
        f" auto: {_STARTUPS}, but at most a third of all trials",
    )
    multivariate: bool = Field(
        False, description="tpe: model the parameters jointly (Optuna's options multivariate and group)"
    )

    @model_validator(mode="before")
    @classmethod
    def _without_probes(cls, raw: Any) -> Any:
        """Remove the key ``probes``, which earlier versions wrote.

        Refuse ``probes: true``, because such a study can't be resumed.
        """
        if not isinstance(raw, Mapping) or "probes" not in raw:
            return raw
        if raw["probes"] is True:
            raise SettingError(
                "probes no longer exist, so a study with probes: true cannot be resumed; remove it for a new study",
                "probes",
                "probes",
            )
        return {key: value for key, value in raw.items() if key != "probes"}


class PrunerSettings(Section):
    """The pruning rule, which ends unpromising trials early."""

    type: PrunerName = Field("auto", description=f"pruning rule: {described(PRUNERS)}; auto: {AUTO_PRUNER}")
    n_startup_trials: int = Field(
        20,
        ge=0,
        le=MAX_TRIALS,
        description="median: number of completed trials before the first pruning; front: number of completed trials that "
        "beat chance before the first pruning",
    )
    n_warmup_steps: int = Field(
        10, ge=0, le=100_000, description="median: number of epochs of a trial before it may be pruned"
    )
    interval_steps: int = Field(1, ge=1, le=100_000, description="median: number of epochs between two decisions")
    min_resource: float = Field(
        1.0,
        gt=0,
        le=100_000,
        description="successive_halving: number of epochs at the lowest rung; 0.25, 0.5 and 0.75 are possible if the first epoch "
        "is long",
    )
    reduction_factor: int = Field(
        4,
        ge=2,
        le=1_000,
        description="successive_halving: factor between rungs. Of this number of trials one continues to the next rung, and "
        "the number of epochs is multiplied by this number",
    )
    min_early_stopping_rate: int = Field(
        0, ge=0, le=20, description="successive_halving: number of lowest rungs to skip"
    )
