"""Optuna study in memory that contains the observations, from which Optuna's samplers propose configurations."""

from collections.abc import Callable, Mapping, Sequence

import optuna

from cnn_lstm_hyperopt.config import Fixed, SearchSpace
from cnn_lstm_hyperopt.search.constraints import relative_excess
from cnn_lstm_hyperopt.search.distributions import distribution, distributions_of
from cnn_lstm_hyperopt.search.observations import Observation
from cnn_lstm_hyperopt.search.optuna_logging import quiet_optuna
from cnn_lstm_hyperopt.space.domains import Scalar


class OptunaStudy:
    """Optuna study in memory with all observations as COMPLETE trials. Pruned trials have their predicted losses as values.

    Args:
        space: the searched space.
        constraints: function that returns the constraint values of an observation by name; positive values are violations.
    """

    def __init__(
        self, space: SearchSpace, constraints: Callable[[Observation], dict[str, float]] = lambda row: {}
    ) -> None:
        self._space = space
        self._constraints = constraints
        self._observations: list[Observation] = []
        self._study = _new_study()

    def learn(self, rows: Sequence[Observation]) -> None:
        """Add the new observations to the study; rebuild the study if the predicted losses of a pruned trial have changed."""
        if list(rows[: len(self._observations)]) != self._observations:
            self._observations, self._study = [], _new_study()
        for row in rows[len(self._observations) :]:
            self._study.add_trial(
                optuna.trial.create_trial(
                    params=dict(row.params),
                    distributions=distributions_of(self._space, row.params),
                    values=row.losses,
                    constraints=self._constraints(row) or None,
                )
            )
        self._observations = list(rows)

    def ask(self, sampler: optuna.samplers.BaseSampler) -> dict[str, Scalar]:
        """Return a full configuration from Optuna's sampler.

        The trial that Optuna creates for this request is ended as failed. Later, the observation of the trial is added as a
        COMPLETE trial.
        """
        self._study.sampler = sampler
        trial = self._study.ask()
        params: dict[str, Scalar] = {}
        for name in self._space.active(params):
            domain = self._space.domains[name]
            value = domain.value if isinstance(domain, Fixed) else _suggest(trial, name, distribution(domain))
            params[name] = self._space.legal(name, value, params)
        self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return params


def relative_excesses(row: Observation, bounds: Mapping[str, float]) -> dict[str, float]:
    """Return the relative excess of each measured constraint of an observation; empty if none was measured."""
    return {
        name: relative_excess(row.constraints[name], bound) for name, bound in bounds.items() if name in row.constraints
    }


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
    raise TypeError(f"{name} has the distribution {domain!r}, which this package does not create")
