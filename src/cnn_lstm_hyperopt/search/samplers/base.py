"""Interface of the samplers."""

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
    """Input of a sampler for one proposal.

    Attributes:
        number: number of the new trial. All random draws are determined by this number and the study's seed.
        history: observations of finished trials, in the order in which they finished.
        running: parameters of trials that other workers run now.
        attempt: number of rejected proposals for this trial.
        worker: identifier of the worker, if other workers may request a proposal for the same number at the same time. Samplers
            with a model then make different draws for each worker.
    """

    number: int
    history: Sequence[Observation]
    running: Sequence[Params] = ()
    attempt: int = 0
    worker: str = ""

    @property
    def draws(self) -> str:
        """Name of the stream of random numbers, for samplers with a model."""
        return f"proposal {self.attempt}" + (f" of {self.worker}" if self.worker else "")


class Proposal(NamedTuple):
    """A proposed configuration.

    Attributes:
        params: values of all active parameters that are not fixed.
        note: JSON value that is stored with the trial and returned to the sampler with the trial's observation.
        expected_score: final score that the sampler's model predicts for the configuration; None if the sampler used no model.
    """

    params: dict[str, Scalar]
    note: Any = None
    expected_score: float | None = None


class Sampler(abc.ABC):
    """Interface of samplers, which propose configurations.

    A proposal depends on the request and the plan alone, so a study proposes the same configurations with and without
    interruptions.
    """

    name: ClassVar[str]
    """Name of the sampler in the settings."""
    place: ClassVar[int]
    """Position of the sampler in lists of samplers."""
    description: ClassVar[str]
    """Description of the sampler in a few words, for help texts and documentation."""
    uses: ClassVar[tuple[str, ...]] = ()
    """Names of the settings that the sampler reads, except ``n_startup_trials``.

    The value is a literal, so that ``--help`` reads it without importing the sampler.
    """
    has_model: ClassVar[bool] = True
    """Whether proposals depend on earlier results, so that they take long enough to be computed without the study's lock."""
    cost_share: ClassVar[float] = 1.0
    """Usual mean of the seconds of trials that the sampler's model proposes, as a share of those of random configurations.

    The forecast of a new study uses this share, which differs between data sets.
    """
    default_startup: ClassVar[int] = 0
    """Number of random trials before the sampler's first model if ``n_startup_trials`` is ``auto``; at most a third of all
    trials."""

    def __init__(self, plan: StudyPlan) -> None:
        self.plan = plan
        self.space = plan.space
        self.settings = plan.sampler
        self.seed = plan.seed
        n_startup = plan.sampler.n_startup_trials
        self.n_trials = plan.n_trials if plan.begun_with is None else plan.begun_with
        """Number of trials that the study was planned to run when the study started."""
        self.n_startup = min(self.default_startup, self.n_trials // 3) if n_startup == "auto" else n_startup

    def inactive_because(self) -> str | None:
        """Return the reason why the sampler never uses its model in a study with this plan; None if the sampler does."""
        if self.n_startup < self.plan.n_trials or self.n_startup == 0:
            return None
        return (
            f"sampler.n_startup_trials={self.n_startup} is not below study.n_trials={self.plan.n_trials}:"
            " the sampler never uses its model; lower it"
        )

    @property
    def n_blind(self) -> int:
        """Number of first trials of the study whose proposals depend on the seed alone and not on earlier results."""
        return self.n_startup

    @abc.abstractmethod
    def propose(self, request: ProposalRequest) -> Proposal:
        """Propose a configuration for trial ``request.number``."""

    def crowds(self, proposal: Proposal, others: Sequence[Params]) -> bool:
        """Return whether a proposal is too near to configurations that other workers have started since its computation."""
        return False

    def searched(self, params: Params) -> dict[str, Scalar]:
        """Return ``params`` without the fixed parameters."""
        names = self.space.searched()
        return {name: value for name, value in params.items() if name in names}
