"""Mutated files of bars through the command ``data``: each ends with code 0, or with 2 and a line that names the file.

Run as ``python -m torture.fuzz_data --count 5000 --seed 0``. Files are CSV and Parquet of a few dozen bars, broken by
flipped bytes, lost, doubled and swapped lines and cells, hostile cells, cut ends and pieces of other files.
"""

import argparse
import contextlib
import io
import re
import signal
import tempfile
import time
import traceback
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cnn_lstm_hyperopt import cli

HEADER = "date,open,high,low,close,volume"
SYMBOL = "BARS"
HANG_SECONDS = 20
LONGEST = 4_000
"""Characters of an error."""
EVERY_PARQUET = 8
HOSTILE = (
    *(
        "=1+1",
        "=cmd|' /C calc'!A0",
        "@SUM(A1:A9)",
        "+1",
        "-",
        "0x1F",
        "1e308",
        "-1e308",
        "1e-308",
        "1e999",
        "inf",
        "nan",
        "-0",
    ),
    *(
        "",
        " ",
        "\t",
        '"',
        '""',
        "'",
        '"\n"',
        ",",
        ";",
        "\\",
        "\x00",
        "\x1b[31m",
        "\u202e9",
        "\ufeff",
        "٣",
        "½",
        "1,5",
        "1.234,5",
    ),
    *(
        "1 000",
        "1_000",
        "$9",
        "9%",
        "(9)",
        "TRUE",
        "None",
        "NaT",
        "now",
        "today",
        "0001-01-01",
        "9999-12-31",
        "1969-12-31",
    ),
    *(
        "2015-02-30",
        "31.12.2015",
        "12/31/2015",
        "31/12/2015",
        "Jan 5 2015",
        "20150105",
        "42009",
        "1420416000",
        "9" * 19,
        "9" * 400,
    ),
    *(
        "2015-01-05T00:00:00Z",
        "2015-01-05 09:30+05:30",
        "2015-01-05T00:00+99:99",
        "date",
        HEADER,
        "A" * 3_000,
        "{0}",
        "%s",
        "[red]",
    ),
)
Mutation = Callable[[bytes, np.random.Generator], bytes]


class HungError(BaseException):
    """A file that takes too long; no ``except Exception`` swallows it."""


def sound(bars: int, seed: int) -> pd.DataFrame:
    """Legal daily bars."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, bars)))
    opened = close * np.exp(rng.normal(0, 0.005, bars))
    return pd.DataFrame(
        {
            "date": pd.bdate_range("2015-01-05", periods=bars).astype(str),
            "open": opened.round(4),
            "high": (np.maximum(opened, close) * 1.01).round(4),
            "low": (np.minimum(opened, close) * 0.99).round(4),
            "close": close.round(4),
            "volume": rng.integers(1000, 9999, bars),
        }
    )


def _some(rng: np.random.Generator, size: int) -> int:
    return int(rng.integers(0, max(size, 1)))


def flip_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes become others."""
    broken = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        broken[_some(rng, len(broken))] = int(rng.integers(0, 256))
    return bytes(broken)


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    """The end is lost, or the beginning."""
    place = _some(rng, len(data))
    return data[:place] if rng.random() < 0.7 else data[place:]


def lose_piece(data: bytes, rng: np.random.Generator) -> bytes:
    """A piece from the middle is lost."""
    start = _some(rng, len(data))
    return data[:start] + data[start + int(rng.integers(1, 60)) :]


def splice(data: bytes, rng: np.random.Generator) -> bytes:
    """A piece comes again at another place."""
    start, place = _some(rng, len(data)), _some(rng, len(data))
    return data[:place] + data[start : start + int(rng.integers(1, 400))] + data[place:]


def _with_lines(change: Callable[[list[bytes], np.random.Generator], Any]) -> Mutation:
    def mutate(data: bytes, rng: np.random.Generator) -> bytes:
        lines = data.split(b"\n")
        change(lines, rng)
        return b"\n".join(lines)

    return mutate


