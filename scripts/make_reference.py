"""Write docs/reference/command-line.md, settings.md and errors.md from the code itself.

Run by ``make docs``. ``tests/test_docs.py`` compares the pages on the disk with what this script makes.
"""

import ast
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal

import annotated_types
from pydantic.fields import FieldInfo

from cnn_lstm_hyperopt import errors as error_types
from cnn_lstm_hyperopt.cli import COMMANDS, app
from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.config.schema.base import Section
from cnn_lstm_hyperopt.config.search_space import PARAMETERS
from cnn_lstm_hyperopt.space.domains import Choices, Domain, Fixed, Scalar, decode_sizes
from cnn_lstm_hyperopt.space.parameters import ParameterSpec
from cnn_lstm_hyperopt.utils.registry import declared

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
PROGRAM = "cnn-lstm-hyperopt"
NOTE = "<!-- Made by scripts/make_reference.py (make docs). Do not edit: change the source of the text. -->"

COMMAND_LINE = f"""# Command line

{NOTE}

This page has the same text as `--help`.

- `run` reads settings from four places. A flag overrides an environment variable, which overrides the config file, which
  overrides the default. [Settings](settings.md) lists all settings.
- `scripts/run_cnn_lstm_hyperopt.py` takes the flags of `run`.
- Exit codes: 0 done (with any grade), 1 failed, 2 bad input, 130 interrupted with results saved."""

ERRORS = f"""# Error codes

{NOTE}

An error's text may change in any version. Its type, its `code` and its `field` do not, so a program checks these:

```python
from cnn_lstm_hyperopt import load_settings
from cnn_lstm_hyperopt.errors import ConfigError

try:
    load_settings({{"study": {{"n_trials": 0}}}})
except ConfigError as error:
    print(error.code, error.field)  # of the first violation
    print(error.violations)  # all of them
```

Settings have, beside these, the codes of [pydantic](https://docs.pydantic.dev/latest/errors/validation_errors/), with hyphens:
`greater-than-equal`."""

SETTINGS = f"""# Settings

{NOTE}

Write settings into a YAML file and pass it with `--config`. Name only what you change:

```yaml
study:
  n_trials: 200
data:
  target: volatility
search_space:
  lstm:
    num_layers: [1, 2]
```

Other ways to set a value: a flag ([command line](command-line.md)); an environment variable, such as
`CNN_LSTM_HYPEROPT__STUDY__N_TRIALS=200`; or `load_settings` in [Python](python.md). A flag overrides the environment, which
overrides the file, which overrides the default. The template `configs/hyperopt/cnn_lstm_hyperopt_config.yaml` has every key.
`--config small` (`laptop`, `gpu`) reads a profile that comes with the package."""

SPACE = """## search_space

The parameters that the search varies. Names are `group.name` in `study.db`, `results.json` and `trials.csv`; in YAML, groups are
nested. A parameter exists only if its condition holds.

The kind of a parameter decides what a short list means:

| kind | short form | meaning |
|---|---|---|
| choice | `[32, 64, 128]` | one of these values |
| true or false | `[false, true]` | one of these values |
| list of sizes | `[[3, 5, 7], [3, 5, 7, 11]]` | one of these lists |
| integer range | `[1, 4]` | 1, 2, 3 or 4 |
| range | `[0.1, 0.5]` | any number between the two |
| log range | `[1e-5, 1e-2]` | any number between the two, uniform in the logarithm |

`search_space.architecture` selects the default values: `classic` (column *default*, the table of the specification) or `full`
(column *full*; empty: as in `classic`). With bars the default is `classic`, with DataLoaders `full`.
The flag `--architecture` sets it, too. Values in YAML replace the default values.

A single value fixes a parameter. The long forms `{low: 1e-5, high: 1e-2, log: true}`, `{choices: [1, 2]}` and `{fixed: 0.1}`
always work."""

FAMILIES = {
    "Metrics": ("study.metric", "metrics"),
    "Samplers": ("sampler.type", "search/samplers"),
    "Pruners": ("pruner.type", "search/pruners"),
    "Sources of bars": ("data.source", "data/sources"),
    "Convolution blocks beside parallel": ("search_space.cnn.block", "models/cnn_lstm/blocks"),
    "Fusions": ("search_space.fusion.method", "models/cnn_lstm/fusions"),
    "Optimisers": ("search_space.training.optimizer", "training/optimizers"),
    "Learning-rate schedules": ("search_space.training.scheduler", "training/schedules"),
}
"""Heading → the setting that names a member, and the folder of the family."""

KINDS = {
    "choice": "choice",
    "flag": "true or false",
    "sizes": "list of sizes",
    "int": "integer range",
    "float": "range",
    "log_float": "log range",
}
VALUES = {"INT": "integer", "FLOAT": "number", "STR": "text", "PATH": "path", "DATE": "date"}
TYPES = {int: "integer", float: "number", str: "text", bool: "`true` or `false`", Path: "path", date: "date"}


