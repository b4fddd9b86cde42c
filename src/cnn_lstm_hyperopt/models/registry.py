"""Registry of network families. To add a family, add a package to ``models`` and a line to this file.

Users register their own families with :func:`.register_family`; their names have the form ``module:name``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.models.base import Family, NetworkConfig
from cnn_lstm_hyperopt.models.cnn_lstm.family import CnnLstmFamily
from cnn_lstm_hyperopt.models.inputs import PARAMETERS as INPUTS
from cnn_lstm_hyperopt.models.inputs import PER_CHANNEL, STANDARDISE, WINDOW_NORM, Columns, InputsConfig, chosen_columns
from cnn_lstm_hyperopt.models.linear import FAMILY, STEPS, LinearConfig, is_linear
from cnn_lstm_hyperopt.models.own.family import families_in, registered
from cnn_lstm_hyperopt.models.tcn.family import TcnFamily
from cnn_lstm_hyperopt.space.domains import Choices, Fixed
from cnn_lstm_hyperopt.space.parameters import ParameterSpec, Params, value_of
from cnn_lstm_hyperopt.utils.own_modules import import_own_module
from cnn_lstm_hyperopt.utils.text import did_you_mean, shown_name, shown_names

_MEMBERS: tuple[Family, ...] = (CnnLstmFamily(), TcnFamily())

FAMILIES: Mapping[str, Family] = {family.name: family for family in _MEMBERS}
"""The package's families by name; the first family is the default."""
DEFAULT_FAMILY = next(iter(FAMILIES))
_MAX_CONFIGURATIONS = 25
"""Maximum number of configurations that :func:`size_parameters` reads."""
_SETTING = "search_space.family"
__all__ = [
    "DEFAULT_FAMILY",
    "FAMILIES",
    "FAMILY",
    "family_named",
    "family_of",
    "import_family",
    "network_config",
    "parameters_of",
    "size_parameters",
]


def parameters_of(families: Iterable[Family]) -> dict[str, ParameterSpec]:
    """Return the parameters of all families.

    The parameter :data:`FAMILY` is the name of the family. The default family alone does not have this parameter. If there are
    several families, its value selects the family whose parameters are active.
    """
    chosen = tuple(families)
    names = tuple(family.name for family in chosen)
    if names == (DEFAULT_FAMILY,):
        return dict(chosen[0].parameters)
    several = len(names) > 1
    domain = Choices(names) if several else Fixed(names[0])
    found = {FAMILY: ParameterSpec("choice", domain, options=names)}
    for family in chosen:
        for name, spec in family.parameters.items():
            found[name] = replace(spec, when={FAMILY: (family.name,), **spec.when}) if several else spec
    return found


def family_named(name: str) -> Family:
    """Return a family of the package, or a registered family, by its name in configurations.

    Raises:
        ConfigError: there is no such family in this process.
    """
    family: Family | None = FAMILIES.get(name) or registered().get(name)
    if family is None:
        raise _unknown_family(name)
    return family


def import_family(name: str) -> Family:
    """Return the family with this name. Import the module of a user's family, unless the family is registered already.

    The name of a registered family may omit its module, if it is unique.

    Raises:
        ConfigError: there is no such family, or its module can't be imported.
    """
    labelled = [family for family in registered().values() if family.label == name]
    if name not in FAMILIES and len(labelled) == 1:
        return labelled[0]
    module, _, label = name.partition(":")
    if name in FAMILIES or name in registered() or not label:
        return family_named(name)

    def error(text: str, code: str) -> ConfigError:
        return ConfigError(f"{_SETTING} {shown_name(name)}{text}", field=_SETTING, code=code)

    import_own_module(module, error)
    if name not in registered():
        own = list(families_in(module))
        found = f"it registers: {shown_names(own)}" if own else f"call register_family({label!r}, ...) in it"
        raise error(f": the module {shown_name(module)} registers no family {shown_name(label)}; {found}", "no-family")
    return registered()[name]


def _unknown_family(name: str) -> ConfigError:
    shown, module = shown_name(name), shown_name(name.partition(":")[0])
    if ":" in name:
        text = f"{shown} is not registered in this process; name it with --family {shown} (in Python: import {module} first)"
    else:
        known = [*FAMILIES, *registered()]
        text = f"{shown} is no family of networks; choose from {', '.join(known)}, or name your own as module:name"
        text += did_you_mean(name, known)
    return ConfigError(f"{_SETTING} {text}", field=_SETTING, code="unknown-family")


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
    return family_named(str(params.get(FAMILY, DEFAULT_FAMILY)))


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
    window_norm, standardise = (value_of(name, params, INPUTS) for name in (WINDOW_NORM, STANDARDISE))
    inputs = len(chosen) * (PER_CHANNEL if window_norm else 1)
    network = family.config(
        params, input_dim=inputs, n_classes=n_classes, has_regression=has_regression, lookback=lookback
    )
    if len(chosen) == input_dim and not window_norm and not standardise:
        return network
    return InputsConfig(input_dim, n_classes, has_regression, network, chosen, window_norm, standardise)
