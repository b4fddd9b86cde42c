"""The search space: every hyperparameter's kind, default domain, condition and rule, and how YAML narrows it.

A parameter's *kind* decides what a short list in YAML means: ``num_layers: [1, 4]`` is a range of whole numbers,
``num_filters: [32, 64]`` are choices, ``learning_rate: [1e-5, 1e-2]`` is a log range. The long forms
``{low: 1e-5, high: 1e-2, log: true}``, ``{choices: [...]}`` and ``{fixed: 0.1}`` always work.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from cnn_lstm_hyperopt.config.domains import (
    Choices,
    Domain,
    Fixed,
    FloatRange,
    IntRange,
    Scalar,
    decode_sizes,
    encode,
)
from cnn_lstm_hyperopt.utils.registry import declared
from cnn_lstm_hyperopt.utils.text import did_you_mean, printable, shown

Params = Mapping[str, Scalar]
"""Parameter name → stored value, active parameters only."""

Kind = Literal["choice", "int", "float", "log_float", "flag", "sizes"]


@dataclass(frozen=True)
class ParameterSpec:
    """What a parameter is.

    Attributes:
        kind: decides how YAML's short list is read and which values are legal.
        default: the seed document's range.
        low, high: the values that make sense at all (both included); a wider YAML range is an error.
        options: the legal names of a ``choice`` of names.
        when: parent → values: the parameter exists only where each parent has one of these values; a parent stands before it.
        from_zero: where a log range that is written as starting at 0 really starts; 0 itself is what its switch gives.
        divides: computes from the other parameters the width that this one must divide (head counts).
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
    divides: Callable[[Params], int] | None = None
    unused: Scalar | None = None
    one_task: Scalar | None = None


def cnn_width(params: Params) -> int:
    """Channels of the CNN branch: filters × number of filter sizes."""
    return int(params["cnn.num_filters"]) * len(decode_sizes(str(params["cnn.filter_sizes"])))


def lstm_width(params: Params) -> int:
    """Features a time step of the LSTM branch: hidden size × directions."""
    return int(params["lstm.hidden_dim"]) * (2 if params["lstm.bidirectional"] else 1)


def fusion_width(params: Params) -> int:
    """Width of the fused vector."""
    return int(params["fusion.dim"])


_LARGEST = 1e308
MOST_CHOICES, MOST_SIZES, MOST_LAYERS = 64, 16, 16
_FLAG = Choices((False, True))

