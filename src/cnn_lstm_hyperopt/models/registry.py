"""Registry of network families. To add a family, add a package to ``models`` and a line to this file."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.models.base import Family, NetworkConfig
from cnn_lstm_hyperopt.models.cnn_lstm.family import CnnLstmFamily
from cnn_lstm_hyperopt.models.inputs import PARAMETERS as INPUTS
from cnn_lstm_hyperopt.models.inputs import PER_CHANNEL, WINDOW_NORM, Columns, InputsConfig, chosen_columns
from cnn_lstm_hyperopt.models.linear import FAMILY, STEPS, LinearConfig, is_linear
from cnn_lstm_hyperopt.space.domains import Fixed
from cnn_lstm_hyperopt.space.parameters import ParameterSpec, Params, value_of

_MEMBERS: tuple[Family, ...] = (CnnLstmFamily(),)

FAMILIES: Mapping[str, Family] = {family.name: family for family in _MEMBERS}
"""Families by name; the first family is the default."""
_MAX_CONFIGURATIONS = 25
"""Maximum number of configurations that :func:`size_parameters` reads."""
__all__ = ["FAMILIES", "FAMILY", "family_of", "network_config", "parameters_of", "size_parameters"]


def parameters_of(families: Iterable[Family]) -> dict[str, ParameterSpec]:
    """Return the parameters of all families.

    If there are several families, the value of :data:`FAMILY` selects the family whose parameters are active.
    """
    first, *others = families
    if not others:
        return dict(first.parameters)
    names = (first.name, *(family.name for family in others))
    found = {FAMILY: ParameterSpec("choice", Fixed(first.name), options=names)}
    for family in (first, *others):
        for name, spec in family.parameters.items():
            found[name] = replace(spec, when={FAMILY: (family.name,), **spec.when})
    return found


def size_parameters(configurations: Iterable[Params]) -> set[str]:
    """Return the names of the parameters that can change the size of a network.

    In each full configuration, each parameter of the family gets the values of the other configurations. The name is returned if
    the size differs at least once. Dropout and the parameters of a training never change the size.
    """
    known = list(configurations)[:_MAX_CONFIGURATIONS]
    found: set[str] = set()
    for params in known:
        size = _size(params)
        for name in family_of(params).parameters:
            others = {each[name] for each in known if name in each} if name in params and name not in found else ()
            sizes = {_size({**params, name: value}) for value in others}
            if sizes - {size, None}:
                found.add(name)
    return found


def _size(params: Params) -> float | None:
    """Return the size in MB of a network with a few inputs; None if a parameter is missing or does not fit the others."""
    try:
        return (
            network_config(params, input_dim=3, n_classes=2, has_regression=False, lookback=64)
            .cost(lookback=64)
            .size_mb
        )
    except ConfigError:
        return None


def family_of(params: Params) -> Family:
    """Return the family of a full configuration."""
    return FAMILIES[str(params.get(FAMILY, next(iter(FAMILIES))))]


def network_config(
    params: Params,
    *,
    input_dim: int,
    n_classes: int,
    has_regression: bool,
    lookback: int | None = None,
    columns: Columns | None = None,
) -> NetworkConfig:
    """Return the network's configuration for the parameters of a full configuration.

    Args:
        params: the full configuration.
        input_dim: number of channels of a window.
        n_classes, has_regression: see :class:`.NetworkConfig`.
        lookback: number of bars of a window, see :meth:`.Family.config`.
        columns: channels of the groups of features that the configuration may leave out; None: there are no groups.
    """
    if is_linear(params):
        return LinearConfig(input_dim, n_classes, has_regression, int(params[STEPS]))
    chosen, family = chosen_columns(params, input_dim, columns or {}), family_of(params)
    window_norm = value_of(WINDOW_NORM, params, INPUTS)
    inputs = len(chosen) * (PER_CHANNEL if window_norm else 1)
    network = family.config(
        params, input_dim=inputs, n_classes=n_classes, has_regression=has_regression, lookback=lookback
    )
    if len(chosen) == input_dim and not window_norm:
        return network
    return InputsConfig(input_dim, n_classes, has_regression, network, chosen, window_norm)
