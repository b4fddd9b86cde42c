"""Proposals of new configurations within the limits."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.search.observations import Observation, ObservationCache, observations
from cnn_lstm_hyperopt.search.samplers import SAMPLERS, Proposal, ProposalRequest, RandomSampler
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.search.trial import TrialRecord, key_of
from cnn_lstm_hyperopt.space.domains import Scalar

SAMPLER_ATTEMPTS, RANDOM_ATTEMPTS = 10, 1000
"""Maximum number of rejected proposals of the sampler, and then of random search. If all of these proposals are rejected, the
search ends."""


class TriedConfigurations:
    """Keys of the configurations of a study's trials. Only the keys of new trials are computed."""

    def __init__(self) -> None:
        self._numbers: set[int] = set()
        self._keys: set[tuple[tuple[str, Scalar], ...]] = set()

    def keys(self, records: Sequence[TrialRecord]) -> Collection[tuple[tuple[str, Scalar], ...]]:
        """Return the key of each trial's configuration; ``records`` are all trials of the study."""
        new = [record for record in records if record.number not in self._numbers]
        if len(self._numbers) + len(new) > len(records):  # another program removed a trial
            self._numbers, self._keys, new = set(), set(), list(records)
        self._numbers.update(record.number for record in new)
        self._keys.update(key_of(record.params) for record in new)
        return self._keys


class Proposer:
    """Source of proposals: the sampler of a plan, then random search if the sampler proposes no legal new configuration."""

    def __init__(self, plan: StudyPlan) -> None:
        self._plan = plan
        self._sampler = SAMPLERS[plan.sampler.type](plan)
        self._random = RandomSampler(plan)
        self.warning = self._sampler.inactive_because()
        self.crowds = self._sampler.crowds
        self.cost_share = self._sampler.cost_share

    def uses_model(self, number: int) -> bool:
        """Return whether the proposal for a trial depends on earlier results."""
        return self._sampler.has_model and number >= self._sampler.n_blind

    def propose(
        self,
        number: int,
        history: Sequence[Observation],
        seen: Collection[tuple[tuple[str, Scalar], ...]],
        running: Sequence[Params] = (),
        worker: str = "",
    ) -> Proposal | None:
        """Return a new configuration within the limits from the sampler, else from random search; None if none is left."""
        for attempt in range(SAMPLER_ATTEMPTS + RANDOM_ATTEMPTS):
            request = ProposalRequest(number, history, running, attempt, worker)
            proposal = (self._sampler if attempt < SAMPLER_ATTEMPTS else self._random).propose(request)
            if key_of(proposal.params) not in seen and self._plan.allows(proposal.params):
                return proposal
        return None

    def first(self, count: int) -> list[Proposal]:
        """Return at most ``count`` first proposals of the study, but only proposals that depend on no fitted model."""
        found = [Proposal(dict(start.params)) for start in self._plan.starts[:count]]
        for number in range(len(found), min(count, self._sampler.n_blind)):
            proposal = self.propose(number, [], {key_of(each.params) for each in found})
            if proposal is None:
                break
            found.append(proposal)
        return found


@dataclass(frozen=True)
class TimedProposal:
    """A proposal and the circumstances of its computation.

    Attributes:
        milliseconds: duration of the computation.
        n_known: all trials with a smaller number were known.
    """

    proposal: Proposal
    milliseconds: float
    n_known: int

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes to store with the trial."""
        stored = {"note": self.proposal.note, "expected_score": self.proposal.expected_score}
        return {name: value for name, value in stored.items() if value is not None}


class Proposals:
    """Proposals of a study, computed from the records of its trials.

    Args:
        plan: definition of the search.
        worker: identifier of this worker among workers that propose at the same time; None without such workers.
    """

    def __init__(self, plan: StudyPlan, worker: int | str | None) -> None:
        self._plan = plan
        self._proposer = Proposer(plan)
        self._worker = "" if worker is None else str(worker)
        self._memory = ObservationCache()
        self._tried = TriedConfigurations()
        self.warning = self._proposer.warning

    def propose(self, place: int, records: Sequence[TrialRecord]) -> TimedProposal | None:
        """Propose a configuration; ``place`` is the number that the trial would have without trials of other programs.

        While other workers run trials, a sampler's model makes different draws for each worker. All other proposals depend on the
        seed and ``place`` only.
        """
        begun = time.perf_counter()
        history = observations(records, self._plan.skill, self._plan.max_epochs, self._memory)
        running = [record.params for record in records if not record.state.ended]
        worker = self._worker if running and self._proposer.uses_model(place) else ""
        found = self._proposer.propose(place, history, self._tried.keys(records), running, worker)
        if found is None:
            return None
        return TimedProposal(found, 1000 * (time.perf_counter() - begun), _n_known(records))

    def ahead(self, place: int, records: Sequence[TrialRecord]) -> TimedProposal | None:
        """Propose a configuration without the lock of the study; None if a proposal takes no time."""
        return self.propose(place, records) if self._proposer.uses_model(place) else None

    def is_current(self, made: TimedProposal, records: Sequence[TrialRecord]) -> bool:
        """Return whether a proposal still makes sense: no trial that started since then has almost the same configuration."""
        if key_of(made.proposal.params) in self._tried.keys(records):
            return False
        new = [record.params for record in records if record.number >= made.n_known]
        return not self._proposer.crowds(made.proposal, new)


def _n_known(records: Sequence[TrialRecord]) -> int:
    return records[-1].number + 1 if records else 0
