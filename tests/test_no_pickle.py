"""No file that a user hands over is unpickled, evaluated or run: a look at every call in the project's own code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path for folder in ("src", "scripts", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")
)
FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {"eval", "exec", "read_pickle", "unsafe_load", "full_load", "load_all", "unsafe_load_all"}


def faults(source: str) -> Iterator[str]:
    """What a file of ours must not do, a line each."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        for name in names:
            if name.split(".")[0] in FORBIDDEN_MODULES:
                yield f"line {node.lineno}: imports {name}"
        if isinstance(node, ast.Call):
            yield from call_faults(node)


def call_faults(call: ast.Call) -> Iterator[str]:
    """Of one call."""
    function = call.func
    name = (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )
    owner = function.value.id if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) else ""
    given = {keyword.arg: keyword.value for keyword in call.keywords}

    def is_true(keyword: str) -> bool:
        value = given.get(keyword)
        return isinstance(value, ast.Constant) and value.value is True

    is_method = isinstance(function, ast.Attribute) and owner != "builtins"
    if name in FORBIDDEN_CALLS and not (name in ("eval", "exec") and is_method):  # network.eval() is another thing
        yield f"line {call.lineno}: calls {name}"
    if owner == "torch" and name == "load" and not is_true("weights_only"):
        yield f"line {call.lineno}: torch.load without weights_only=True"
    if owner in ("np", "numpy") and name == "load" and "allow_pickle" in given:
        yield f"line {call.lineno}: numpy.load with allow_pickle"
    if name == "YAML" and ast.unparse(given.get("typ", ast.Constant(None))) != "'safe'":
        yield f"line {call.lineno}: YAML without typ='safe'"
    if owner == "yaml" and name in ("load", "compose", "parse"):
        loaders = [*call.args[1:], *(value for key, value in given.items() if key == "Loader")]
        if not all("Safe" in ast.unparse(loader) for loader in loaders) or not loaders:
            yield f"line {call.lineno}: yaml.{name} without a safe loader"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_our_code_neither_unpickles_nor_evaluates_what_it_reads(path: Path) -> None:
    assert list(faults(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.parallel",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "pd.read_pickle(f)",
        "np.load(f, allow_pickle=True)",
        "yaml.load(f, yaml.Loader)",
        "yaml.load(f)",
        "YAML(typ='unsafe')",
        "YAML()",
        "yaml.unsafe_load(f)",
        "eval(text)",
        "builtins.eval(text)",
    ],
)
def test_the_look_finds_what_it_looks_for(code: str) -> None:
    assert len(list(faults(code))) == 1


@pytest.mark.parametrize(
    "code",
    ["network.eval()", "torch.load(f, weights_only=True)", "yaml.safe_load(f)", "YAML(typ='safe')", "json.load(f)"],
)
def test_the_look_lets_the_safe_ones_pass(code: str) -> None:
    assert list(faults(code)) == []
