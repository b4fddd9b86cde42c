"""Hyperparameters of networks and of training, and the conversion between their readable form and their form in ``study.db``."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, cast

from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.models.base import Family
from cnn_lstm_hyperopt.models.inputs import OWN_FLAG, is_own_flag
from cnn_lstm_hyperopt.models.inputs import PARAMETERS as INPUTS
from cnn_lstm_hyperopt.models.linear import LINEAR_PARAMETERS, is_linear
from cnn_lstm_hyperopt.models.own.family import OwnFamily
from cnn_lstm_hyperopt.models.registry import (
    DEFAULT_FAMILY,
    FAMILIES,
    FAMILY,
    family_named,
    family_of,
    import_family,
    parameters_of,
)
from cnn_lstm_hyperopt.space import parsing
from cnn_lstm_hyperopt.space.domains import Choices, Fixed, FloatRange, Scalar, encode
from cnn_lstm_hyperopt.space.parameters import FLAG, ParameterSpec, Params, value_of
from cnn_lstm_hyperopt.space.search_space import FAMILY as FAMILY_KEY
from cnn_lstm_hyperopt.space.search_space import SearchSpace
from cnn_lstm_hyperopt.space.values import SpaceError
from cnn_lstm_hyperopt.utils.registry import declared
from cnn_lstm_hyperopt.utils.text import shown, shown_name

_TRAINING: dict[str, ParameterSpec] = {
    "training.learning_rate": ParameterSpec("log_float", FloatRange(1e-5, 1e-2, log=True), low=1e-8, high=10.0),
    "training.batch_size": ParameterSpec("choice", Choices((16, 32, 64, 128)), low=1, high=65536),
    "training.weight_decay": ParameterSpec("log_float", FloatRange(1e-6, 1e-3, log=True), low=0.0, high=1.0),
    "training.optimizer": ParameterSpec(
        "choice",
        Choices(("adam", "adamw", "sgd", "rmsprop")),
        options=tuple(sorted(declared("training/optimizers"))),
    ),
    "training.scheduler": ParameterSpec(
        "choice",
        Choices(("cosine", "step", "exponential", "plateau")),
        options=tuple(sorted(declared("training/schedules"))),
    ),
    "training.gradient_clip": ParameterSpec("float", FloatRange(0.5, 5.0), low=1e-3, high=1e6),
    "regularization.l1_switch": ParameterSpec("flag", FLAG),
    "regularization.l1": ParameterSpec(
        "log_float",
        FloatRange(1e-7, 1e-3, log=True),
        low=0.0,
        high=1.0,
        when={"regularization.l1_switch": (True,)},
        from_zero=1e-7,
        unused=0.0,
    ),
    "regularization.l2": ParameterSpec("log_float", FloatRange(1e-6, 1e-3, log=True), low=0.0, high=1.0),
    "regularization.dropout_schedule": ParameterSpec(
        "choice", Choices(("constant", "linear", "cosine")), options=("constant", "linear", "cosine")
    ),
    "regularization.label_smoothing": ParameterSpec("float", FloatRange(0.0, 0.2), low=0.0, high=0.9),
    "multi_task.balancing": ParameterSpec(
        "choice",
        Choices(("fixed", "dynamic", "uncertainty")),
        options=("fixed", "dynamic", "uncertainty"),
        one_task="fixed",
    ),
    "multi_task.classification_weight": ParameterSpec(
        "float",
        FloatRange(0.3, 0.8),
        low=0.0,
        high=1.0,
        when={"multi_task.balancing": ("fixed", "dynamic")},
        unused=0.5,
        one_task=1.0,
    ),
    "augmentation.switch": ParameterSpec("flag", Fixed(False)),
    "augmentation.jitter": ParameterSpec(
        "float", FloatRange(0.0, 0.1), low=0.0, high=10.0, when={"augmentation.switch": (True,)}, unused=0.0
    ),
    "augmentation.scaling": ParameterSpec(
        "float", FloatRange(0.0, 0.2), low=0.0, high=10.0, when={"augmentation.switch": (True,)}, unused=0.0
    ),
    "augmentation.time_masking": ParameterSpec(
        "float", FloatRange(0.0, 0.3), low=0.0, high=1.0, when={"augmentation.switch": (True,)}, unused=0.0
    ),
    "augmentation.mixup": ParameterSpec(
        "float", FloatRange(0.0, 0.4), low=0.0, high=10.0, when={"augmentation.switch": (True,)}, unused=0.0
    ),
}

_FIELD = f"search_space.{FAMILY_KEY}"


def specs_of(families: Iterable[Family]) -> dict[str, ParameterSpec]:
    """Return the specification of each parameter of a study of these families, by name.

    If a parameter depends on another parameter, it comes after the other.
    """
    return {**parameters_of(families), **INPUTS, **_TRAINING}


PARAMETERS: dict[str, ParameterSpec] = specs_of([FAMILIES[DEFAULT_FAMILY]])
"""Specification of each parameter of a study of the default family, by name."""


def parse_space(raw: Mapping[str, Any] | None) -> tuple[SearchSpace, list[SpaceError]]:
    """Read a search space from its YAML form; see :func:`.parsing.parse_space`.

    The key ``family`` has the name of a family, or a list of names. It determines the parameters. Groups of the package's other
    families are checked and have no effect, so a file may have groups of several families.
    """
    given = dict(raw or {})
    try:
        families = _families(given.pop(FAMILY_KEY, DEFAULT_FAMILY))
    except SpaceError as error:
        return SearchSpace.of(PARAMETERS), [error]
    ignored = _errors_of_others(given, families)
    names = tuple(family.name for family in families)
    if names == (DEFAULT_FAMILY,):
        space, errors = parsing.parse_space(given, PARAMETERS)
    else:
        space, errors = parsing.parse_space(given, specs_of(families))
        space = replace(space, families=names)
    return space, ignored + errors


def _errors_of_others(given: dict[str, Any], families: Iterable[Family]) -> list[SpaceError]:
    """Remove the groups of families that are not searched from a search space in YAML. Return the errors in these groups."""
    used = set(_groups(specs_of(families)))
    errors: list[SpaceError] = []
    for family in FAMILIES.values():
        groups = {name: given.pop(name) for name in _groups(family.parameters) if name in given and name not in used}
        if groups:
            errors += parsing.parse_space(groups, specs_of([family]))[1]
    return errors


def _groups(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name.partition(".")[0] for name in names))


def _families(raw: Any) -> list[Family]:
    """Return the families in a search space in YAML. Import the modules of users' families."""
    given = raw if isinstance(raw, list) else [raw]
    found: list[Family] = []
    for name in given:
        if isinstance(name, OwnFamily):
            name = name.reference
        if not isinstance(name, str) or not name:
            text = f"{_FIELD} must be {', '.join(FAMILIES)}, your own module:name, or a list, but got {shown(raw)}"
            raise SpaceError(text, "not-a-family", _FIELD)
        try:
            family = import_family(name)
        except ConfigError as error:
            raise SpaceError(str(error), error.code, _FIELD) from error
        label = family.label if isinstance(family, OwnFamily) else ""
        taken = {name.partition(".")[0] for specs in (INPUTS, _TRAINING) for name in specs}
        taken |= {name.partition(".")[0] for other in (*FAMILIES.values(), *found) for name in other.parameters}
        if label in taken or family in found:
            text = f"{_FIELD} {shown_name(name)}: the name {label or shown_name(name)} is taken; use another name"
            raise SpaceError(text, "family-name-taken", _FIELD)
        found.append(family)
    if not found:
        raise SpaceError(
            f"{_FIELD} must name at least one family; choose from {', '.join(FAMILIES)}", "no-family", _FIELD
        )
    return found


