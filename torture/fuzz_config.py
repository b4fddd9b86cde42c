"""Mutated YAML files: whatever they hold, they are settings or one error that names a field or a line; no traceback, no hang.

``python -m torture.fuzz_config --count 5000 --seed 0`` prints what became of them.
"""

import argparse
import contextlib
import faulthandler
import io
import re
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from cnn_lstm_hyperopt import cli
from cnn_lstm_hyperopt.config import PARAMETERS, Settings, dump_settings, load_settings
from cnn_lstm_hyperopt.errors import ConfigError

CONFIGS = Path(__file__).parents[1] / "configs" / "hyperopt"
SECONDS = 20
"""That one file may take before the process is ended with the stack of where it hangs."""
EACH_CLI = 20
"""One file in so many goes through the command line, too; it ends in a flag that is refused after the file was read."""
LONGEST = 4_000
HOSTILE = [
    *("", "~", ".nan", "-.inf", "1e400", "1.e+400", "-1", "0", "1.5", "true", "'5'", "[]", "{}", "[[]]", "{a: {b: c}}"),
    *("010", "1:30", "0x" + "f" * 400, "9" * 5_000, "2001-13-01", "2001-02-03", "2001-02-03 04:05:06", "\x00", "=1+1"),
    *(
        "!!python/object/apply:os.system [echo]",
        "!!binary aGVsbG8=",
        "!!set {a, b}",
        "!!int ''",
        "!!float x",
        "!x y",
        "*a",
    ),
    *(
        "&a [*a, *a]",
        "&a {b: 1}",
        "{<<: *a}",
        "{<<: 5}",
        "? [1] : 2",
        "[" * 200,
        "{" * 200,
        "x" * 100_000,
        "'",
        '"',
        "|",
        ">-",
    ),
    *(
        "../../etc/passwd",
        "~nobody-of-this-name",
        "\u202eabc",
        '"\\ud800"',
        "\U0001f600",
        "@x",
        "`x",
        "%x",
        "--- 1",
        "- - - 1",
        "# x",
    ),
]
"""Values, or what some take for values."""
_FIELD = "|".join([*Settings.model_fields, "--[a-z]+", *{name.split(".")[0] for name in PARAMETERS}])
NAMES_PLACE = re.compile(rf"line \d+|\b({_FIELD})\b")
"""A line of the file, or a setting."""


def mutated(sources: list[bytes], rng: np.random.Generator) -> bytes:
    """One of ``sources`` after one to four changes of its bytes, lines or values."""
    content = sources[int(rng.integers(len(sources)))]
    for _ in range(int(rng.integers(1, 5)) if rng.integers(2) else 1):
        content = _MUTATIONS[int(rng.integers(len(_MUTATIONS)))](content, sources, rng)
    return content


def _flip(content: bytes, _: list[bytes], rng: np.random.Generator) -> bytes:
    changed = bytearray(content or b"x")
    for place in rng.integers(len(changed), size=int(rng.integers(1, 6))):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _delete(content: bytes, _: list[bytes], rng: np.random.Generator) -> bytes:
    start = int(rng.integers(len(content) + 1))
    return content[:start] + content[start + int(rng.integers(1, 30)) :]


def _insert(content: bytes, _: list[bytes], rng: np.random.Generator) -> bytes:
    start = int(rng.integers(len(content) + 1))
    return content[:start] + rng.bytes(int(rng.integers(1, 6))) + content[start:]


def _repeat_line(content: bytes, _: list[bytes], rng: np.random.Generator) -> bytes:
    lines = content.split(b"\n")
    lines.insert(int(rng.integers(len(lines) + 1)), lines[int(rng.integers(len(lines)))])
    return b"\n".join(lines)


def _indent_line(content: bytes, _: list[bytes], rng: np.random.Generator) -> bytes:
    lines = content.split(b"\n")
    place = int(rng.integers(len(lines)))
    lines[place] = (b"\t", b" ", b"  ", b"- ", b"")[int(rng.integers(5))] + lines[place].lstrip()
    return b"\n".join(lines)


