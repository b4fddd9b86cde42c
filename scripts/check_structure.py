"""Holds the structure of the package: import levels, cycles, loose modules, sizes, and the tree in CONTRIBUTING.md.

Run by ``make lint``. The limits are below; CONTRIBUTING.md names the exceptions, each as ``path (lines)`` in its list.
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "cnn_lstm_hyperopt"
SOURCE = ROOT / "src" / PACKAGE
LEVELS, LOOSE_MODULES, FILE_LINES, FUNCTION_LINES, CLASS_LINES, EXCEPTIONS = 10, 6, 350, 60, 250, 5


def main() -> int:
    """Prints each violation; returns 1 if there is one."""
    modules = {_name(path): path for path in SOURCE.rglob("*.py")}
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    exceptions = set(re.findall(r"^- `([^`]+)` \(\d+ lines\)", guide, flags=re.MULTILINE))
    problems = [
        *_levels(modules),
        *_sizes(modules, exceptions),
        *_differences(guide),
    ]
    loose = [path.name for path in SOURCE.glob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    if len(loose) > LOOSE_MODULES:
        problems.append(f"{len(loose)} loose modules at the top, more than {LOOSE_MODULES}: {', '.join(sorted(loose))}")
    if len(exceptions) > EXCEPTIONS:
        problems.append(f"CONTRIBUTING.md names {len(exceptions)} exceptions, more than {EXCEPTIONS}")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def _name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(name: str, modules: Mapping[str, Path]) -> set[str]:
    """Modules of the package that a module imports anywhere in its code."""
    found = set()
    for node in ast.walk(ast.parse(modules[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{each.name}" for each in node.names}
            found |= {each if each in modules else str(node.module) for each in inner}
    return {each for each in found if each in modules and each != name}


def _levels(modules: Mapping[str, Path]) -> Iterator[str]:
    """Cycles between modules; levels of the packages, each above all that it imports. The entry points count for none."""
    graph = {name: _imports(name, modules) for name in modules}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield f"import cycle: {' → '.join(error.args[1])}"
    packages: dict[str, set[str]] = {}
    for name, imported in graph.items():
        own = _package(name)
        if own.startswith("__"):
            continue
        packages.setdefault(own, set()).update({_package(each) for each in imported} - {own})
    try:
        order = list(TopologicalSorter(packages).static_order())
    except CycleError as error:
        yield f"import cycle between packages: {' → '.join(error.args[1])}"
        return
    level: dict[str, int] = {}
    for package in order:
        level[package] = 1 + max((level[each] for each in packages[package]), default=0)
    if max(level.values()) > LEVELS:
        yield f"{max(level.values())} import levels, more than {LEVELS}: {level}"


def _package(name: str) -> str:
    """The package or loose module at the top that a module belongs to; the package itself is its own."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def _sizes(modules: Mapping[str, Path], exceptions: set[str]) -> Iterator[str]:
    for path in sorted(modules.values()):
        text = path.read_text(encoding="utf-8")
        place = str(path.relative_to(SOURCE))
        sizes = [(place, len(text.splitlines()), FILE_LINES)]
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                limit = CLASS_LINES if isinstance(node, ast.ClassDef) else FUNCTION_LINES
                sizes.append((f"{place}:{node.name}", (node.end_lineno or 0) - node.lineno + 1, limit))
        for name, lines, limit in sizes:
            if lines > limit and name not in exceptions:
                yield f"{name} has {lines} lines, more than {limit}"


def _differences(guide: str) -> Iterator[str]:
    """Between the tree in CONTRIBUTING.md and that on disk: a package's line names its modules and inner packages."""
    block = re.search(rf"```\n{PACKAGE}/\n(.*?)```", guide, flags=re.DOTALL)
    written: dict[str, set[str]] = {"": set()}
    package = ""
    for line in block[1].splitlines() if block else ():
        if opened := re.match(r"  ([a-z_/]+)/ ", line):
            package = opened[1]
            written[package] = set()
        elif re.match(r"  \S", line):
            package = ""
        written[package] |= set(re.findall(r"[a-z0-9_]+(?=\.py)", line))
    there: dict[str, set[str]] = {"": set()}
    for path in SOURCE.rglob("*.py"):
        folder = path.parent.relative_to(SOURCE).as_posix()
        names = there.setdefault("" if folder == "." else folder, set())
        if not path.stem.startswith("__"):
            names.add(path.stem)
    for folder in sorted({*written, *there}):
        for name in sorted(written.get(folder, set()) - there.get(folder, set())):
            yield f"CONTRIBUTING.md has {folder}/{name}.py, which is not there"
        for name in sorted(there.get(folder, set()) - written.get(folder, set())):
            yield f"CONTRIBUTING.md lacks {folder}/{name}.py"


if __name__ == "__main__":
    sys.exit(main())
