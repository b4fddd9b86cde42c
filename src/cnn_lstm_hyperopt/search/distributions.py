"""Our domains as Optuna's distributions."""

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from cnn_lstm_hyperopt.config import Choices, Fixed, FloatRange, IntRange, Params, SearchSpace
from cnn_lstm_hyperopt.config.domains import Domain, Scalar


def distribution(domain: Domain) -> BaseDistribution:
    """The Optuna distribution of a domain that is searched."""
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
    """The distributions of the active, searched parameters of a configuration: what a trial is stored with."""
    searched = space.searched()
    return {name: distribution(searched[name]) for name in params if name in searched}


def with_fixed(space: SearchSpace, searched: Params) -> dict[str, Scalar]:
    """The whole configuration: stored parameters and the fixed ones, in the order of the space."""
    params: dict[str, Scalar] = {}
    for name in space.active(params):
        domain = space.domains[name]
        params[name] = domain.value if isinstance(domain, Fixed) else searched[name]
    return params
