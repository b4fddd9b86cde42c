"""The definition of a search, shared by the study, its sampler and its pruner."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cnn_lstm_hyperopt.config import Params, PrunerSettings, SamplerSettings, SearchSpace
from cnn_lstm_hyperopt.search.distributions import with_fixed
from cnn_lstm_hyperopt.search.initial_trials.kinds import InitialTrial
from cnn_lstm_hyperopt.search.limits import Cost, Limits
from cnn_lstm_hyperopt.search.skill_threshold import SkillThreshold


@dataclass(frozen=True)
class StudyPlan:
    """The definition of a search.

    Attributes:
        n_trials: number of COMPLETE and PRUNED trials after which the search ends.
        max_epochs: maximum number of epochs of a trial.
        limits: limits on a trial. Proposals that exceed a limit are replaced. A trial that is slower than the limit of seconds is
            pruned.
        cost: function that returns the predicted cost of a full configuration.
        estimated_time: whether the time objective is the seconds predicted by ``cost`` instead of the measured seconds.
        starts: initial trials, which the study tries before the sampler's first proposal.
        begun_with: ``n_trials`` at the start of the study; None if the number has not changed since then. The sampler's schedule
            depends on this number.
        constraints: upper bounds on values that are measured at the end of a complete trial, by name. Trials that break a bound
            never join the front.
        cheap_cost: whether ``cost`` is fast enough for hundreds of calls per proposal.
    """

    space: SearchSpace
    sampler: SamplerSettings
    pruner: PrunerSettings
    seed: int
    n_trials: int
    max_epochs: int
    limits: Limits
    skill: SkillThreshold
    cost: Callable[[Params], Cost]
    estimated_time: bool = False
    starts: tuple[InitialTrial, ...] = ()
    begun_with: int | None = None
    cheap_cost: bool = True
    constraints: Mapping[str, float] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """Name of the metric that the study maximises."""
        return self.skill.metric

    def training_seconds(
        self, cost: Cost, epochs: float, *, measured: tuple[float, float | None]
    ) -> tuple[float, float | None]:
        """Return the training seconds so far and of all epochs.

        The result is ``measured``, or an estimate if the study's time objective is estimated.
        """
        if not self.estimated_time:
            return measured
        return cost.seconds * epochs / self.max_epochs, cost.seconds

    def allows(self, searched: Params) -> bool:
        """Return whether a configuration is predicted to be within all limits."""
        return self.limits.none or self.limits.allow(self.cost(with_fixed(self.space, searched)))
