"""Domains: the set of values that one hyperparameter may take."""

from dataclasses import dataclass
from typing import Any

Scalar = bool | int | float | str
"""What a study stores as the value of a parameter. A list (filter sizes) is stored as ``"3-5-7"``."""


@dataclass(frozen=True)
class Choices:
    """One of a few values without order."""

    values: tuple[Scalar, ...]

    def contains(self, value: Scalar) -> bool:
        """Whether ``value`` is one of the choices."""
        return value in self.values


@dataclass(frozen=True)
class IntRange:
    """Whole numbers in [low, high], both included."""

    low: int
    high: int
    log: bool = False

    def contains(self, value: Scalar) -> bool:
        """Whether ``value`` is a whole number within the bounds."""
        return isinstance(value, int) and self.low <= value <= self.high


@dataclass(frozen=True)
class FloatRange:
    """Real numbers in [low, high], uniform or uniform in the logarithm."""

    low: float
    high: float
    log: bool = False

    def contains(self, value: Scalar) -> bool:
        """Whether ``value`` is within the bounds."""
        return isinstance(value, (int, float)) and self.low <= value <= self.high


@dataclass(frozen=True)
class Fixed:
    """One value: the parameter is set and not searched."""

    value: Scalar

    def contains(self, value: Scalar) -> bool:
        """Whether ``value`` is the fixed one."""
        return value == self.value


Domain = Choices | IntRange | FloatRange | Fixed


def encode(value: Any) -> Scalar:
    """A value as it is stored: lists of whole numbers become ``"3-5-7"``, since Optuna stores scalars only."""
    if isinstance(value, (list, tuple)):
        return "-".join(str(item) for item in value)
    scalar: Scalar = value
    return scalar


def decode_sizes(text: str) -> tuple[int, ...]:
    """The inverse of :func:`encode` for lists: ``"3-5-7"`` → ``(3, 5, 7)``."""
    return tuple(int(item) for item in text.split("-"))


def domain_text(domain: Domain) -> str:
    """In a few characters: ``{32, 64}``, ``[0.1, 0.5]``, ``= 0.1``."""
    if isinstance(domain, Fixed):
        return f"= {domain.value}"
    if isinstance(domain, Choices):
        return "{" + ", ".join(map(str, domain.values)) + "}"
    return f"[{domain.low:g}, {domain.high:g}]"
