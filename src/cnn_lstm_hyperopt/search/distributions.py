"""Conversion of parameter domains to Optuna's distributions."""

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from cnn_lstm_hyperopt.config import Choices, Fixed, FloatRange, IntRange, Params, SearchSpace
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.space.domains import Domain, Scalar


def distribution(domain: Domain) -> BaseDistribution:
    """Return the Optuna distribution of a searched domain."""
    match domain:
        case Choices(values):
            return CategoricalDistribution(values)
        case IntRange(low, high, log):
            return IntDistribution(low, high, log=log)
        case FloatRange(low, high, log):
            return FloatDistribution(low, high, log=log)
        case Fixed(value):
            raise ValueError(f"a parameter fixed to {value!r} is not searched")


def distributions_of(space: SearchSpace, params: Params) -> dict[str, BaseDistribution]:
    """Return the distributions of a configuration's active, searched parameters."""
    searched = space.searched()
    return {name: distribution(searched[name]) for name in params if name in searched}


def with_fixed(space: SearchSpace, searched: Params) -> dict[str, Scalar]:
    """Return the full configuration of a trial.

    The full configuration has the stored parameters of the trial, and the parameters that the study fixed or dropped.

    Args:
        space: search space in the study's settings, including parameters that the study dropped because its data have only one
            task.
        searched: stored parameters of the trial.

    Returns:
        All active parameters in the order of the space.

    Raises:
        ConfigError: a searched parameter is not stored, so the trial belongs to another search space.
    """
    params: dict[str, Scalar] = {}
    for name in space.active(params):
        domain, dropped = space.domains[name], space.specs[name].one_task
        if name in searched:
            params[name] = searched[name]
        elif isinstance(domain, Fixed):
            params[name] = domain.value
        elif dropped is not None:
            params[name] = dropped
        else:
            raise ConfigError(
                f"search_space.{name} is searched, but a trial of this study has no value for it: the study was made with"
                " another search space; undo the change of search_space in config.yaml",
                field=f"search_space.{name}",
                code="other-search-space",
            )
    return params
