"""What defines a search: the one thing that the study, its sampler and its pruner are built from."""

from collections.abc import Callable
from dataclasses import dataclass

from cnn_lstm_hyperopt.config import Params, PrunerSettings, SamplerSettings, SearchSpace
from cnn_lstm_hyperopt.search.distributions import with_fixed
from cnn_lstm_hyperopt.search.initial_trials.kinds import Start
from cnn_lstm_hyperopt.search.limits import Cost, Limits
from cnn_lstm_hyperopt.search.skill_threshold import SkillThreshold


@dataclass(frozen=True)
class StudyPlan:
    """What defines a search.

    Attributes:
        n_trials: COMPLETE and PRUNED trials that the study is to have.
        max_epochs: epochs of a trial at most.
        limits: a proposal beyond them is drawn anew; a trial that turns out to be slower than its limit ends.
        cost: of a whole configuration, known without building it.
        estimated_time: whether ``cost``, not the clock, says what a trial's training seconds are.
        starts: configurations that the study begins with.
        begun_with: ``n_trials`` when the study was begun, if that was another number: how long its
            start is, and what it can afford when, goes by that.
        cheap_cost: whether ``cost`` may be asked for hundreds of configurations a proposal.
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
    starts: tuple[Start, ...] = ()
    begun_with: int | None = None
    cheap_cost: bool = True

    @property
    def metric(self) -> str:
        """What the study maximises; its skill threshold is of the same."""
        return self.skill.metric

    def training_seconds(
        self, cost: Cost, epochs: float, *, measured: tuple[float, float | None]
    ) -> tuple[float, float | None]:
        """Seconds so far and of all epochs: what the study's time objective counts, ``measured`` or estimated."""
        if not self.estimated_time:
            return measured
        return cost.seconds * epochs / self.max_epochs, cost.seconds

    def allows(self, searched: Params) -> bool:
        """Whether the configuration is predicted to keep all limits."""
        return self.limits.none or self.limits.allow(self.cost(with_fixed(self.space, searched)))
