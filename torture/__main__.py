"""``make torture``: kills until there are enough, then mutated files; ends with code 1 at the first broken promise."""

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import count
from pathlib import Path
from typing import Any

from torture import fuzz_config, fuzz_data
from torture.chapters import measure_speed, write_chapter
from torture.kills import STRUCK, Story

FUZZERS: dict[str, Callable[[int, int, Path], dict[str, Any]]] = {
    "config files": fuzz_config.fuzz,
    "files of bars": fuzz_data.fuzz,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 every promise was kept, 1 one was broken."""
    given = _arguments(arguments)
    until = time.time() + 60 * given.minutes
    root = Path(tempfile.mkdtemp(prefix="torture_"))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.jobs, mp_context=spawn) as pool:
        whole = _kill(pool, given, root, until) and _fuzz(pool, given, root)
    if whole:
        root.rmdir()
    return 0 if whole else 1


def _kill(pool: ProcessPoolExecutor, given: argparse.Namespace, root: Path, until: float) -> bool:
    """Chapters until there are enough kills or the time is up; returns whether all promises were kept."""
    if not given.kills:
        return True
    begun, seeds = time.time(), count(given.seed)
    cache = root / "cache"
    measure_speed(root / "speed", cache)
    stories: list[Story] = []
    running: dict[Future[list[Story]], int] = {}

    def kills() -> int:
        return sum(sum(story.kills.values()) for story in stories)

    while True:
        while len(running) < given.jobs and kills() < given.kills and time.time() < until:
            seed = next(seeds)
            running[pool.submit(write_chapter, seed, root / f"seed_{seed}", cache, until)] = seed
        if not running:
            break
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            seed = running.pop(future)
            for story in future.result():
                stories.append(story)
                _show(story, kills(), given.kills)
                if story.found:
                    print(f"Repeat with: make torture SEED={seed} KILLS=1 FUZZ=0; kept: {root}", flush=True)
                    for other in running:
                        other.cancel()
                    return False
    _show_table(stories, time.time() - begun)
    _remove(root / "speed", cache)
    return True


def _fuzz(pool: ProcessPoolExecutor, given: argparse.Namespace, root: Path) -> bool:
    """Mutated files of each kind; returns whether all were refused or taken as they should."""
    if not given.fuzz:
        return True
    running: dict[str, Future[dict[str, Any]]] = {}
    for name, fuzz in FUZZERS.items():
        (root / name).mkdir()
        running[name] = pool.submit(fuzz, given.fuzz, given.seed, root / name)
    whole = True
    for name, future in running.items():
        try:
            told = future.result()
        except (AssertionError, BrokenProcessPool) as error:  # the latter: it hung, and has ended its process
            told = {"faults": [f"{type(error).__name__}: {error}"]}
        counts = ", ".join(f"{key} {value}" for key, value in told.items() if isinstance(value, (int, float)))
        print(f"Mutated {name}: {counts}", flush=True)
        for text in told.get("faults", ()):
            print(f"  BROKEN: {text}", flush=True)
            whole = False
    if whole:
        _remove(*(root / name for name in FUZZERS))
    else:
        print(f"Repeat with: make torture SEED={given.seed} KILLS=0 FUZZ={given.fuzz}; kept: {root}", flush=True)
    return whole


def _show(story: Story, kills: int, asked: int) -> None:
    where = ", ".join(f"{story.kills[place]} {place}" for place in STRUCK if story.kills[place])
    print(f"[{kills}/{asked} kills] {story.name}: {where or 'none'}; {story.seconds:.0f} s", flush=True)
    for text in story.found:
        print(f"  BROKEN: {text}", flush=True)


def _show_table(stories: Sequence[Story], seconds: float) -> None:
    columns = {"1 worker": Counter[str](), "2 workers": Counter[str]()}
    for story in stories:
        columns["2 workers" if "2 workers" in story.name else "1 worker"].update(story.kills)
    print(f"\n{'killed in':28}" + "".join(f"{name:>12}" for name in columns))
    for place in STRUCK:
        print(f"{place:28}" + "".join(f"{counts[place]:12}" for counts in columns.values()))
    print(f"{'all':28}" + "".join(f"{counts.total():12}" for counts in columns.values()))
    print(f"{len(stories)} studies, each resumed to its end and checked, in {seconds:.0f} s", flush=True)


def _remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="at least so many")
    parser.add_argument("--fuzz", type=int, default=5000, help="mutated files of each kind")
    parser.add_argument("--minutes", type=float, default=120, help="after which no further study is begun")
    parser.add_argument("--seed", type=int, default=0, help="of the first chapter; the next ones count on")
    parser.add_argument("--jobs", type=int, default=2, help="at once")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
