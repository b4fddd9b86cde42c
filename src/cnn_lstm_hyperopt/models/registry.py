"""Registry of network families. To add a family, add a package to ``models`` and a line to this file."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from cnn_lstm_hyperopt.models.base import Family, NetworkConfig
from cnn_lstm_hyperopt.models.cnn_lstm.family import CnnLstmFamily
from cnn_lstm_hyperopt.space.domains import Fixed
from cnn_lstm_hyperopt.space.parameters import ParameterSpec, Params

_MEMBERS: tuple[Family, ...] = (CnnLstmFamily(),)

FAMILIES: Mapping[str, Family] = {family.name: family for family in _MEMBERS}
"""Families by name; the first family is the default."""
FAMILY = "model.family"
"""Name of the parameter that selects a configuration's family; the parameter exists if there are several families."""


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


def family_of(params: Params) -> Family:
    """Return the family of a full configuration."""
    return FAMILIES[str(params.get(FAMILY, next(iter(FAMILIES))))]


def network_config(
    params: Params, *, input_dim: int, n_classes: int, has_regression: bool, lookback: int | None = None
) -> NetworkConfig:
    """Return the network's configuration for the parameters of a full configuration; see :meth:`.Family.config`."""
    family = family_of(params)
    return family.config(
        params, input_dim=input_dim, n_classes=n_classes, has_regression=has_regression, lookback=lookback
    )
