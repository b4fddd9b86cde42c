"""Runs of hundreds of trials: memory, files and threads stay what they were, and workers that grow are replaced."""

import json
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import TrialState

ROOT = Path(__file__).parents[1]
GIVE_UP = 900  # seconds; only a broken run ever waits that long

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


def start_config(tiny: dict[str, Any], tmp_path: Path, **sections: Any) -> Path:
    path = tmp_path / "long.yaml"
    path.write_text(yaml.safe_dump({**tiny, **sections}), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.timeout(GIVE_UP)
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this platform does not say what a process holds")
def test_three_hundred_trials_in_one_process_hold_no_more_than_one_hundred(
    tiny: dict[str, Any], tmp_path: Path
) -> None:
    """Of one epoch each, in a process of its own that says after every trial what it holds; learning rates make them differ."""
    config = start_config(
        tiny,
        tmp_path,
        study={"n_trials": 300},
        data={**tiny["data"], "symbols": ["AAPL"], "end": "2006-12-31"},
        training={"max_epochs": 1},
    )
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, config],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=GIVE_UP,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    samples = [[float(part) for part in line.split()] for line in done.stdout.splitlines()]
    assert [int(number) for number, *_ in samples] == list(range(300))
    _, memory, files, threads, native = (list(column) for column in zip(*samples, strict=True))

    def around(trial: int) -> float:
        """A trial's memory comes and goes with its network, so ten of them are looked at."""
        return statistics.median(memory[trial - 10 : trial])

    assert around(300) <= 1.05 * around(200), (around(100), around(200), around(300))
    for held in (files, threads, native):
        assert max(held[200:]) <= max(held[:100])
        assert held[299] <= held[99]


@pytest.mark.slow
@pytest.mark.timeout(GIVE_UP)
def test_workers_that_grow_are_replaced_and_every_trial_is_run_once(
    tiny: dict[str, Any], tmp_path: Path, start_cli: Callable[..., "subprocess.Popen[str]"]
) -> None:
    """Any growth at all is too much here, so that a worker ends soon after its first trial."""
    config = start_config(tiny, tmp_path, study={"n_trials": 12}, limits={"worker_growth_mb": 0.001})
    save_dir = Path(tiny["save_dir"])
    process = start_cli("run", "--config", config, "--workers", "2")
    _, err = process.communicate(timeout=GIVE_UP)
    results = json.loads((save_dir / "results.json").read_text())
    assert process.returncode == (0 if results["best_trials"] else 1), err
    assert "Traceback" not in err

    url = f"sqlite:///{save_dir / 'study.db'}"
    trials = optuna.load_study(study_name=optuna.get_all_study_names(url)[0], storage=url).trials
    states = Counter(trial.state for trial in trials)
    assert states[TrialState.COMPLETE] + states[TrialState.PRUNED] == len(trials) == 12
    assert len({json.dumps(trial.params, sort_keys=True) for trial in trials}) == 12
    assert {trial.user_attrs["worker"] for trial in trials} == {1, 2}

    log = (save_dir / "run.log").read_text(encoding="utf-8")
    assert log.count("a new worker takes over") >= 2
    assert "died" not in log
    assert not [path.name for path in save_dir.iterdir() if path.name.startswith(".")]