# Order matters: a parent stands before the parameters that depend on it.
PARAMETERS: dict[str, ParameterSpec] = {
    "cnn.num_filters": ParameterSpec("choice", Choices((32, 64, 128, 256)), low=1, high=4096),
    "cnn.filter_sizes": ParameterSpec("sizes", Choices(("3-5-7", "3-5-7-11")), low=1, high=255),
    "cnn.dropout": ParameterSpec("float", FloatRange(0.1, 0.5), low=0.0, high=0.95),
    "cnn.activation": ParameterSpec("choice", Choices(("relu", "gelu", "swish")), options=("relu", "gelu", "swish")),
    "cnn.residual": ParameterSpec("flag", _FLAG),
    "cnn.attention": ParameterSpec("flag", _FLAG),
    "cnn.attention_heads": ParameterSpec(
        "choice", Choices((2, 4, 8)), low=1, high=64, when={"cnn.attention": (True,)}, divides=cnn_width
    ),
    "lstm.hidden_dim": ParameterSpec("choice", Choices((64, 128, 256, 512, 1024)), low=1, high=8192),
    "lstm.num_layers": ParameterSpec("int", IntRange(1, 4), low=1, high=MOST_LAYERS),
    "lstm.dropout": ParameterSpec("float", FloatRange(0.1, 0.5), low=0.0, high=0.95),
    "lstm.bidirectional": ParameterSpec("flag", _FLAG),
    "lstm.attention": ParameterSpec("flag", _FLAG),
    "lstm.attention_heads": ParameterSpec(
        "choice", Choices((2, 4, 8)), low=1, high=64, when={"lstm.attention": (True,)}, divides=lstm_width
    ),
    "lstm.skip_connections": ParameterSpec(
        "flag", _FLAG, when={"lstm.num_layers": tuple(range(2, MOST_LAYERS + 1))}, unused=False
    ),
    "fusion.method": ParameterSpec(
        "choice",
        Choices(("concatenation", "attention", "gated", "bilinear")),
        options=("concatenation", "attention", "gated", "bilinear"),
    ),
    "fusion.dim": ParameterSpec("choice", Choices((128, 256, 512, 1024)), low=1, high=8192),
    "fusion.dropout": ParameterSpec("float", FloatRange(0.1, 0.4), low=0.0, high=0.95),
    "fusion.attention_heads": ParameterSpec(
        "choice",
        Choices((4, 8, 16)),
        low=1,
        high=64,
        when={"fusion.method": ("attention",)},
        divides=fusion_width,
    ),
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
    "regularization.l1_switch": ParameterSpec("flag", _FLAG),
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


@dataclass(frozen=True)
class SearchSpace:
    """The domain of every parameter, a parent before the parameters that depend on it.

    Attributes:
        domains: by name; those of :data:`PARAMETERS` when built by :func:`parse_space`.
        specs: what each parameter is: when it exists, and what it must divide.
    """

    domains: Mapping[str, Domain]
    specs: Mapping[str, ParameterSpec] = field(default_factory=lambda: PARAMETERS)

    @classmethod
    def of(cls, specs: Mapping[str, ParameterSpec]) -> "SearchSpace":
        """A space of other parameters than those of a CNN+LSTM, each with its default domain."""
        return cls({name: spec.default for name, spec in specs.items()}, specs)

    def active(self, params: Params) -> Iterator[str]:
        """Names of the parameters that exist given the parents in ``params``, in order.

        Lazy: a caller may add each value to ``params`` before it asks for the next name.
        """
        for name in self.domains:
            when = self.specs[name].when
            if not when or all(params.get(parent) in values for parent, values in when.items()):
                yield name

    def legal(self, name: str, value: Scalar, params: Params) -> Scalar:
        """``value`` itself, or for a head count that does not divide its width the largest choice that does."""
        width_of = self.specs[name].divides
        if width_of is None:
            return value
        width = width_of(params)
        if width % int(value) == 0:
            return value
        fitting = [int(choice) for choice in _values(self.domains[name]) if width % int(choice) == 0]
        return max((choice for choice in fitting if choice <= int(value)), default=min(fitting))

    def value(self, name: str, raw: Any) -> Scalar:
        """``raw``, as a file has it, as the stored value of the parameter's domain that it means.

        Raises:
            ValueError: it means none; the text is the rule, the value and the cure, to stand behind the parameter's name.
        """
        spec, domain = self.specs[name], self.domains[name]
        # What a parameter may be at all is wider than its domain, so the domain's bounds are the rule to be told of.
        value: Scalar = raw if spec.options else _value(replace(spec, low=None, high=None), raw)
        if domain.contains(value):
            return value
        match domain:
            case Fixed(fixed):
                rule, cure = f"be {_written(spec, fixed)}, to which the search space fixes it", "leave it out"
            case Choices(values):
                rule, cure = f"be one of {', '.join(_written(spec, choice) for choice in values)}", "change it"
            case _:
                rule, cure = f"lie between {domain.low:g} and {domain.high:g}", "change it"
        meant = did_you_mean(raw, [str(choice) for choice in _values(domain)]) if spec.options else ""
        raise ValueError(f"must {rule}, but got {shown(raw)}{meant or f'; {cure}, or widen search_space.{name}'}")

    def searched(self) -> dict[str, Domain]:
        """The parameters that are not fixed and that some configuration has."""
        return {
            name: domain
            for name, domain in self.domains.items()
            if not isinstance(domain, Fixed) and self._possible(self.specs[name].when)
        }

    def _possible(self, condition: Mapping[str, tuple[Scalar, ...]]) -> bool:
        return all(
            any(self.domains[parent].contains(value) for value in values) for parent, values in condition.items()
        )

    def fixing(self, values: Params) -> "SearchSpace":
        """The same space with some parameters fixed."""
        return replace(self, domains={**self.domains, **{name: Fixed(value) for name, value in values.items()}})

    def for_one_task(self) -> "SearchSpace":
        """Return the space for data without a regression target: with one loss there is nothing to weight."""
        return self.fixing({name: spec.one_task for name, spec in self.specs.items() if spec.one_task is not None})

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """The long YAML form, by group; :func:`parse_space` reads it back unchanged."""
        groups: dict[str, dict[str, Any]] = {}
        for name, domain in self.domains.items():
            group, key = name.split(".")
            groups.setdefault(group, {})[key] = _long_form(name, domain)
        return groups


def plain(raw: Any, levels: int = 8) -> Any:
    """Mappings, lists and Python's own numbers for what a Python program may hand over: tuples, NumPy's arrays and numbers.

    Args:
        raw: of a search space.
        levels: how deep; what lies deeper is none of a search space and stays.
    """
    if hasattr(raw, "tolist"):
        raw = raw.tolist()
    if levels and isinstance(raw, Mapping):
        return {key: plain(value, levels - 1) for key, value in raw.items()}
    if levels and isinstance(raw, (list, tuple)):
        return [plain(value, levels - 1) for value in raw]
    return raw


def parse_space(raw: Mapping[str, Any] | None) -> tuple[SearchSpace, list[str]]:
    """Reads a YAML search space; what it does not mention keeps its default.

    Returns:
        The space, and every fault found (empty when the space is good).
    """
    domains: dict[str, Domain] = {name: spec.default for name, spec in PARAMETERS.items()}
    faults: list[str] = []
    groups = sorted({name.split(".")[0] for name in PARAMETERS})
    for group, keys in (raw or {}).items():
        if group not in groups:
            faults.append(
                f"search_space.{printable(str(group), 80)} is not a group; choose from {', '.join(groups)}"
                + did_you_mean(group, groups, PARAMETERS)
            )
        elif not isinstance(keys, Mapping):
            faults.append(f"search_space.{group} must hold parameter names, but got {shown(keys)}")
        else:
            for key, value in keys.items():
                name = f"{group}.{key}"
                if name not in PARAMETERS:
                    known = [n.split(".")[1] for n in PARAMETERS if n.startswith(f"{group}.")]
                    faults.append(
                        f"search_space.{printable(name, 80)} is not a parameter; {group} has {', '.join(known)}"
                        + did_you_mean(key, known, PARAMETERS)
                    )
                    continue
                try:
                    domains[name] = _parse_domain(PARAMETERS[name], value)
                except ValueError as fault:
                    faults.append(f"search_space.{name} {fault}")
    if not faults:
        faults += _head_faults(domains)
    return SearchSpace(domains), faults


def params_faults(params: Mapping[str, Any], groups: Sequence[str]) -> list[str]:
    """What is wrong with a configuration as people write it: the parameters of ``groups`` must all be there as far as they
    exist, each with a value that makes sense at all, and head counts that divide their widths; those of other groups may."""
    found: dict[str, Scalar] = {}
    faults: list[str] = []
    for name, raw in params.items():
        if name not in PARAMETERS:
            faults.append(f"{printable(str(name), 80)} is not a parameter{did_you_mean(name, PARAMETERS)}")
            continue
        try:
            found[name] = _value(PARAMETERS[name], raw)
        except ValueError as fault:
            faults.append(f"{name} {fault}")
    space = SearchSpace({name: spec.default for name, spec in PARAMETERS.items()})
    needed = [name for name in space.active(found) if name.split(".")[0] in groups]
    faults += [f"{name} is missing" for name in needed if name not in params]
    if not faults:
        for name in needed:
            width_of = PARAMETERS[name].divides
            if width_of is not None and width_of(found) % int(found[name]):
                faults.append(f"{name} must divide the width {width_of(found)} of its branch, but got {found[name]}")
    return faults


def _parse_domain(spec: ParameterSpec, raw: Any) -> Domain:
    if isinstance(raw, Mapping):
        keys = set(raw)
        if keys == {"fixed"}:
            return Fixed(_value(spec, raw["fixed"]))
        if keys == {"choices"}:
            return _choices(spec, raw["choices"])
        if {"low", "high"} <= keys <= {"low", "high", "log"}:
            return _range(spec, raw["low"], raw["high"], raw.get("log", spec.kind == "log_float"))
        raise ValueError(
            f"must be {{low, high, log}}, {{choices: [...]}} or {{fixed: value}}, but has the keys"
            f" {shown(sorted(map(str, keys)))}"
        )
    if isinstance(raw, list):
        if spec.kind == "int" and len(raw) > 2:
            return _listed(spec, raw)
        if spec.kind in ("int", "float", "log_float"):
            if len(raw) != 2:
                raise ValueError(f"must be [low, high], but got {shown(raw)}; for single values use {{choices: [...]}}")
            return _range(spec, raw[0], raw[1], spec.kind == "log_float")
        if spec.kind == "sizes" and raw and not isinstance(raw[0], list):
            raise ValueError(f"must be a list of lists such as [[3, 5, 7]], but got {shown(raw)}")
        return _choices(spec, raw)
    return Fixed(_value(spec, raw))


def _listed(spec: ParameterSpec, raw: list[Any]) -> Domain:
    """Whole numbers of which each is written: ``[1, 2, 3, 4]`` is the range 1 to 4, ``[1, 2, 4]`` three choices."""
    choices = _choices(spec, raw)
    numbers = [int(value) for value in choices.values] if isinstance(choices, Choices) else []
    if numbers and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return IntRange(numbers[0], numbers[-1])
    return choices


def _choices(spec: ParameterSpec, raw: Any) -> Domain:
    if not isinstance(raw, list) or not raw:
        raise ValueError(f"needs a list with at least one choice, but got {shown(raw)}")
    if len(raw) > MOST_CHOICES:
        raise ValueError(f"has {len(raw)} choices; {MOST_CHOICES} at most")
    values = tuple(_value(spec, item) for item in raw)
    if len(set(values)) != len(values):
        raise ValueError(f"has a choice twice: {shown(raw)}")
    return Choices(values) if len(values) > 1 else Fixed(values[0])


def _range(spec: ParameterSpec, low: Any, high: Any, log: Any) -> Domain:
    if spec.kind in ("flag", "sizes") or spec.options:
        raise ValueError("has no range; give a list of choices")
    if not isinstance(log, bool):
        raise ValueError(f"log must be true or false, but got {shown(log)}")
    lowest, highest = _value(spec, low), _value(spec, high)
    if isinstance(lowest, str) or isinstance(highest, str) or lowest > highest:
        raise ValueError(f"must have low ≤ high, but got low={shown(low)}, high={shown(high)}")
    if log and lowest == 0 and spec.from_zero is not None and highest > spec.from_zero:
        lowest = spec.from_zero
    if log and lowest <= 0:
        raise ValueError(f"is a log range and needs low > 0, but got low={shown(low)}; use log: false to start at 0")
    if lowest == highest:
        return Fixed(lowest)
    if spec.kind in ("int", "choice"):
        return IntRange(int(lowest), int(highest), log)
    return FloatRange(float(lowest), float(highest), log)


def _value(spec: ParameterSpec, raw: Any) -> Scalar:
    """``raw`` as a legal stored value of the parameter; raises ValueError with the rule otherwise."""
    if spec.kind == "flag":
        if not isinstance(raw, bool):
            raise ValueError(f"must be true or false, but got {shown(raw)}")
        return raw
    if spec.options:
        if raw not in spec.options:
            raise ValueError(
                f"must be one of {', '.join(spec.options)}, but got {shown(raw)}{did_you_mean(raw, spec.options)}"
            )
        return encode(raw)
    if spec.kind == "sizes":
        if not isinstance(raw, list) or not raw:
            raise ValueError(f"must be a list of filter sizes such as [3, 5, 7], but got {shown(raw)}")
        if len(raw) > MOST_SIZES:
            raise ValueError(f"has {len(raw)} filter sizes at once; {MOST_SIZES} at most")
        sizes = [_number(spec, item, whole=True) for item in raw]
        if any(size % 2 == 0 for size in sizes):
            raise ValueError(f"must be odd filter sizes (a filter is centred on its bar), but got {shown(raw)}")
        return encode(sizes)
    return _number(spec, raw, whole=spec.kind in ("int", "choice"))


def _number(spec: ParameterSpec, raw: Any, *, whole: bool) -> int | float:
    # YAML 1.1 reads 1e-5 (without a dot) as text; Python reads 1_0 and the digits of all scripts as numbers.
    if isinstance(raw, str) and raw.isascii() and "_" not in raw:
        try:
            raw = float(raw)
        except ValueError:
            raise ValueError(f"must be a number, but got {shown(raw)}") from None
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not -_LARGEST < raw < _LARGEST:  # NaN, too
        raise ValueError(f"must be a number, but got {shown(raw)}")
    if whole and raw != int(raw):
        raise ValueError(f"must be a whole number, but got {shown(raw)}")
    low, high = spec.low, spec.high
    if (low is not None and not raw >= low) or (high is not None and not raw <= high):
        raise ValueError(f"must lie between {low:g} and {high:g}, but got {shown(raw)}")
    return int(raw) if whole else float(raw)


def _values(domain: Domain) -> list[Scalar]:
    """All values of a finite domain."""
    if isinstance(domain, Choices):
        return list(domain.values)
    if isinstance(domain, IntRange):
        return list(range(domain.low, domain.high + 1))
    if isinstance(domain, Fixed):
        return [domain.value]
    raise ValueError("a range of real numbers has no list of values")


def _head_faults(domains: Mapping[str, Domain]) -> list[str]:
    """Every width that a head count may meet needs at least one head count that divides it."""
    parents = {
        "cnn.attention_heads": ("cnn.num_filters", "cnn.filter_sizes"),
        "lstm.attention_heads": ("lstm.hidden_dim", "lstm.bidirectional"),
        "fusion.attention_heads": ("fusion.dim",),
    }
    faults = []
    for name, names in parents.items():
        spec = PARAMETERS[name]
        needed = all(domains[parent].contains(values[0]) for parent, values in spec.when.items())
        if spec.divides is None or not needed:
            continue
        heads = [int(v) for v in _values(domains[name])]
        if 1 in heads:
            continue
        combinations: list[dict[str, Scalar]] = [{}]
        for parent in names:
            combinations = [{**c, parent: v} for c in combinations for v in _values(domains[parent])]
        for combination in combinations:
            width = spec.divides(combination)
            if all(width % head for head in heads):
                setting = ", ".join(f"{k}={v}" for k, v in combination.items())
                faults.append(
                    f"search_space.{name} must divide the width {width} of {setting}, but none of {shown(heads)} does;"
                    f" add a head count that does, for example 1"
                )
                break
    return faults


def _written(spec: ParameterSpec, value: Scalar) -> str:
    """A value as a file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(decode_sizes(str(value)))) if spec.kind == "sizes" else str(value)


def _long_form(name: str, domain: Domain) -> Any:
    def show(value: Scalar) -> Any:
        return list(decode_sizes(str(value))) if PARAMETERS[name].kind == "sizes" else value

    if isinstance(domain, Fixed):
        return {"fixed": show(domain.value)}
    if isinstance(domain, Choices):
        return {"choices": [show(value) for value in domain.values]}
    return {"low": domain.low, "high": domain.high, "log": domain.log}


def readable(params: Params) -> dict[str, Any]:
    """Parameters as people write them: filter sizes as a list, the rest as stored."""
    return {
        name: list(decode_sizes(str(value))) if PARAMETERS[name].kind == "sizes" else value
        for name, value in params.items()
    }


def stored(params: Mapping[str, Any]) -> dict[str, Scalar]:
    """The inverse of :func:`readable`."""
    return {name: encode(value) for name, value in params.items()}