@lru_cache(maxsize=64)
def _specs_of_family(family: Hashable) -> Mapping[str, ParameterSpec]:
    return specs_of([cast("Family", family)])


def typed_group(group: str, params: Params) -> dict[str, Any]:
    """Return the parameters of one group of a full configuration as typed values. The keys are the names without the group.

    Raises:
        ConfigError: a parameter that the configuration must have is missing.
    """
    names = [name for name in PARAMETERS if name.startswith(f"{group}.")]
    return {name.partition(".")[2]: value_of(name, params, PARAMETERS) for name in names}


def params_errors(params: Mapping[str, Any]) -> list[SpaceError]:
    """Return the errors of a configuration in readable form. Parameters of the training may be missing without an error."""
    if is_linear(params):
        return parsing.params_errors(params, LINEAR_PARAMETERS, LINEAR_PARAMETERS)
    try:
        family = family_named(str(params.get(FAMILY, DEFAULT_FAMILY)))
    except ConfigError as error:
        return [SpaceError(f"{FAMILY} {error}", error.code, FAMILY)]
    own = {name: OWN_FLAG for name in params if is_own_flag(str(name))}
    specs = {**_specs_of_family(cast("Hashable", family)), **own}
    return parsing.params_errors(params, parameters_of([family]), specs)


def readable(params: Params) -> dict[str, Any]:
    """Convert parameters from their stored form to their readable form. Only filter sizes differ: they become a list."""
    specs = LINEAR_PARAMETERS if is_linear(params) else _specs_of_family(cast("Hashable", family_of(params)))
    return {name: value if is_own_flag(name) else specs[name].readable(value) for name, value in params.items()}


def stored(params: Mapping[str, Any]) -> dict[str, Scalar]:
    """Convert parameters from their readable form to the form in ``study.db``.

    Filter sizes become text. The inverse is :func:`readable`.
    """
    return {name: encode(value) for name, value in params.items()}