def _swap_value(content: bytes, _: list[bytes], rng: np.random.Generator) -> bytes:
    values = list(re.finditer(rb"(?<=: )[^#,\n{}\[\]]+|(?<=\[)[^\]\n]*(?=\])", content))
    if not values:
        return content
    value = values[int(rng.integers(len(values)))]
    hostile = HOSTILE[int(rng.integers(len(HOSTILE)))].encode("utf-8", "surrogatepass")
    return content[: value.start()] + hostile + content[value.end() :]


def _swap_key(content: bytes, _: list[bytes], rng: np.random.Generator) -> bytes:
    keys = list(re.finditer(rb"\w+(?=:)", content))
    if len(keys) < 2:
        return content
    first, other = (keys[int(place)] for place in rng.integers(len(keys), size=2))
    return content[: first.start()] + other.group() + content[first.end() :]


def _splice(content: bytes, sources: list[bytes], rng: np.random.Generator) -> bytes:
    other = sources[int(rng.integers(len(sources)))]
    return content[: int(rng.integers(len(content) + 1))] + other[int(rng.integers(len(other) + 1)) :]


_MUTATIONS = (_flip, _delete, _insert, _repeat_line, _indent_line, _swap_value, _swap_value, _swap_key, _splice)


def seeds_of_yaml() -> list[bytes]:
    """The shipped configurations, and the long form that a run writes."""
    shipped = [path.read_bytes() for path in sorted(CONFIGS.glob("*.yaml"))]
    return [*shipped, dump_settings(load_settings(None, None, {})).encode()]


def fuzz(count: int, seed: int, folder: Path) -> dict[str, int]:
    """Reads ``count`` mutated files, the same for a seed.

    Args:
        count: of files.
        seed: of the mutations.
        folder: where the file lies; one that broke a rule stays there as ``failed_N.yaml``.

    Returns:
        How many were settings, refused, and refused by the command line.

    Raises:
        AssertionError: a file was neither settings nor refused as it should be; the text names it.
    """
    rng, sources, path = np.random.default_rng(seed), seeds_of_yaml(), folder / "fuzzed.yaml"
    counts: Counter[str] = Counter()
    for number in range(count):
        content = mutated(sources, rng)
        path.write_bytes(content)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            outcome = _read(path)
            if number % EACH_CLI == 0:
                _through_the_command_line(path, outcome)
                counts["command line"] += 1
        except BaseException as error:
            kept = folder / f"failed_{number}.yaml"
            kept.write_bytes(content)
            raise AssertionError(f"seed {seed}, file {number} ({kept}): {type(error).__name__}: {error}") from error
        finally:
            faulthandler.cancel_dump_traceback_later()
        counts["settings" if outcome is None else "refused"] += 1
    return {"files": count, **counts}


def _read(path: Path) -> str | None:
    """The error's text; None: it holds settings, which survive being written and read."""
    try:
        settings = load_settings(path, environment={})
    except ConfigError as error:
        text = str(error)
        _require(len(text) < LONGEST, f"{len(text)} characters")
        place = error.field or NAMES_PLACE.search(text.replace(str(path), ""))
        _require(bool(place), f"names no field or line: {text}")
        return text
    again = path.with_name("again.yaml")
    again.write_text(dump_settings(settings), encoding="utf-8")
    read = load_settings(again, environment={})
    same = read.search_space == settings.search_space and read.model_dump(
        exclude={"search_space"}
    ) == settings.model_dump(exclude={"search_space"})
    _require(same, "its settings changed when they were written and read")
    return None


def _through_the_command_line(path: Path, outcome: str | None) -> None:
    """``--timeout nan`` is refused where the file is not, so that nothing begins."""
    err, out = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(out):
        code = cli.main(["run", "--config", str(path), "--timeout", "nan"])
    text = err.getvalue()
    _require(code == 2 and not out.getvalue(), f"exit code {code}: {text}{out.getvalue()}")
    _require(text.startswith("Error: ") and "Traceback" not in text, text)
    _require(outcome is not None or "study.timeout must be a finite number, but got nan" in text, text)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        counts = fuzz(asked.count, asked.seed, Path(folder))
    told = ", ".join(f"{number} {name}" for name, number in counts.items())
    print(f"{told}; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
