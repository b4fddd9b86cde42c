"""Runs of many trials: memory, files and threads stay what they were, and workers that grow are replaced."""

import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builders.runs import ROOT, require_success, require_whole, run

pytestmark = pytest.mark.slow
GIVE_UP = 900  # seconds; only a broken run takes so long

SCRIPT = """
import os, sys, threading
from pathlib import Path

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.pipeline.search_phase import search
from cnn_lstm_hyperopt.pipeline.session import open_session
from cnn_lstm_hyperopt.reporting.console.run_console import RunConsole
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.training.runtime.memory import resident_mb


class Sampling(RunConsole):
    def on_trial_end(self, record, trained):
        super().on_trial_end(record, trained)
        files = len(list(Path("/proc/self/fd").iterdir()))
        native = len(list(Path("/proc/self/task").iterdir()))
        print(record.number, resident_mb(), files, threading.active_count(), native, flush=True)


settings = load_settings(Path(sys.argv[1]))
events = Sampling(Terminal(quiet=True))
with open_session(settings, prepare_dataset(settings.data), resume=False, events=events) as session:
    search(session, StopSignal())
"""


@pytest.mark.timeout(GIVE_UP)
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this platform does not say what a process holds")
def test_180_trials_in_one_process_hold_no_more_than_60(config: Callable[..., Path], tiny: dict[str, Any]) -> None:
    """Of one epoch each, in a process that prints after every trial what it holds."""
    data = {"symbols": ["AAPL"], "end": "2006-12-31"}
    path = config(180, data=data, training={"max_epochs": 1})
    command = [sys.executable, "-c", SCRIPT, path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=GIVE_UP)
    assert done.returncode == 0, done.stderr[-2000:]
    samples = [[float(part) for part in line.split()] for line in done.stdout.splitlines()]
    assert [int(number) for number, *_ in samples] == list(range(180))
    _, memory, files, threads, native = (list(column) for column in zip(*samples, strict=True))

    def around(trial: int) -> float:
        """A trial's memory comes and goes with its network: the median of ten."""
        return statistics.median(memory[trial - 10 : trial])

    assert around(180) <= 1.05 * around(120), (around(60), around(120), around(180))
    for held in (files, threads, native):
        assert max(held[120:]) <= max(held[:60])
        assert held[179] <= held[59]


@pytest.mark.timeout(GIVE_UP)
def test_workers_that_grow_are_replaced_and_every_trial_is_run_once(
    config: Callable[..., Path], save_dir: Path
) -> None:
    """Any growth is too much here, so that a worker ends soon after its first trial."""
    code, _, err = run("run", "--config", config(6, limits={"worker_growth_mb": 0.001}), "--workers", "2")
    require_success(code, err, save_dir)
    trials = require_whole(save_dir, 6)
    assert len(trials) == 6
    assert {trial.user_attrs["worker"] for trial in trials} == {1, 2}
    assert (save_dir / "run.log").read_text(encoding="utf-8").count("a new worker takes over") >= 2
    assert not [path.name for path in save_dir.iterdir() if path.name.startswith(".")]
    stored = {path.name for path in (save_dir / "validation").iterdir()}
    assert stored == {f"trial_{number:05d}.parquet" for number in range(6)}
