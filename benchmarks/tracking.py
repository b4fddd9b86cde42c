"""What MLflow costs a run: ``python benchmarks/tracking.py --trials 60 --repeats 2``.

The same study (estimated seconds, so the same trials) of ``configs/hyperopt/demo.yaml`` with and without MLflow, taking turns, as
whole runs of the command line with two workers on the embedded bars. Wall seconds are what a user waits, with the last look at
MLflow after the search; processor seconds are those of all processes.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from machine import machine_line

CONFIG = Path(__file__).parents[1] / "configs" / "hyperopt" / "demo.yaml"


def run(trials: int, *, mlflow: bool) -> tuple[float, float, float]:
    """Seconds of the wall from beginning to end, the same until the search has ended, and processor seconds."""
    with tempfile.TemporaryDirectory() as folder:
        settings = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
        settings["study"] |= {"n_trials": trials, "time_objective": "estimated"}
        settings |= {"retrain": {"enabled": False}, "mlflow": {"enabled": mlflow}, "report": False}
        config, results = Path(folder) / "study.yaml", Path(folder) / "results"
        config.write_text(yaml.safe_dump(settings), encoding="utf-8")
        command = [sys.executable, "-m", "cnn_lstm_hyperopt", "run", "--config", str(config)]
        command += ["--workers", "2", "--save-dir", str(results)]
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            searched = 0.0
            for line in running.stdout or ():
                if line.startswith("Search finished"):
                    searched = time.perf_counter() - begun
        wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        if running.returncode:
            raise SystemExit(f"the run ended with {running.returncode}")
        if mlflow and not (results / "mlflow.db").is_file():
            raise SystemExit("nothing was tracked")
    return wall, searched, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=2)
    given = parser.parse_args()
    runs: dict[bool, list[tuple[float, float, float]]] = {False: [], True: []}
    for _ in range(given.repeats):
        for mlflow in runs:
            runs[mlflow].append(run(given.trials, mlflow=mlflow))
    print(f"{machine_line()}; {given.trials} trials, 2 workers, medians of {given.repeats} runs in turn\n")
    print("| | without MLflow | with MLflow | ratio (smallest to largest) |")
    print("|---|---|---|---|")
    for place, name in enumerate(("whole run, s", "until the search has ended, s", "processor, s")):
        without, with_it = ([each[place] for each in runs[mlflow]] for mlflow in (False, True))
        ratios = [a / b for a, b in zip(with_it, without, strict=True)]
        print(
            f"| {name} | {statistics.median(without):.1f} | {statistics.median(with_it):.1f} |"
            f" {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}) |"
        )


if __name__ == "__main__":
    main()
