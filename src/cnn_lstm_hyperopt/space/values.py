"""Functions that read a parameter's value, or the short or long form of a parameter's domain, from YAML."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnn_lstm_hyperopt.errors import Violation
from cnn_lstm_hyperopt.space.domains import Choices, Domain, Fixed, FloatRange, IntRange, Scalar, encode
from cnn_lstm_hyperopt.space.parameters import ParameterSpec
from cnn_lstm_hyperopt.utils.text import did_you_mean, shown

MAX_CHOICES, MAX_SIZES = 64, 16
_LARGEST = 1e308


class SpaceError(ValueError):
    """Error: a value or a domain violates a rule of the search space.

    Attributes:
        violations: field and code of each violated rule, as in :class:`.HyperoptError`.
    """

    def __init__(self, text: str, code: str = "", field: str = "", violations: Sequence[Violation] = ()) -> None:
        super().__init__(text)
        self.violations = tuple(violations) or (Violation(field, code),)

    def at(self, field: str) -> "SpaceError":
        """Return the same error with ``field``, the name of the parameter, at the beginning of the text."""
        return SpaceError(f"{field} {self}", violations=[Violation(field, each.code) for each in self.violations])


def parse_domain(spec: ParameterSpec, raw: Any) -> Domain:
    """Return the domain that ``raw``, a short or long YAML form, describes.

    Raises:
        SpaceError: the form violates a rule; the caller puts the parameter's name before the text.
    """
    if isinstance(raw, Mapping):
        keys = set(raw)
        if keys == {"fixed"}:
            return Fixed(parse_value(spec, raw["fixed"]))
        if keys == {"choices"}:
            return _choices(spec, raw["choices"])
        if {"low", "high"} <= keys <= {"low", "high", "log"}:
            return _range(spec, raw["low"], raw["high"], raw.get("log", spec.kind == "log_float"))
        forms = "{low, high, log}, {choices: [...]} or {fixed: value}"
        raise SpaceError(f"must be {forms}, but has the keys {shown(sorted(map(str, keys)))}", "domain-keys")
    if isinstance(raw, list):
        if spec.kind == "int" and len(raw) > 2:
            return _listed(spec, raw)
        if spec.kind in ("int", "float", "log_float"):
            if len(raw) != 2:
                text = f"must be [low, high], but got {shown(raw)}; for single values use {{choices: [...]}}"
                raise SpaceError(text, "not-a-range")
            return _range(spec, raw[0], raw[1], spec.kind == "log_float")
        if spec.kind == "sizes" and raw and not isinstance(raw[0], list):
            raise SpaceError(f"must be a list of lists such as [[3, 5, 7]], but got {shown(raw)}", "not-lists-of-sizes")
        return _choices(spec, raw)
    return Fixed(parse_value(spec, raw))


def _listed(spec: ParameterSpec, raw: list[Any]) -> Domain:
    """Return the domain of a YAML list. For integers, ``[1, 2, 3, 4]`` is the range 1 to 4; ``[1, 2, 4]`` are 3 choices."""
    choices = _choices(spec, raw)
    numbers = [int(value) for value in choices.values] if isinstance(choices, Choices) else []
    if numbers and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return IntRange(numbers[0], numbers[-1])
    return choices


def _choices(spec: ParameterSpec, raw: Any) -> Domain:
    if not isinstance(raw, list) or not raw:
        raise SpaceError(f"needs a list with at least one choice, but got {shown(raw)}", "no-choices")
    if len(raw) > MAX_CHOICES:
        raise SpaceError(f"has {len(raw)} choices; {MAX_CHOICES} at most", "too-many-choices")
    values = tuple(parse_value(spec, item) for item in raw)
    if len(set(values)) != len(values):
        raise SpaceError(f"has a choice twice: {shown(raw)}", "duplicate-choice")
    return Choices(values) if len(values) > 1 else Fixed(values[0])


def _range(spec: ParameterSpec, low: Any, high: Any, log: Any) -> Domain:
    if spec.kind in ("flag", "sizes") or spec.options:
        raise SpaceError("has no range; give a list of choices", "no-range")
    if not isinstance(log, bool):
        raise SpaceError(f"log must be true or false, but got {shown(log)}", "log-not-boolean")
    lowest, highest = parse_value(spec, low), parse_value(spec, high)
    if isinstance(lowest, str) or isinstance(highest, str) or lowest > highest:
        raise SpaceError(f"must have low ≤ high, but got low={shown(low)}, high={shown(high)}", "low-above-high")
    if log and lowest == 0 and spec.from_zero is not None and highest > spec.from_zero:
        lowest = spec.from_zero
    if log and lowest <= 0:
        text = f"is a log range and needs low > 0, but got low={shown(low)}; use log: false to start at 0"
        raise SpaceError(text, "log-range-from-zero")
    if lowest == highest:
        return Fixed(lowest)
    if spec.kind in ("int", "choice"):
        return IntRange(int(lowest), int(highest), log)
    return FloatRange(float(lowest), float(highest), log)


def parse_value(spec: ParameterSpec, raw: Any) -> Scalar:
    """Return the stored form of ``raw``, a parameter value from YAML.

    Raises:
        SpaceError: the value violates a rule; the caller puts the parameter's name before the text.
    """
    if spec.kind == "flag":
        if not isinstance(raw, bool):
            raise SpaceError(f"must be true or false, but got {shown(raw)}", "not-a-boolean")
        return raw
    if spec.options:
        if raw not in spec.options:
            text = f"must be one of {', '.join(spec.options)}, but got {shown(raw)}{did_you_mean(raw, spec.options)}"
            raise SpaceError(text, "unknown-option")
        return encode(raw)
    if spec.kind == "sizes":
        if not isinstance(raw, list) or not raw:
            text = f"must be a list of filter sizes such as [3, 5, 7], but got {shown(raw)}"
            raise SpaceError(text, "not-filter-sizes")
        if len(raw) > MAX_SIZES:
            raise SpaceError(f"has {len(raw)} filter sizes at once; {MAX_SIZES} at most", "too-many-sizes")
        sizes = [_number(spec, item, whole=True) for item in raw]
        if any(size % 2 == 0 for size in sizes):
            raise SpaceError(f"must be odd filter sizes (centred on a bar), but got {shown(raw)}", "even-filter-size")
        return encode(sizes)
    return _number(spec, raw, whole=spec.kind in ("int", "choice"))


def _number(spec: ParameterSpec, raw: Any, *, whole: bool) -> int | float:
    # YAML 1.1 reads 1e-5 (without a dot) as text. Python's float() would also accept 1_0 and non-ASCII digits.
    if isinstance(raw, str) and raw.isascii() and "_" not in raw:
        try:
            raw = float(raw)
        except ValueError:
            raise SpaceError(f"must be a number, but got {shown(raw)}", "not-a-number") from None
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not -_LARGEST < raw < _LARGEST:  # also refuses NaN
        raise SpaceError(f"must be a number, but got {shown(raw)}", "not-a-number")
    if whole and raw != int(raw):
        raise SpaceError(f"must be a whole number, but got {shown(raw)}", "not-an-integer")
    low, high = spec.low, spec.high
    if (low is not None and not raw >= low) or (high is not None and not raw <= high):
        raise SpaceError(f"must lie between {low:g} and {high:g}, but got {shown(raw)}", "out-of-range")
    return int(raw) if whole else float(raw)