def _lose_line(lines: list[bytes], rng: np.random.Generator) -> None:
    del lines[_some(rng, len(lines))]


def _double_line(lines: list[bytes], rng: np.random.Generator) -> None:
    lines.insert(_some(rng, len(lines)), lines[_some(rng, len(lines))])


def _swap_lines(lines: list[bytes], rng: np.random.Generator) -> None:
    a, b = _some(rng, len(lines)), _some(rng, len(lines))
    lines[a], lines[b] = lines[b], lines[a]


def _swap_cells(lines: list[bytes], rng: np.random.Generator) -> None:
    row = _some(rng, len(lines))
    cells = lines[row].split(b",")
    a, b = _some(rng, len(cells)), _some(rng, len(cells))
    cells[a], cells[b] = cells[b], cells[a]
    lines[row] = b",".join(cells)


def _lose_cell(lines: list[bytes], rng: np.random.Generator) -> None:
    row = _some(rng, len(lines))
    cells = lines[row].split(b",")
    del cells[_some(rng, len(cells))]
    lines[row] = b",".join(cells)


def _hostile_cell(lines: list[bytes], rng: np.random.Generator) -> None:
    row = _some(rng, len(lines))
    cells = lines[row].split(b",")
    cells[_some(rng, len(cells))] = _hostile(rng)
    lines[row] = b",".join(cells)


def _hostile_column(lines: list[bytes], rng: np.random.Generator) -> None:
    place, cell = _some(rng, 6), _hostile(rng)
    for row in range(int(rng.integers(0, 2)), len(lines)):
        cells = lines[row].split(b",")
        if place < len(cells):
            cells[place] = cell
        lines[row] = b",".join(cells)


def _hostile(rng: np.random.Generator) -> bytes:
    return HOSTILE[_some(rng, len(HOSTILE))].encode("utf-8", "surrogatepass")


def other_separator(data: bytes, rng: np.random.Generator) -> bytes:
    """Another separator, here and there or everywhere."""
    separator = (b";", b"\t", b"|", b" ", b":")[_some(rng, 5)]
    return data.replace(b",", separator, -1 if rng.random() < 0.7 else _some(rng, 200))


def other_encoding(data: bytes, rng: np.random.Generator) -> bytes:
    """Another encoding, or two of them."""
    encoding = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "utf-7", "cp037")[_some(rng, 7)]
    place = len(data) if rng.random() < 0.7 else _some(rng, len(data))
    return data[:place].decode("latin-1").encode(encoding, "replace") + data[place:]


OF_TEXT: dict[str, Mutation] = {
    "flipped bytes": flip_bytes,
    "cut": cut,
    "lost piece": lose_piece,
    "splice": splice,
    "lost line": _with_lines(_lose_line),
    "doubled line": _with_lines(_double_line),
    "swapped lines": _with_lines(_swap_lines),
    "swapped cells": _with_lines(_swap_cells),
    "lost cell": _with_lines(_lose_cell),
    "hostile cell": _with_lines(_hostile_cell),
    "hostile column": _with_lines(_hostile_column),
    "another separator": other_separator,
    "another encoding": other_encoding,
}
OF_BYTES: dict[str, Mutation] = {name: OF_TEXT[name] for name in ("flipped bytes", "cut", "lost piece", "splice")}


def mutated(data: bytes, rng: np.random.Generator, mutations: dict[str, Mutation]) -> tuple[bytes, list[str]]:
    """``data`` after one to three mutations, and their names."""
    names = [list(mutations)[_some(rng, len(mutations))] for _ in range(int(rng.integers(1, 4)))]
    for name in names:
        data = mutations[name](data, rng) or b" "
    return data, names