def main() -> None:
    """Write both pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Return the text of each page by its file name."""
    return {"command-line.md": command_line(), "settings.md": settings(), "errors.md": errors()}


# ---------------------------------------------------------------------- errors


def errors() -> str:
    """Return the page with the codes of each type of error, as they are raised in the source."""
    codes: dict[str, set[str]] = {}
    for path in (Path(__file__).parents[1] / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in vars(error_types):
                codes.setdefault(node.func.id, set()).update(
                    str(each.value.value)
                    for each in node.keywords
                    if each.arg == "code" and isinstance(each.value, ast.Constant)
                )
    parts = [ERRORS]
    for name in sorted(codes):
        if codes[name] and issubclass(kind := getattr(error_types, name), error_types.HyperoptError):
            listed = ", ".join(f"`{code}`" for code in sorted(codes[name]))
            parts += [f"## {name}", f"{(kind.__doc__ or '').splitlines()[0]} Exit code {kind.exit_code}.", listed]
    return "\n\n".join(parts) + "\n"


# ---------------------------------------------------------------------- command line


def command_line() -> str:
    """Return the page with every command and its flags."""
    rows = [(f"[`{name}`](#{name})", _paragraphs(name)[0]) for name in COMMANDS]
    parts = [COMMAND_LINE, _table(("command", "what it does"), rows)]
    for name in COMMANDS:
        parts += _command(name)
    return "\n\n".join(parts) + "\n"


def _help_of(name: str) -> str:
    return app[name].generate_docs(heading_level=2)


def _paragraphs(name: str) -> list[str]:
    """Return the sentences of the help, without its heading, its usage and its flags."""
    text = _help_of(name).partition("```console")[2].partition("```")[2].partition("\n**")[0]
    paragraphs = [each.strip() for each in text.split("\n\n") if each.strip()]
    return [each if each.startswith("For example:") else " ".join(each.split()) for each in paragraphs]


def _command(name: str) -> Iterator[str]:
    text = _help_of(name)
    yield f"## {name}"
    usage = text.partition("```console\n")[2].partition("\n```")[0]
    for paragraph in _paragraphs(name):
        if not paragraph.startswith("For example:"):
            yield paragraph
            continue
        lines = [f"{PROGRAM} {each.strip()}" for each in paragraph.splitlines()[1:]]
        yield "\n".join(["```bash", *lines, "```"])
    yield f"Usage: `{PROGRAM} {usage}`"
    for heading, flags in re.findall(r"^\*\*([^*]+)\*\*:\n\n((?:\* .*\n?)+)", text, flags=re.MULTILINE):
        if heading != "Parameters":
            yield f"### {name}: {heading[0].lower()}{heading[1:]}"
        yield _table(("flag", "value", "default", "description"), map(_flag, flags.strip().splitlines()))


def _flag(line: str) -> tuple[str, str, str, str]:
    """Read a line such as ``* `--top-k INT`: Number of models. [default: 5]``."""
    found = re.match(r"\* `([^`]+)`: (.*)", line)
    if found is None:
        raise ValueError(f"the help has a line of another form: {line!r}")
    words, text = found[1].replace(",", "").split(), found[2].replace("\\[", "[")
    names = " ".join(f"`{word}`" for word in words if word.startswith("--"))
    kinds = [word for word in words if not word.startswith("--")]
    choices = re.search(r"\*\[choices: ([^\]]+)\]\*", text)
    default = re.search(r"\[default: ([^\]]+)\]", text)
    shown = "required" if "**[required]**" in text else default[1] if default else ""
    if not kinds:
        shown = {"False": "off", "True": "on"}.get(shown, shown)
    plain = re.sub(r"\*?\*?\[(default|choices|required)[^\]]*\]\*?\*?", "", text).strip()
    return names, _flag_value(kinds, choices[1].split(", ") if choices else []), shown, plain


def _flag_value(kinds: list[str], choices: list[str]) -> str:
    if not kinds:
        return ""
    several = kinds[0].endswith("...")
    parts = [VALUES[each] for each in kinds[0].removesuffix("...").split("|") if each != "CHOICE"]
    text = " or ".join([*parts, *([", ".join(f"`{each}`" for each in choices)] if choices else [])])
    return f"{text}, one or more" if several else text


# ---------------------------------------------------------------------- settings


def settings() -> str:
    """Return the page with every setting, the search space and the families."""
    sections = {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }
    top = {name: field for name, field in Settings.model_fields.items() if name not in (*sections, "search_space")}
    parts = [SETTINGS, "## Top level", _fields("", top)]
    for name, section in sections.items():
        parts += [f"## {name}", (section.__doc__ or "").replace("``", "`"), _fields(f"{name}.", section.model_fields)]
    parts += [
        SPACE,
        _table(("parameter", "kind", "default", "full", "allowed", "condition"), map(_parameter, PARAMETERS.items())),
    ]
    parts.append("## Options by name")
    for heading, (setting, folder) in FAMILIES.items():
        rows = [(f"`{name}`", _sentence(facts["description"])) for name, facts in declared(folder).items()]
        parts += [f"### {heading}", f"Values of `{setting}`:", _table(("name", "description"), rows)]
    return "\n\n".join(parts) + "\n"


def _fields(prefix: str, fields: Mapping[str, FieldInfo]) -> str:
    rows = [
        (
            f"`{prefix}{name}`",
            _type(field.annotation, field.metadata),
            _default(field),
            _sentence(str(field.description)),
        )
        for name, field in fields.items()
    ]
    return _table(("setting", "value", "default", "description"), rows)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    return f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_yaml, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _type(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """Return what a setting may be, such as ``integer, 1 to 20, or `auto```."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        extra = arguments[1:]
        bounds = [bound for each in extra for bound in (each.metadata if isinstance(each, FieldInfo) else [each])]
        return _type(arguments[0], bounds)
    if origin in (typing.Union, types.UnionType):
        return ", or ".join(_type(each, metadata) for each in arguments)
    if origin is Literal:
        return ", ".join(f"`{_yaml(each)}`" for each in arguments)
    if origin is tuple:
        item = _type(arguments[0])
        return f"list of {item}s" if arguments[-1] is Ellipsis else f"list of {len(arguments)} {_plural(item)}"
    if origin is dict:
        return f"mapping of names to {_plural(_type(arguments[1]))}"
    if annotation is type(None):
        return "`null`"
    return TYPES[annotation] + (_bounds(metadata) if annotation in (int, float) else "")


def _plural(item: str) -> str:
    """``number above 0, at most 1,000`` → ``numbers, each above 0, at most 1,000``."""
    name, space, rest = item.partition(" ")
    return f"{name.rstrip(',')}s" + (f", each {rest}" if space else "")


def _bounds(metadata: Iterable[Any]) -> str:
    """Return the limits of a number as words."""
    low = high = None
    words = []
    for each in metadata:
        match each:
            case annotated_types.Ge(ge=value):
                low = value
            case annotated_types.Gt(gt=value):
                words.append(f"above {_number(value)}")
            case annotated_types.Le(le=value):
                high = value
            case annotated_types.Lt(lt=value):
                high = value - 1  # type: ignore[operator] # of whole numbers only
    if low is not None and high is not None:
        return f" {_number(low)} to {_number(high)}"
    words += [f"at least {_number(low)}"] if low is not None else []
    words += [f"at most {_number(high)}"] if high is not None else []
    return f" {', '.join(words)}" if words else ""


def _number(value: Any) -> str:
    return f"{int(value):,}" if float(value).is_integer() else f"{value:g}"


# ---------------------------------------------------------------------- search space


def _parameter(item: tuple[str, ParameterSpec]) -> tuple[str, str, str, str, str, str]:
    name, spec = item
    full = _domain(spec.full, spec) if spec.full is not None else ""
    conditions = [f"`{parent}` is {_values(values)}" for parent, values in spec.when.items()]
    if spec.divides is not None:
        of = " and ".join(f"`{each}`" for each in spec.divides.parameters)
        conditions.append(f"must divide the width that {of} {'give' if ' and ' in of else 'gives'}")
    return f"`{name}`", KINDS[spec.kind], _domain(spec.default, spec), full, _allowed(spec), "; ".join(conditions)


def _values(values: tuple[Scalar, ...]) -> str:
    if len(values) > 3 and all(isinstance(each, int) for each in values):
        return f"{values[0]} or more"
    return " or ".join(f"`{_yaml(each)}`" for each in values)


def _domain(domain: Domain, spec: ParameterSpec) -> str:
    if isinstance(domain, Fixed):
        return f"`{_yaml(domain.value)}` (not searched)"
    if isinstance(domain, Choices):
        values = [list(decode_sizes(str(each))) if spec.kind == "sizes" else each for each in domain.values]
        return ", ".join(f"`{_yaml(each)}`" for each in values)
    return _range(domain.low, domain.high)


def _allowed(spec: ParameterSpec) -> str:
    if spec.kind == "flag":
        return "`false`, `true`"
    if spec.options:
        return ", ".join(f"`{each}`" for each in spec.options)
    return ("each " if spec.kind == "sizes" else "") + _range(spec.low, spec.high)


def _range(low: float | None, high: float | None) -> str:
    """Return two numbers as people write them: ``1e-5 to 0.01``."""
    return re.sub(r"e([+-])0?", lambda sign: f"e{sign[1].strip('+')}", f"{low:g} to {high:g}")


# ---------------------------------------------------------------------- text


def _sentence(text: str) -> str:
    """Capitalise the text, unless it begins with the name of an option (``tpe: …``), and end it with a full stop."""
    return f"{text}." if re.match(r"\w+:", text) else f"{text[0].upper()}{text[1:]}."


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    main()
