"""The search space, which determines the domains of all parameters, and which parameters are active or searched."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from cnn_lstm_hyperopt.space.domains import Choices, Domain, Fixed, IntRange, Scalar
from cnn_lstm_hyperopt.space.parameters import ParameterSpec, Params, Specs, value_of
from cnn_lstm_hyperopt.space.values import SpaceError, parse_value
from cnn_lstm_hyperopt.utils.text import did_you_mean, shown

FAMILY = "family"
"""Key of a search space in YAML that names the families of networks."""
ARCHITECTURE = "architecture"
"""Key of a search space in YAML that selects one of :data:`ARCHITECTURES`."""
Architecture = Literal["classic", "full"]
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
"""Architectures: names of the default domains of all parameters. The first architecture is the default."""


@dataclass(frozen=True)
class SearchSpace:
    """Domains of all parameters; parents come before the parameters that depend on them.

    Attributes:
        domains: domain of each parameter by name.
        specs: specification of each parameter by name.
        architecture: name of the default domains, one of :data:`ARCHITECTURES`.
        families: names of the families of networks; empty: the default family alone.
    """

    domains: Mapping[str, Domain]
    specs: Specs
    architecture: str = ARCHITECTURES[0]
    families: tuple[str, ...] = ()

    @classmethod
    def of(cls, specs: Specs, architecture: str = ARCHITECTURES[0]) -> "SearchSpace":
        """Return a space of these parameters with the default domains of an architecture."""
        return cls({name: spec.domain(architecture) for name, spec in specs.items()}, specs, architecture)

    def active(self, params: Params) -> Iterator[str]:
        """Yield the names of the parameters that are active with the parents' values in ``params``, in the order of the space.

        The iterator is lazy: the caller may add each value to ``params`` before the caller requests the next name.
        """
        for name in self.domains:
            if self.specs[name].exists(params):
                yield name

    def width(self, name: str, params: Params) -> int | None:
        """Return the width that a number of attention heads must divide in this configuration; None for other parameters."""
        width = self.specs[name].divides
        if width is None:
            return None
        return width.of(
            *(
                self.specs[parent].typed(params[parent]) if parent in params else value_of(parent, params, self.specs)
                for parent in width.parameters
            )
        )

    def legal(self, name: str, value: Scalar, params: Params) -> Scalar:
        """Return ``value``, or a legal number of attention heads if ``value`` is one that does not divide its width.

        The legal number is the largest number below ``value`` that divides the width or, if there is none, the smallest number
        that does.
        """
        width = self.width(name, params)
        if width is None or width % int(value) == 0:
            return value
        fitting = [int(choice) for choice in values_of(self.domains[name]) if width % int(choice) == 0]
        return max((choice for choice in fitting if choice <= int(value)), default=min(fitting))

    def value(self, name: str, raw: Any) -> Scalar:
        """Return the stored form of ``raw``, a parameter value from a file; the value must be in the parameter's domain.

        Raises:
            SpaceError: the value is not in the domain; the caller puts the parameter's name before the text.
        """
        spec, domain = self.specs[name], self.domains[name]
        # The domain's bounds are narrower than the parameter's bounds, so an error names the domain's bounds.
        value: Scalar = raw if spec.options else parse_value(replace(spec, low=None, high=None), raw)
        if domain.contains(value):
            return value
        match domain:
            case Fixed(fixed):
                rule, cure = f"be {_written(spec, fixed)}, to which the search space fixes it", "leave it out"
            case Choices(values):
                rule, cure = f"be one of {', '.join(_written(spec, choice) for choice in values)}", "change it"
            case _:
                rule, cure = f"lie between {domain.low:g} and {domain.high:g}", "change it"
        meant = did_you_mean(raw, [str(choice) for choice in values_of(domain)]) if spec.options else ""
        fix = meant or f"; {cure}, or widen search_space.{name}"
        raise SpaceError(f"must {rule}, but got {shown(raw)}{fix}", "outside-the-space")

    def searched(self) -> dict[str, Domain]:
        """Return the domains of the parameters that are not fixed and can be active, by name."""
        return {
            name: domain
            for name, domain in self.domains.items()
            if not isinstance(domain, Fixed) and self.possible(name)
        }

    def possible(self, name: str) -> bool:
        """Return whether the domains of a parameter's direct parents allow it to be active."""
        return all(
            any(self.domains[parent].contains(value) for value in values)
            for parent, values in self.specs[name].when.items()
        )

    def fixing(self, values: Params) -> "SearchSpace":
        """Return the space with the parameters in ``values`` fixed at these values."""
        return replace(self, domains={**self.domains, **{name: Fixed(value) for name, value in values.items()}})

    def for_one_task(self) -> "SearchSpace":
        """Return the space for data without a regression target; parameters that only matter with two losses are fixed."""
        return self.fixing({name: spec.one_task for name, spec in self.specs.items() if spec.one_task is not None})

    def of_earlier_version(self, lacking: Iterable[str]) -> "SearchSpace":
        """Return the space of a study of an earlier version, which lacks the parameters ``lacking``.

        A parameter that earlier versions did not have is fixed at the value that gives the networks of these versions, unless
        its domain differs from the default domain.
        """
        values: dict[str, Scalar] = {}
        for name in lacking:
            earlier = self.specs[name].earlier
            if earlier is not None and self.domains[name] == self.specs[name].domain(self.architecture):
                values[name] = earlier
        return self.fixing(values)

    def with_earlier(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return a full configuration with the values of searched parameters that its version did not have.

        Parameters that the space fixes are not added, because every configuration of the space has the fixed value.
        """
        full = dict(params)
        for name in self.active(full):
            if name not in full and self.specs[name].earlier is not None and not isinstance(self.domains[name], Fixed):
                full[name] = self.specs[name].earlier
        return full

    def as_dict(self) -> dict[str, Any]:
        """Return the space in its long YAML form, by group of parameters; :func:`.parse_space` reads this form."""
        groups: dict[str, Any] = {ARCHITECTURE: self.architecture}
        if self.families:
            groups[FAMILY] = self.families[0] if len(self.families) == 1 else list(self.families)
        for name, domain in self.domains.items():
            group, key = name.split(".")
            groups.setdefault(group, {})[key] = _long_form(self.specs[name], domain)
        return groups


def values_of(domain: Domain) -> list[Scalar]:
    """Return a list of all values of a finite domain."""
    if isinstance(domain, Choices):
        return list(domain.values)
    if isinstance(domain, IntRange):
        return list(range(domain.low, domain.high + 1))
    if isinstance(domain, Fixed):
        return [domain.value]
    raise ValueError("a range of real numbers has no list of values")


def _written(spec: ParameterSpec, value: Scalar) -> str:
    """Return a parameter value as written in YAML."""
    return str(value).lower() if isinstance(value, bool) else str(spec.readable(value))


def _long_form(spec: ParameterSpec, domain: Domain) -> Any:
    if isinstance(domain, Fixed):
        return {"fixed": spec.readable(domain.value)}
    if isinstance(domain, Choices):
        return {"choices": [spec.readable(value) for value in domain.values]}
    return {"low": domain.low, "high": domain.high, "log": domain.log}
