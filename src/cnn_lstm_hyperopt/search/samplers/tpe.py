"""The sampler ``tpe``: Optuna's multi-objective tree-structured Parzen estimator (Watanabe 2023, arXiv 2304.11127)."""

import optuna

from cnn_lstm_hyperopt.search.optuna_logging import quiet_optuna
from cnn_lstm_hyperopt.search.samplers.base import Proposal, ProposalRequest, Sampler
from cnn_lstm_hyperopt.search.samplers.optuna_study import OptunaStudy, relative_excesses
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.utils.rng import stream_seed


class TpeSampler(Sampler):
    """Sampler that uses Optuna's TPE.

    Random numbers depend on seed and trial number, so that a resumed study proposes the same configurations. Optuna ranks trials
    that break constraints below all others.
    """

    name, place = "tpe", 0
    description = "Optuna's tree-structured Parzen estimator"
    uses = ("multivariate",)
    default_startup = 50

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan)
        self._study = OptunaStudy(plan.space, lambda row: relative_excesses(row, plan.constraints))

    def propose(self, request: ProposalRequest) -> Proposal:
        self._study.learn(request.history)
        with quiet_optuna():
            sampler = optuna.samplers.TPESampler(
                seed=stream_seed(self.seed, request.number, request.draws) % 2**32,
                n_startup_trials=self.n_startup,
                multivariate=self.settings.multivariate,
                group=self.settings.multivariate,  # required for conditional parameters
                constant_liar=False,
            )
        return Proposal(self.searched(self._study.ask(sampler)))
