"""Reads the problems of ``benchmarks/search.py``: Python files that say what is searched and how every configuration learns.

A problem file defines

- ``SPACE``: name → ``{"type": "float" | "int", "low": …, "high": …, "log": False}`` or
  ``{"type": "categorical", "choices": […]}``; ``"when": {parent: [values]}`` makes a parameter exist only where all its parents
  have one of these values, and a parent stands before its children; or a ``SearchSpace`` of the package;
- ``MAX_EPOCHS``; ``CHANCE``, the share of the majority class; ``N_VAL``, the independent rows that accuracy is read on;
- ``evaluate(params, seed)``, which yields ``(epoch, accuracy, seconds so far, MB)`` from epoch to epoch, the same for the same
  arguments; ``params`` has the parameters that exist;

and, if known, ``truth(params) -> (accuracy, seconds, MB)`` after all epochs without noise, and ``REFERENCE_FRONT`` or
``reference_front()``: rows of true values, which hypervolumes are then shares of; ``cost(params) -> (seconds, MB)``, what is
predicted before training, as the cost model of a real run does; ``DATA``, files that the problem is made of.
"""

import importlib.util
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import Choices, Domain, Fixed, FloatRange, IntRange, SearchSpace
from cnn_lstm_hyperopt.errors import InputError
from cnn_lstm_hyperopt.search import SkillThreshold
from cnn_lstm_hyperopt.space.parameters import ParameterSpec

Array = NDArray[np.float64]
Params = Mapping[str, Any]

_REQUIRED = ("SPACE", "MAX_EPOCHS", "CHANCE", "N_VAL", "evaluate")
_KEYS = {
    "float": {"type", "low", "high", "log", "when"},
    "int": {"type", "low", "high", "log", "when"},
    "categorical": {"type", "choices", "when"},
}


class ProblemError(InputError):
    """A problem file breaks a rule; one line a fault."""


@dataclass(frozen=True)
class Problem:
    """What a problem file says.

    Attributes:
        path: of the file.
        reference: true values of the best front that is known, shape ``(rows, 3)``: accuracy, seconds, MB.
        cost: predicted seconds of all epochs, and MB; None where nobody predicts seconds.
        data: files that it is made of, itself among them.
    """

    path: Path
    space: SearchSpace
    max_epochs: int
    skill: SkillThreshold
    evaluate: Callable[[Params, int], Iterator[tuple[float, float, float, float]]]
    truth: Callable[[Params], tuple[float, float, float]] | None
    reference: Array | None
    cost: Callable[[Params], tuple[float, float]] | None
    data: tuple[Path, ...]

    def size_mb(self, params: Params) -> float:
        """MB of a configuration, known before it is trained: those of the first reading."""
        try:
            return float(next(iter(self.evaluate(params, 0)))[3])
        except StopIteration:
            raise ProblemError(f"{self.path}: evaluate yields nothing for {dict(params)}") from None
        except Exception as error:
            raise ProblemError(f"{self.path}: evaluate fails with {_told(error)} for {dict(params)}") from error


def load_problem(path: Path) -> Problem:
    """Runs the file and checks what it defines.

    Raises:
        ProblemError: it is not there, can't be run, or breaks a rule.
    """
    if not path.is_file():
        raise ProblemError(f"{path} does not exist")
    module = _run(path)
    missing = [name for name in _REQUIRED if not hasattr(module, name)]
    if missing:
        raise ProblemError(f"{path} does not define {', '.join(missing)}")
    space, faults = space_of(module.SPACE)
    faults += _number_faults(module)
    faults += [f"{name} must be a function" for name in ("evaluate", "truth", "cost") if not _function(module, name)]
    reference = None
    if not faults:
        try:
            reference = _reference(module)
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise ProblemError("\n".join(f"{path}: {fault}" for fault in faults))
    return Problem(
        path=path,
        space=space,
        max_epochs=module.MAX_EPOCHS,
        skill=SkillThreshold(module.CHANCE, module.N_VAL),
        evaluate=module.evaluate,
        truth=getattr(module, "truth", None),
        reference=reference,
        cost=getattr(module, "cost", None),
        data=(path, *getattr(module, "DATA", ())),
    )


def _run(path: Path) -> ModuleType:
    name = f"problem_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ProblemError(f"{path} is no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ProblemError(f"{path} can't be run: {_told(error)}") from error
    return module


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def space_of(raw: Any) -> tuple[SearchSpace, list[str]]:
    """Return the search space that ``SPACE`` of a problem file describes, and its errors."""
    if isinstance(raw, SearchSpace):
        return raw, []
    if not isinstance(raw, Mapping) or not raw:
        return SearchSpace.of({}), [f"SPACE must be a dictionary of parameters, but is {raw!r}"]
    specs: dict[str, ParameterSpec] = {}
    faults: dict[str, str] = {}
    for name, said in raw.items():
        try:
            specs[name] = _parameter(said, specs, set(raw) - set(specs), set(faults))
        except ValueError as error:
            faults[name] = f"SPACE[{name!r}] {error}"
    return SearchSpace.of(specs), list(faults.values())


