"""The sampler ``nsga2``: Optuna's NSGA-II (Deb, Pratap, Agarwal & Meyarivan 2002, IEEE TEC 6(2)), without generations."""

import math
from collections.abc import Sequence

import optuna
from optuna.samplers.nsgaii import PolynomialMutation
from optuna.trial import FrozenTrial, TrialState

from cnn_lstm_hyperopt.search.observations import Kind, Observation
from cnn_lstm_hyperopt.search.optuna_logging import quiet_optuna
from cnn_lstm_hyperopt.search.samplers.base import Proposal, ProposalRequest, Sampler
from cnn_lstm_hyperopt.search.samplers.optuna_study import OptunaStudy, relative_excesses
from cnn_lstm_hyperopt.search.samplers.random import RandomSampler
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.utils.rng import stream_seed

POPULATION = 50
ETA = 20.0
"""Distribution index of the mutation; larger values keep children closer to their parents (Deb et al. 2002, section V)."""
REDRAWS = 20
"""Maximum number of children that are drawn to find a configuration that is new and within the limits."""


class _WithoutGenerations(optuna.samplers.NSGAIISampler):
    """NSGA-II of Optuna that selects parents from all trials that are finished at the time of the request.

    Optuna's sampler stores the generation in attributes of trials and waits until all trials of a generation are COMPLETE.
    Optuna's sampler would ignore enqueued trials. In a study that is rebuilt from stored trials, Optuna's sampler would propose
    other children.
    """

    _parents: list[FrozenTrial] | None = None

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """Return the generation of a trial for Optuna's sampler: 0 for trials of the history, 1 for the new trial."""
        return 1

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Return the trials of a generation, as Optuna's sampler requires."""
        return study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]) if generation == 0 else []

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Return the parents of a generation, as Optuna's sampler requires. The parents are computed only once."""
        if generation == 0:
            return []
        if self._parents is None:
            self._parents = self.select_parent(study, generation)
        return self._parents


class Nsga2Sampler(Sampler):
    """Sampler that proposes children of the best trials so far; random numbers depend on the study's seed and the trial number.

    A trial below the skill threshold counts as one that violates a constraint; the violation is the distance to the threshold.
    Without this constraint, small models at chance, which no trial dominates, would fill the population. The plan's constraints
    count with their relative excesses. Conditional parameters that only some trials have are drawn at random.
    """

    name, place = "nsga2", 3
    description = "Optuna's NSGA-II; parents are the best 50 of all trials"
    default_startup = 50

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan)
        self._random = RandomSampler(plan)
        self._study = OptunaStudy(plan.space, self._shortfall)

    def propose(self, request: ProposalRequest) -> Proposal:
        rows: Sequence[Observation] = request.history
        if len(rows) < max(self.n_startup, 1) or not self.space.searched():
            return self._random.propose(request)
        self._study.learn(rows)
        seed = stream_seed(self.seed, request.number, request.draws) % 2**32
        with quiet_optuna():
            sampler = _WithoutGenerations(population_size=POPULATION, mutation=PolynomialMutation(eta=ETA), seed=seed)
        tried = [row.params for row in rows] + list(request.running)
        for _ in range(REDRAWS):
            params = self.searched(self._study.ask(sampler))
            if params not in tried and self.plan.allows(params):
                break
        return Proposal(params)

    def _shortfall(self, row: Observation) -> dict[str, float]:
        if row.kind is Kind.DIVERGED:
            return {"skill": math.inf}
        broken = relative_excesses(row, self.plan.constraints)
        return {"skill": self.plan.skill.shortfall(-row.losses[0]), **broken}
