"""Workers that hang, are killed or lack memory: real processes, real signals, a real limit of memory."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from builders.runs import (
    FINISHED,
    GIVE_UP,
    Process,
    ended,
    finished_in,
    require_whole,
    run,
    signal_all,
    start,
    trials_of,
    wait_for,
    workers_of,
)
from cnn_lstm_hyperopt.search import LACKED_MEMORY, memory_levels

pytestmark = pytest.mark.slow
LONG_TRIALS = {"training": {"max_epochs": 40, "min_patience": 40}, "pruner": {"type": "none"}}  # a signal meets one


def running_in(save_dir: Path, worker: int) -> list[int]:
    """Numbers of the trials that run in a worker now."""
    trials = (trial for trial in trials_of(save_dir) if trial.state is TrialState.RUNNING)
    return [trial.number for trial in trials if trial.user_attrs.get("worker") == worker]


def strike(save_dir: Path, process: Process, sent: signal.Signals, which: int | None = None) -> int:
    """Send a signal to a worker within a trial (within ``which``, if given); return the trial's number."""

    def struck() -> int | None:
        for number, pid in workers_of(save_dir).items():
            before = running_in(save_dir, number)
            if not before or which not in (None, *before):
                continue
            os.kill(pid, signal.SIGSTOP)  # the trial can't end between the look and the signal
            hit = running_in(save_dir, number) == before
            if hit:
                os.kill(pid, sent)
            if not (hit and sent == signal.SIGSTOP):
                os.kill(pid, signal.SIGCONT)
            if hit:
                return before[0] + 1
        return None

    wait_for(lambda: finished_in(save_dir) >= 2, process)
    return int(wait_for(struck, process)) - 1


def retry_in(save_dir: Path, number: int) -> FrozenTrial | None:
    """The trial that repeats another one, if it has started."""
    return next((trial for trial in trials_of(save_dir) if trial.user_attrs.get("retry_of") == number), None)


@pytest.mark.mostly_thorough(2)
@pytest.mark.parametrize(
    ("sent", "level"),
    [(signal.SIGSTOP, 0), (signal.SIGKILL, 1), (signal.SIGSEGV, 0)],
    ids=["silent", "killed", "crashed"],
)
def test_a_worker_that_is_silent_or_dies_is_replaced_and_its_trial_run_again_once(
    config: Callable[..., Path], save_dir: Path, sent: signal.Signals, level: int
) -> None:
    path = config(8, limits={"worker_silence_seconds": 25}, **LONG_TRIALS)
    process = start("run", "--config", path, "--workers", "2")
    number = strike(save_dir, process, sent)
    wait_for(lambda: trials_of(save_dir)[number].state is TrialState.FAIL, process, seconds=60)
    code, _, err = ended(process)
    assert code in (0, 1), err
    trials = require_whole(save_dir, 8)
    assert [trial.number for trial in trials if trial.state not in FINISHED] == [number]
    again = retry_in(save_dir, number)
    assert again.params == trials[number].params
    assert again.user_attrs["seeded_as"] == number
    assert again.user_attrs.get("memory_saving", "none") == str(memory_levels(64)[level])
    assert not list((save_dir / "checkpoints").glob("trial_*"))
    assert not (save_dir / "validation" / f"trial_{number:05d}.parquet").exists()
    assert workers_of(save_dir) == {}


def test_a_trial_that_kills_its_worker_each_time_fails_and_the_run_continues(
    config: Callable[..., Path], save_dir: Path
) -> None:
    process = start("run", "--config", config(8, **LONG_TRIALS), "--workers", "2")
    chain = [strike(save_dir, process, signal.SIGKILL)]
    levels = memory_levels(int(trials_of(save_dir)[chain[0]].params["training.batch_size"]))
    for _ in levels[1:]:
        again = wait_for(lambda: retry_in(save_dir, chain[-1]), process).number
        chain.append(strike(save_dir, process, signal.SIGKILL, again))
    code, _, err = ended(process)
    assert code in (0, 1), err
    trials = require_whole(save_dir, 8)
    assert [trials[n].state for n in chain] == [TrialState.FAIL] * len(levels)
    assert retry_in(save_dir, chain[-1]) is None


def test_workers_that_were_stopped_with_the_run_do_not_count_as_silent(
    config: Callable[..., Path], save_dir: Path
) -> None:
    """Ctrl-Z and fg, a laptop that sleeps."""
    path = config(8, training={"max_epochs": 12}, limits={"worker_silence_seconds": 15})
    process = start("run", "--config", path, "--workers", "2")
    wait_for(lambda: finished_in(save_dir) >= 2, process)
    everyone = [process.pid, *workers_of(save_dir).values()]
    assert len(everyone) == 3
    signal_all(everyone, signal.SIGSTOP)
    time.sleep(20)
    signal_all(everyone, signal.SIGCONT)
    code, _, err = ended(process)
    assert code in (0, 1), err
    trials = require_whole(save_dir, 8)
    assert len(trials) == 8
    assert max(trial.user_attrs["measured_seconds"] for trial in trials) < 20  # a pause is no training


def test_workers_that_die_at_start_end_the_run_with_their_error(
    config: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'cnn_lstm_hyperopt.execution.worker' in sys.orig_argv:\n"
        "    os.write(2, b'ImportError: libmine.so: cannot open shared object file\\n')\n"
        "    os._exit(1)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(site))
    code, _, err = run("run", "--config", config(8), "--workers", "2")
    assert (code, err.count("\n")) == (1, 1)
    assert "exit code 1: ImportError: libmine.so: cannot open shared object file" in err
    assert "--workers 1" in err


LIMITED = """
import resource, sys
from cnn_lstm_hyperopt.cli import main
import torch
import cnn_lstm_hyperopt.pipeline.run
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 700 * 10**6,) * 2)
sys.exit(main(sys.argv[1:]))
"""


def test_trials_that_lack_memory_use_less_or_fail_and_a_run_with_more_continues(
    config: Callable[..., Path], save_dir: Path
) -> None:
    """``ulimit -v``: torch's allocator can't give the weights of the larger configurations and their gradients (840 MB)."""
    space = {
        "cnn": {"num_filters": [4], "filter_sizes": [[3, 5]], "residual": False},
        "lstm": {"hidden_dim": [8], "bidirectional": False},
        "fusion": {"method": ["attention"], "dim": [16, 5120], "attention_heads": [4]},
        "training": {"batch_size": 1024, "learning_rate": [1e-3, 2e-2], "optimizer": ["adam"]},
    }
    limits = {"memory_mb": None, "trial_seconds": None}
    path = config(6, training={"max_epochs": 2}, limits=limits, search_space=space)
    command = [sys.executable, "-c", LIMITED, "run", "--config", str(path), "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=GIVE_UP)
    assert done.returncode in (0, 1), (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    before = trials_of(save_dir)
    failed = [trial.user_attrs for trial in before if trial.state is TrialState.FAIL]
    assert failed
    assert all(attributes["reason"].startswith(LACKED_MEMORY) for attributes in failed)
    log = (save_dir / "run.log").read_text(encoding="utf-8")
    assert all(str(level) in log for level in memory_levels(1024)[1:])
    code, _, err = run("resume", "--save-dir", save_dir, "--n-trials", "8")
    assert code in (0, 1), err
    trials = require_whole(save_dir, 8)
    assert [t.user_attrs for t in trials[: len(before)] if t.state is TrialState.FAIL] == failed
