"""Tree-structured Parzen estimator for several objectives: Optuna's, fed by us (Watanabe 2023, arXiv 2304.11127)."""

from collections.abc import Sequence

import optuna

from cnn_lstm_hyperopt.config import Fixed, SamplerSettings, SearchSpace
from cnn_lstm_hyperopt.config.domains import Scalar
from cnn_lstm_hyperopt.randomness import stream_seed
from cnn_lstm_hyperopt.search.distributions import distribution, distributions_of
from cnn_lstm_hyperopt.search.quiet import quiet_optuna
from cnn_lstm_hyperopt.search.samplers.base import Sampler
from cnn_lstm_hyperopt.search.told import Told


class TpeSampler(Sampler):
    """Keeps a shadow study in memory that holds what it was told.

    Optuna's own study won't do: there pruned trials of several objectives carry no values, and TPE fills its good set with them.
    A fresh generator from (seed, number) each time, because one that is rebuilt on resume would repeat its first proposals.
    """

    def __init__(self, space: SearchSpace, settings: SamplerSettings, seed: int) -> None:
        super().__init__(space, settings, seed)
        with quiet_optuna():
            self._shadow = optuna.create_study(directions=["minimize"] * 3)
        self._known: set[int] = set()

    def propose(self, number: int, history: Sequence[Told], attempt: int) -> dict[str, Scalar]:
        """See the base class."""
        for row in (row for row in history if row.number not in self._known):
            self._shadow.add_trial(
                optuna.trial.create_trial(
                    params=dict(row.params),
                    distributions=distributions_of(self.space, row.params),
                    values=row.losses,
                )
            )
        self._known.update(row.number for row in history)
        with quiet_optuna():
            self._shadow.sampler = optuna.samplers.TPESampler(
                seed=stream_seed(self.seed, number, f"proposal {attempt}") % 2**32,
                n_startup_trials=self.settings.n_startup_trials,
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
        return self.searched(params)


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
