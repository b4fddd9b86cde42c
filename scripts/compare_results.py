"""Whether two runs gave the same results: parameters, scores, front and test figures of two ``results.json``, times aside.

``python scripts/compare_results.py BEFORE/results.json AFTER/results.json`` prints each difference; 1 if there is one.
"""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TIMES = {
    "timestamp",
    "time",
    "training_time",
    "training_seconds",
    "cost_model",
    "latency",
    "environment",
    "model_path",
}
"""Keys of what differs between any two runs."""
CLOSE = 1e-6
"""Relative difference that counts as none."""


def main(before: str, after: str) -> int:
    """Prints the differences; returns 1 if there is one."""
    one, other = (json.loads(Path(path).read_text(encoding="utf-8")) for path in (before, after))
    found = list(differences(one, other))
    for line in found:
        print(line)
    print(f"{len(found)} differences")
    return 1 if found else 0


def differences(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """A line for each value that only one side has, or that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(each for each in after if each not in before)]:
            if key not in TIMES:
                yield from differences(before.get(key, "missing"), after.get(key, "missing"), f"{place}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from differences(one, other, f"{place}[{number}]")
    elif isinstance(before, float) and isinstance(after, float) and math.isclose(before, after, rel_tol=CLOSE):
        return
    elif before != after:
        yield f"{place.lstrip('.')}: {before!r:.100} → {after!r:.100}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