@contextlib.contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """Raises in the middle of what hangs."""

    def ring(*_: object) -> None:
        raise HungError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fault_of(folder: Path, rng: np.random.Generator) -> tuple[int | None, str | None]:
    """The exit code of ``data`` on a folder with one file, and what is wrong with how it ended; None: nothing."""
    bad_bars = ("error", "error", "drop", "keep")[_some(rng, 4)]
    target = ("volatility", "direction")[_some(rng, 2)]
    arguments = ["data", "--data-dir", str(folder), "--lookback", "3", "--target", target, "--on-bad-bars", bad_bars]
    out, err = io.StringIO(), io.StringIO()
    try:
        with no_longer_than(HANG_SECONDS), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main(arguments)
    except BaseException:  # noqa: BLE001 - whatever comes out of main is what is looked for
        return None, traceback.format_exc()
    text = err.getvalue()
    if code == 0:
        return code, None if not text else f"code 0, but stderr has {text[:500]!r}"
    if code != 2:
        return code, f"code {code}: {text[:500]!r}"
    return code, _fault_of_text(text)


def _fault_of_text(text: str) -> str | None:
    if "Traceback" in text or len(text) > LONGEST:
        return f"{len(text)} characters: {text[:500]!r}"
    if not all(letter.isprintable() or letter == "\n" or unicodedata.category(letter) == "Zs" for letter in text):
        return f"holds what can't be shown: {text[:500]!r}"
    named = re.match(rf"Error: ({SYMBOL} \(.*{SYMBOL}\.(csv|parquet)\): \w|\d+ \w+ in the bars:\n  {SYMBOL} \()", text)
    of_all_bars = re.match(r"Error: (too few bars|can't split \d+ windows|no \w+ windows|all \d+ |none of \d+ )", text)
    return None if named or of_all_bars else f"names neither the file nor the windows: {text[:500]!r}"


def fuzz(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Breaks ``count`` files, one after the other, and lets ``data`` read each.

    Args:
        count: files.
        seed: decides all of them.
        folder: an empty one, for the file of the moment; those with faults stay in it.

    Returns:
        ``files``, ``sound`` (code 0), ``refused`` (code 2), ``mutations`` by name, ``seconds`` and ``faults``: what went wrong,
        and where the file lies.
    """
    rng = np.random.default_rng(seed)
    sources = [sound(bars, seed + number) for number, bars in enumerate((150, 90, 40, 3))]
    texts = [source.to_csv(index=False).encode() for source in sources]
    tables = [_parquet(source) for source in sources]
    place = folder / "bars"
    place.mkdir(parents=True, exist_ok=True)
    codes: Counter[int | None] = Counter()
    mutations: Counter[str] = Counter()
    faults: list[str] = []
    (place / f"{SYMBOL}.csv").write_bytes(texts[0])
    with contextlib.redirect_stdout(io.StringIO()):
        code = cli.main(["data", "--data-dir", str(place), "--lookback", "3"])  # also imports all that the files need
    if code != 0:
        raise RuntimeError("the command data fails on sound bars")
    (place / f"{SYMBOL}.csv").unlink()
    began = time.monotonic()
    for number in range(count):
        is_text = number % EVERY_PARQUET != 0
        which = _some(rng, len(sources)) if rng.random() < 0.4 else 0
        data, names = mutated((texts if is_text else tables)[which], rng, OF_TEXT if is_text else OF_BYTES)
        path = place / f"{SYMBOL}.{'csv' if is_text else 'parquet'}"
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            code, fault = fault_of(place, rng)
        codes[code] += 1
        mutations.update(names)
        if fault is not None:
            kept = folder / f"fault_{number}{path.suffix}"
            path.replace(kept)
            faults.append(f"{kept} ({', '.join(names)}): {fault}")
        else:
            path.unlink()
    return {
        "files": count,
        "sound": codes[0],
        "refused": codes[2],
        "mutations": dict(mutations),
        "seconds": round(time.monotonic() - began, 1),
        "faults": faults,
    }


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def main() -> int:
    """Prints the counts; 1 if a file ended otherwise than it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fuzz_data_"))
    found = fuzz(given.count, given.seed, folder)
    faults = found.pop("faults")
    print(found)
    for fault in faults[:20]:
        print(fault)
    print(f"{len(faults)} faults" + (f"; the files lie in {folder}" if faults else ""))
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
