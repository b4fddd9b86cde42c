"""Tree-structured Parzen estimator for several objectives: Optuna's, fed by us (Watanabe 2023, arXiv 2304.11127)."""

import optuna

from cnn_lstm_hyperopt.config import Fixed
from cnn_lstm_hyperopt.config.domains import Scalar
from cnn_lstm_hyperopt.search.distributions import distribution, distributions_of
from cnn_lstm_hyperopt.search.observations import Told
from cnn_lstm_hyperopt.search.optuna_logging import quiet_optuna
from cnn_lstm_hyperopt.search.samplers.base import Proposal, Question, Sampler
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.utils.rng import stream_seed


class TpeSampler(Sampler):
    """Keeps a shadow study in memory that holds what it was told.

    Optuna's own study won't do: there pruned trials of several objectives carry no values, and TPE fills its good set with them.
    A fresh generator from (seed, number) each time, because one that is rebuilt on resume would repeat its first proposals.
    """

    default_startup = 50

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan)
        self._known: list[Told] = []
        self._shadow = _new_study()

    def propose(self, question: Question) -> Proposal:
        """See the base class."""
        self._learn(list(question.history))
        with quiet_optuna():
            self._shadow.sampler = optuna.samplers.TPESampler(
                seed=stream_seed(self.seed, question.number, f"proposal {question.attempt}") % 2**32,
                n_startup_trials=self.n_startup,
                multivariate=self.settings.multivariate,
                group=self.settings.multivariate,  # conditional parameters need it
                constant_liar=False,
            )
        trial = self._shadow.ask()
        params: dict[str, Scalar] = {}
        for name in self.space.active(params):
            domain = self.space.domains[name]
            value = domain.value if isinstance(domain, Fixed) else _suggest(trial, name, distribution(domain))
            params[name] = self.space.legal(name, value, params)
        self._shadow.tell(trial, state=optuna.trial.TrialState.FAIL)  # a question only: the answer comes with history
        return Proposal(self.searched(params))

    def _learn(self, rows: list[Told]) -> None:
        if rows[: len(self._known)] != self._known:  # of pruned trials something else is expected now
            self._known, self._shadow = [], _new_study()
        for row in rows[len(self._known) :]:
            self._shadow.add_trial(
                optuna.trial.create_trial(
                    params=dict(row.params),
                    distributions=distributions_of(self.space, row.params),
                    values=row.losses,
                )
            )
        self._known = rows


def _new_study() -> optuna.Study:
    with quiet_optuna():
        return optuna.create_study(directions=["minimize"] * 3)


def _suggest(trial: optuna.Trial, name: str, domain: optuna.distributions.BaseDistribution) -> Scalar:
    match domain:
        case optuna.distributions.CategoricalDistribution():
            value: Scalar = trial.suggest_categorical(name, domain.choices)  # type: ignore[assignment]
            return value
        case optuna.distributions.IntDistribution():
            return trial.suggest_int(name, domain.low, domain.high, log=domain.log)
        case optuna.distributions.FloatDistribution():
            return trial.suggest_float(name, domain.low, domain.high, log=domain.log)
    raise TypeError(f"{name} has the distribution {domain!r}, which is never made here")
