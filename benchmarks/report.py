"""How long a report takes to be made, and to be read: ``python benchmarks/report.py --trials 1000 --repeats 3``."""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the search on a cheap function, and the browser

from browsing import chromium, opened, wait_until_drawn
from builders.studies import searched
from cnn_lstm_hyperopt.reporting.html import write_report
from machine import machine_line

OBSERVE = """
window.tasks = [];
new PerformanceObserver((list) => window.tasks.push(...list.getEntries())).observe({ type: "longtask", buffered: true });
"""
LONGEST = """
() => {
  const loaded = performance.getEntriesByType("navigation")[0].loadEventEnd;
  return Math.max(0, ...window.tasks.filter((task) => task.startTime >= loaded).map((task) => task.duration));
}
"""


def main() -> None:
    """Prints a table: seconds to make it, its size, its nodes, and the longest task after loading."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print(machine_line())
    with tempfile.TemporaryDirectory() as place:
        folder = searched(Path(place) / "study", given.trials)
        built = []
        for _ in range(given.repeats):
            begun = time.perf_counter()
            path = write_report(folder)
            built.append(time.perf_counter() - begun)
        print(f"{given.trials} trials: {path.stat().st_size / 1e6:.2f} MB")
        print(
            f"made in {statistics.median(built):.2f} s (median of {given.repeats}, {min(built):.2f} to {max(built):.2f})"
        )
        with chromium() as browser:
            longest, nodes = [], 0
            for _ in range(given.repeats):
                page = opened(browser, path, before=OBSERVE)
                wait_until_drawn(page)
                page.wait_for_timeout(500)
                longest.append(float(page.evaluate(LONGEST)))
                nodes = int(page.evaluate("document.querySelectorAll('*').length"))
                page.close()
        print(f"{nodes:,} nodes once every chart is drawn")
        print(
            f"longest task after loading: {statistics.median(longest):.0f} ms (median of {given.repeats},"
            f" {min(longest):.0f} to {max(longest):.0f})"
        )


if __name__ == "__main__":
    main()
