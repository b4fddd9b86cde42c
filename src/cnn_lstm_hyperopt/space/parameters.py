"""What one hyperparameter is: its kind, default domain, condition and rule; and a configuration's values with their types.

A parameter's *kind* decides what a short list in YAML means: ``num_layers: [1, 4]`` is a range of whole numbers,
``num_filters: [32, 64]`` are choices, ``learning_rate: [1e-5, 1e-2]`` is a log range. The long forms
``{low: 1e-5, high: 1e-2, log: true}``, ``{choices: [...]}`` and ``{fixed: 0.1}`` always work.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.space.domains import Choices, Domain, Scalar, decode_sizes

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Params = Mapping[str, Scalar]
"""Parameter name → stored value, active parameters only."""

Kind = Literal["choice", "int", "float", "log_float", "flag", "sizes"]
FLAG = Choices((False, True))
T = TypeVar("T", bound="DataclassInstance")


@dataclass(frozen=True)
class Width:
    """A number that a head count must divide.

    Attributes:
        parameters: names of those that it follows from; they stand before the head count.
        of: their values, with their types and in this order → the width.
    """

    parameters: tuple[str, ...]
    of: Callable[..., int]


@dataclass(frozen=True)
class ParameterSpec:
    """What a parameter is.

    Attributes:
        kind: decides how YAML's short list is read and which values are legal.
        default: the specification's range.
        low, high: the values that make sense at all (both included); a wider YAML range is an error.
        options: the legal names of a ``choice`` of names.
        when: parent → values: the parameter exists only where each parent has one of these values; a parent stands before it.
        from_zero: where a log range that is written as starting at 0 really starts; 0 itself is what its switch gives.
        divides: the width that this one must divide (head counts).
        unused: value in effect where a conditional parameter does not exist; None: nothing reads it there.
        one_task: value in a study of data without a regression target, which does not search the parameter; None: such a
            study searches it like any other.
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

    def exists(self, params: Params) -> bool:
        """Whether a configuration with these parents has the parameter."""
        return all(params.get(parent) in values for parent, values in self.when.items())

    def typed(self, value: Scalar) -> Any:
        """A stored value with its type: filter sizes as a tuple, the rest as what Python calls it."""
        if self.kind == "sizes":
            return decode_sizes(str(value))
        if self.kind == "flag":
            return bool(value)
        if self.options:
            return str(value)
        return float(value) if self.kind in ("float", "log_float") else int(value)

    def readable(self, value: Scalar) -> Any:
        """A stored value as people write it: filter sizes as a list, the rest as it is."""
        return list(decode_sizes(str(value))) if self.kind == "sizes" else value


Specs = Mapping[str, ParameterSpec]
"""Parameter name → what it is, a parent before the parameters that depend on it."""


def value_of(name: str, params: Params, specs: Specs) -> Any:
    """The value of a parameter in a full configuration, with its type.

    One that does not exist there (``regularization.l1`` without its switch) has the ``unused`` value of its specification.

    Raises:
        ConfigError: the configuration lacks the parameter, although it exists.
    """
    spec = specs[name]
    if not spec.exists(params):
        return spec.unused
    if name not in params:
        raise ConfigError(
            f"{name} is missing from the configuration; give it a value", field=name, code="missing-parameter"
        )
    return spec.typed(params[name])


def read_group(cls: type[T], group: str, params: Params, specs: Specs) -> T:
    """A dataclass whose fields are parameters of a group, from a full configuration; raises as :func:`value_of`."""
    return cls(**{each.name: value_of(f"{group}.{each.name}", params, specs) for each in fields(cls)})
