"""Reject private terms in code and documents, and errors without a code. ``make lint`` runs it."""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = [
    *(ROOT / "src").rglob("*.py"),
    *(ROOT / "src").rglob("*.j2"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "configs").rglob("*.yaml"),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]
WORDS = {
    r"told|whoever|somebody|anybody|nobody|of whom|culprit|pulse|hurried|spared": "name the subject and the object",
    r"(?<!network )gates?": "skill threshold",
    r"luck|lucky|luckiest": "selection noise, chance",
    r"goes on with|go on with|gone on with|goes on from": "continue, resume",
    r"wrongly pruned": "false prune",
    r"seed document|founding document": "specification",
    r"whole configurations?": "full configuration",
    r"test period (is|was|stays) (opened|closed)|opened once": "test set evaluated, locked",
    r"what is (said|told)|what decides|any more": "say it in standard terms",
}
PRIVATE = {re.compile(rf"\b({words})\b", re.IGNORECASE): instead for words, instead in WORDS.items()}


def main() -> int:
    """Print each finding; return 1 if there is any."""
    found = []
    for path in FILES:
        if path.name == "gated.py":  # a network gate
            continue
        text = path.read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), start=1):
            found += [(path, number, f"{m[0]!r}: {PRIVATE[p]}") for p in PRIVATE for m in p.finditer(line)]
        if path.suffix == ".py":
            found += [
                (path, node.lineno, f"{name}(…) has no code=") for node, name in errors_without_code(ast.parse(text))
            ]
    for path, number, text in found:
        print(f"{path.relative_to(ROOT)}:{number}: {text}")
    return 1 if found else 0


def errors_without_code(tree: ast.AST) -> list[tuple[ast.Call, str]]:
    """Calls of the package's errors that name neither ``code`` nor ``violations``."""
    source = (ROOT / "src/cnn_lstm_hyperopt/errors.py").read_text(encoding="utf-8")
    names = {node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)} - {"Violation"}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return [
        (call, call.func.id)
        for call in calls
        if isinstance(call.func, ast.Name)
        and call.func.id in names
        and not {"code", "violations", None} & {keyword.arg for keyword in call.keywords}
    ]


if __name__ == "__main__":
    sys.exit(main())
