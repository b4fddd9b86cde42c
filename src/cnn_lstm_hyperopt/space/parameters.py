"""Specifications of hyperparameters (kind, default domain, condition and rule), and functions that return typed values.

The *kind* of a parameter determines what a short list in YAML means. For example, ``num_layers: [1, 4]`` is an integer range,
``num_filters: [32, 64]`` are choices, and ``learning_rate: [1e-5, 1e-2]`` is a log range. The long forms
``{low: 1e-5, high: 1e-2, log: true}``, ``{choices: [...]}`` and ``{fixed: 0.1}`` are valid for all kinds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.space.domains import Choices, Domain, Scalar, decode_sizes

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Params = Mapping[str, Scalar]
"""Mapping of the names of active parameters to their stored values."""

Kind = Literal["choice", "int", "float", "log_float", "flag", "sizes"]
FLAG = Choices((False, True))
T = TypeVar("T", bound="DataclassInstance")


@dataclass(frozen=True)
class Width:
    """A width that a number of attention heads must divide.

    Attributes:
        parameters: names of the parameters that determine the width. In the space, these parameters come before the number of
            heads.
        of: function that returns the width; its arguments are the typed values of ``parameters``, in this order.
    """

    parameters: tuple[str, ...]
    of: Callable[..., int]


@dataclass(frozen=True)
class ParameterSpec:
    """Specification of a parameter.

    Attributes:
        kind: kind of the parameter, which determines the meaning of a short YAML list and the legal values.
        default: default domain.
        low, high: lower and upper bound of legal values (both included); a wider YAML range is an error.
        options: legal values of a parameter of kind ``choice`` whose values are names.
        when: for each parent (by name), the values with which this parameter can be active. The parameter is active only if each
            parent has one of these values. Parents come before the parameters that depend on them.
        from_zero: lower bound that replaces low = 0 in a log range; a separate switch parameter selects the value 0 itself.
        divides: width that a number of attention heads must divide; None for other parameters.
        unused: value that is used while the parameter is inactive; None if no code reads an inactive parameter.
        one_task: fixed value in studies without a regression target; None if such studies search the parameter, too.
        earlier: value in studies and models of earlier versions, which lack the parameter. The value gives exactly the networks
            of these versions; a parameter that is inactive there may have any value. None if all versions have the parameter.
        full: default domain in a search space of the architecture ``full``; None: the same domain as ``default``.
    """

    kind: Kind
    default: Domain
    low: float | None = None
    high: float | None = None
    options: tuple[str, ...] = ()
    when: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    from_zero: float | None = None
    divides: Width | None = None
    unused: Scalar | None = None
    one_task: Scalar | None = None
    earlier: Scalar | None = None
    full: Domain | None = None

    def domain(self, architecture: str) -> Domain:
        """Return the default domain in a search space of the architecture ``classic`` or ``full``."""
        return self.full if architecture == "full" and self.full is not None else self.default

    def exists(self, params: Params) -> bool:
        """Return whether the parameter is active in a configuration with these values of its parents."""
        return not self.when or all(params.get(parent) in values for parent, values in self.when.items())

    def typed(self, value: Scalar) -> Any:
        """Return a stored value in the Python type of the parameter, such as a tuple for filter sizes."""
        if self.kind == "sizes":
            return decode_sizes(str(value))
        if self.kind == "flag":
            return bool(value)
        if self.options:
            return str(value)
        return float(value) if self.kind in ("float", "log_float") else int(value)

    def readable(self, value: Scalar) -> Any:
        """Return a stored value as it is written in YAML. Filter sizes become a list; other values stay unchanged."""
        return list(decode_sizes(str(value))) if self.kind == "sizes" else value


Specs = Mapping[str, ParameterSpec]
"""Mapping of parameter names to specifications; parents come before the parameters that depend on them."""


def value_of(name: str, params: Params, specs: Specs) -> Any:
    """Return the typed value of a parameter in a full configuration.

    An inactive parameter, such as ``regularization.l1`` without its switch, has the value ``unused`` of its specification. A
    missing parameter has the value ``earlier`` of its specification.

    Raises:
        ConfigError: an active parameter is missing.
    """
    spec = specs[name]
    if not spec.exists(params):
        return spec.unused
    if name not in params:
        if spec.earlier is not None:
            return spec.typed(spec.earlier)
        raise ConfigError(
            f"{name} is missing from the configuration; give it a value", field=name, code="missing-parameter"
        )
    return spec.typed(params[name])


def read_group(cls: type[T], group: str, params: Params, specs: Specs) -> T:
    """Return an instance of ``cls``, whose fields are the parameters of a group, with the values of a full configuration.

    Raises:
        ConfigError: an active parameter is missing.
    """
    return cls(**{field_name: value_of(name, params, specs) for field_name, name in _names(cls, group)})


@cache
def _names(cls: type["DataclassInstance"], group: str) -> list[tuple[str, str]]:
    """Return the name of each field of a class, and the name of its parameter."""
    return [(each.name, f"{group}.{each.name}") for each in fields(cls)]
