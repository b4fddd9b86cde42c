"""No file of a user is unpickled, evaluated or run: a check of every import and call in the project's own code."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = re.compile(
    r"(import|from) (pickle|cPickle|_pickle|cloudpickle|dill|joblib|marshal|shelve)\b"
    r"|(builtins\.)?(eval|exec)\("
    r"|([\w.]+\.)?(read_pickle|unsafe_load|full_load|load_all|unsafe_load_all)\("
    r"|torch\.load\((?!.*weights_only=True)"
    r"|(np|numpy)\.load\(.*allow_pickle"
    r"|YAML\((?!.*typ='safe')"
    r"|yaml\.(load|compose|parse)\((?!.*Safe)",
    re.DOTALL,
)


def violations(source):
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom | ast.Call))
    return [text for text in map(ast.unparse, nodes) if FORBIDDEN.match(text)]


def test_our_code_neither_unpickles_nor_evaluates_what_it_reads():
    files = [path for folder in ("src", "scripts", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    assert {path: found for path in files if (found := violations(path.read_text(encoding="utf-8")))} == {}


UNSAFE = """import pickle|from pickle import loads|import joblib.parallel|torch.load(f)|torch.load(f, weights_only=False)
pd.read_pickle(f)|np.load(f, allow_pickle=True)|yaml.load(f, yaml.Loader)|yaml.load(f)|YAML(typ='unsafe')|YAML()
yaml.unsafe_load(f)|eval(text)|builtins.eval(text)"""
SAFE = "network.eval()|torch.load(f, weights_only=True)|yaml.safe_load(f)|YAML(typ='safe')|json.load(f)"


@pytest.mark.parametrize(
    ("code", "safe"), [*((c, 0) for c in re.split("[|\n]", UNSAFE)), *((c, 1) for c in SAFE.split("|"))]
)
def test_the_check_finds_unsafe_calls_and_ignores_safe_ones(code, safe):
    assert bool(violations(code)) is not bool(safe)
