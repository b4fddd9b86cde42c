"""The interface of the samplers."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.search.observations import Observation
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.space.domains import Scalar


@dataclass(frozen=True)
class ProposalRequest:
    """What a sampler is asked with.

    Attributes:
        number: of the trial that is to be proposed; with the seed it decides all randomness.
        history: what is known of finished trials, in the order in which they finished.
        running: parameters of the trials that other workers run now.
        attempt: 0, or how many earlier proposals for this number were refused.
    """

    number: int
    history: Sequence[Observation]
    running: Sequence[Params] = ()
    attempt: int = 0


class Proposal(NamedTuple):
    """A configuration to be tried.

    Attributes:
        params: every active parameter that is not fixed.
        note: JSON that is stored with the trial and comes back with what is told of it.
        expected_score: what the sampler's model expects it to end with; None where it has no model.
    """

    params: dict[str, Scalar]
    note: Any = None
    expected_score: float | None = None


class Sampler(abc.ABC):
    """Proposes configurations.

    All that it knows is what it is asked with, so a resumed study goes on as an uninterrupted one would.
    """

    name: ClassVar[str]
    """In settings."""
    place: ClassVar[int]
    """In the order of the samplers."""
    description: ClassVar[str]
    """What it is, in a few words."""
    uses: ClassVar[tuple[str, ...]] = ()
    """Its settings besides ``n_startup_trials``. All of these are literals: the settings read them without any import."""
    default_startup: ClassVar[int] = 0
    """Random trials before it models anything, where the settings leave it open: at most a third of all."""

    def __init__(self, plan: StudyPlan) -> None:
        self.plan = plan
        self.space = plan.space
        self.settings = plan.sampler
        self.seed = plan.seed
        given = plan.sampler.n_startup_trials
        self.n_trials = plan.n_trials if plan.begun_with is None else plan.begun_with
        """That the study was begun with."""
        self.n_startup = min(self.default_startup, self.n_trials // 3) if given == "auto" else given

    def inactive_because(self) -> str | None:
        """Why this sampler can't learn anything in a study of this plan, or None."""
        if self.n_startup < self.plan.n_trials or self.n_startup == 0:
            return None
        return (
            f"sampler.n_startup_trials={self.n_startup} is not below study.n_trials={self.plan.n_trials}: all trials are those of"
            " the start; lower it"
        )

    @property
    def n_blind(self) -> int:
        """First trials that depend on the seed alone, whatever becomes of those before."""
        return self.n_startup

    @abc.abstractmethod
    def propose(self, request: ProposalRequest) -> Proposal:
        """A configuration for trial ``request.number``."""

    def searched(self, params: Params) -> dict[str, Scalar]:
        """``params`` without the fixed ones."""
        names = self.space.searched()
        return {name: value for name, value in params.items() if name in names}
