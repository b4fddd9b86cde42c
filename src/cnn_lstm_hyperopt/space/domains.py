"""Domains: a domain is the set of values that a hyperparameter may have."""

from dataclasses import dataclass
from typing import Any

Scalar = bool | int | float | str
"""Type of a parameter's stored value. A list of filter sizes is stored as text, such as ``"3-5-7"``."""


@dataclass(frozen=True)
class Choices:
    """Domain of unordered values."""

    values: tuple[Scalar, ...]

    def contains(self, value: Scalar) -> bool:
        """Return whether ``value`` is one of the choices."""
        return value in self.values


@dataclass(frozen=True)
class IntRange:
    """Domain of the integers from ``low`` to ``high``, both included, on a linear or log scale."""

    low: int
    high: int
    log: bool = False

    def contains(self, value: Scalar) -> bool:
        """Return whether ``value`` is an integer within the bounds."""
        return isinstance(value, int) and self.low <= value <= self.high


@dataclass(frozen=True)
class FloatRange:
    """Domain of the real numbers in [low, high], on a linear or log scale."""

    low: float
    high: float
    log: bool = False

    def contains(self, value: Scalar) -> bool:
        """Return whether ``value`` is within the bounds."""
        return isinstance(value, (int, float)) and self.low <= value <= self.high


@dataclass(frozen=True)
class Fixed:
    """Domain with a single value; the parameter is not searched."""

    value: Scalar

    def contains(self, value: Scalar) -> bool:
        """Return whether ``value`` is the fixed value."""
        return value == self.value


Domain = Choices | IntRange | FloatRange | Fixed


def largest(domain: Domain) -> float:
    """Return the largest value of a domain of numbers."""
    match domain:
        case Choices():
            return max(float(value) for value in domain.values)
        case Fixed():
            return float(domain.value)
        case _:
            return float(domain.high)


def encode(value: Any) -> Scalar:
    """Return a value as it is stored. A list of integers becomes text (``"3-5-7"``), since Optuna stores only scalars."""
    if isinstance(value, (list, tuple)):
        return "-".join(str(item) for item in value)
    scalar: Scalar = value
    return scalar


def decode_sizes(text: str) -> tuple[int, ...]:
    """Return the integers of a list that is stored as text: ``(3, 5, 7)`` for ``"3-5-7"``; the inverse of :func:`encode`."""
    return tuple(int(item) for item in text.split("-"))


def domain_text(domain: Domain) -> str:
    """Return a domain as short text: ``{32, 64}``, ``[0.1, 0.5]``, ``= 0.1``."""
    if isinstance(domain, Fixed):
        return f"= {domain.value}"
    if isinstance(domain, Choices):
        return "{" + ", ".join(map(str, domain.values)) + "}"
    return f"[{domain.low:g}, {domain.high:g}]"