def _parameter(said: Any, before: Mapping[str, ParameterSpec], later: set[str], faulty: set[str]) -> ParameterSpec:
    if not isinstance(said, Mapping):
        raise ValueError(f"must be a dictionary, but is {said!r}")
    kind = said.get("type")
    if kind not in _KEYS:
        raise ValueError(f"has the type {kind!r}; it must be float, int or categorical")
    unknown = sorted(map(str, set(said) - _KEYS[kind]))
    if unknown:
        raise ValueError(f"is {kind} and has no {', '.join(unknown)}; it may have {', '.join(sorted(_KEYS[kind]))}")
    domain = _choices(said) if kind == "categorical" else _range(kind, said)
    when = said.get("when", {})
    if not isinstance(when, Mapping):
        raise ValueError(f"must have when as a dictionary of parents, but has {when!r}")
    for parent, values in when.items():
        if parent in faulty:
            continue  # that is told already
        if parent not in before:
            raise ValueError(
                f"depends on {parent!r}, which {'must stand before it' if parent in later else 'is no parameter'}"
            )
        _check_condition(parent, values, before[parent].default)
    conditions = {parent: tuple(values) for parent, values in when.items() if parent in before}
    return ParameterSpec("choice" if kind == "categorical" else kind, domain, when=conditions)


def _choices(said: Mapping[str, Any]) -> Domain:
    choices = said.get("choices")
    if not isinstance(choices, (list, tuple)) or not choices:
        raise ValueError(f"needs a list of choices, but has {choices!r}")
    if not all(isinstance(choice, (bool, int, float, str)) for choice in choices):
        raise ValueError(f"must have numbers, texts and truth values as choices, but has {list(choices)!r}")
    if len(set(choices)) < len(choices):
        raise ValueError(f"has a choice twice: {list(choices)!r}")
    return Choices(tuple(choices)) if len(choices) > 1 else Fixed(choices[0])


def _range(kind: str, said: Mapping[str, Any]) -> Domain:
    low: Any = said.get("low")
    high: Any = said.get("high")
    log = said.get("log", False)
    for name, bound in (("low", low), ("high", high)):
        whole = kind == "int"
        good = isinstance(bound, int) if whole else isinstance(bound, (int, float)) and math.isfinite(bound)
        if not good or isinstance(bound, bool):
            raise ValueError(f"needs a {'whole ' if whole else ''}number as {name}, but has {bound!r}")
    if not low < high:
        raise ValueError(f"must have low < high, but has low={low!r}, high={high!r}")
    if not isinstance(log, bool):
        raise ValueError(f"must have log as True or False, but has {log!r}")
    if log and low <= 0:
        raise ValueError(f"is a log range and needs low > 0, but has low={low!r}")
    return IntRange(low, high, log) if kind == "int" else FloatRange(float(low), float(high), log)


def _check_condition(parent: str, values: Any, domain: Domain) -> None:
    if isinstance(domain, FloatRange):
        raise ValueError(f"depends on {parent!r}, which is float; only int and categorical parameters can be parents")
    if not isinstance(values, (list, tuple)) or not values:
        raise ValueError(f"needs a list of values of {parent!r} in when, but has {values!r}")
    for value in values:
        if not domain.contains(value):
            raise ValueError(f"depends on {parent!r} being {value!r}, which it never is")


def _number_faults(module: ModuleType) -> list[str]:
    faults = []
    for name in ("MAX_EPOCHS", "N_VAL"):
        value = getattr(module, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            faults.append(f"{name} must be a whole number from 1, but is {value!r}")
    if not isinstance(module.CHANCE, (int, float)) or not 0 <= module.CHANCE < 1:
        faults.append(f"CHANCE must be a share in [0, 1), but is {module.CHANCE!r}")
    return faults


def _function(module: ModuleType, name: str) -> bool:
    return not hasattr(module, name) or callable(getattr(module, name))


def _reference(module: ModuleType) -> Array | None:
    if hasattr(module, "reference_front"):
        try:
            raw = module.reference_front()
        except Exception as error:
            raise ValueError(f"reference_front() fails with {_told(error)}") from error
    elif hasattr(module, "REFERENCE_FRONT"):
        raw = module.REFERENCE_FRONT
    else:
        return None
    try:
        rows: Array = np.asarray(raw, dtype=float)
    except ValueError as error:
        raise ValueError(f"the reference front is no array of numbers: {error}") from None
    if rows.ndim != 2 or rows.shape[1] != 3 or not len(rows):
        raise ValueError(f"the reference front must have the shape (rows, 3), but has {rows.shape}")
    if not np.isfinite(rows).all() or (rows[:, 1:] <= 0).any():
        raise ValueError("the reference front must be finite, with seconds and MB above 0")
    if not (rows[:, 0] > module.CHANCE).any():
        raise ValueError(f"no row of the reference front is above CHANCE={module.CHANCE}")
    return rows
