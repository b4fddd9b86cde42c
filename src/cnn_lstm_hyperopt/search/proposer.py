"""Proposals of new configurations within the limits."""

from collections.abc import Collection, Sequence

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.search.observations import Observation
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

    def propose(
        self,
        number: int,
        history: Sequence[Observation],
        seen: Collection[tuple[tuple[str, Scalar], ...]],
        running: Sequence[Params] = (),
    ) -> Proposal | None:
        """Return a new configuration within the limits from the sampler, else from random search; None if none is left."""
        for attempt in range(SAMPLER_ATTEMPTS + RANDOM_ATTEMPTS):
            request = ProposalRequest(number, history, running, attempt)
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
