"""Workers that hang, are killed or lack memory: real processes, real signals, a real limit of memory."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState

from cnn_lstm_hyperopt.search import LACKED_MEMORY, memory_levels
from waiting import wait_for

pytestmark = pytest.mark.slow

Start = Callable[..., "subprocess.Popen[str]"]
GIVE_UP = 240  # seconds; only a broken run ever waits that long
LONG_TRIALS = {"training": {"max_epochs": 40, "min_patience": 40}, "pruner": {"type": "none"}}  # so that one is met


def trials_of(save_dir: Path) -> list[FrozenTrial]:
    """The stored trials, read by Optuna itself; none before there is a study."""
    if not (save_dir / "study.db").is_file():
        return []
    url = f"sqlite:///{save_dir / 'study.db'}"
    return optuna.load_study(study_name=optuna.get_all_study_names(url)[0], storage=url).trials


def workers_of(save_dir: Path) -> dict[int, int]:
    """Process of each living worker, by the worker's number."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().decode().split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if "cnn_lstm_hyperopt.execution.worker" in command and str(save_dir) in command:
                found[int(command[command.index(str(save_dir)) + 1])] = int(entry.name)
    return found


def running_in(save_dir: Path, worker: int) -> list[int]:
    """Numbers of the trials that run in a worker now."""
    trials = (trial for trial in trials_of(save_dir) if trial.state is TrialState.RUNNING)
    return [trial.number for trial in trials if trial.user_attrs.get("worker") == worker]


def configuration(tiny: dict[str, Any], tmp_path: Path, **sections: Any) -> Path:
    """The tiny search with longer trials, so that a signal meets one, and with sections changed."""
    settings = {**tiny, "study": {"n_trials": 8, "portfolio": False}, "training": {"max_epochs": 12}}
    for name, values in sections.items():
        settings[name] = {**settings.get(name, {}), **values}
    path = tmp_path / "faults.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def strike(save_dir: Path, process: "subprocess.Popen[str]", sent: signal.Signals, which: int | None = None) -> int:
    """Sends a signal to a worker in the middle of a trial, of a certain one if it is named; returns the trial's number."""

    def struck() -> int | None:
        for number, pid in workers_of(save_dir).items():
            before = running_in(save_dir, number)
            if not before or which not in (None, *before):
                continue
            os.kill(pid, signal.SIGSTOP)  # so that the trial does not end between the look and the blow
            hit = running_in(save_dir, number) == before
            if hit:
                os.kill(pid, sent)
            if not (hit and sent == signal.SIGSTOP):
                os.kill(pid, signal.SIGCONT)
            if hit:
                return before[0] + 1
        return None

    wait_for(lambda: len([trial for trial in trials_of(save_dir) if trial.state.is_finished()]) >= 2, process)
    return int(wait_for(struck, process)) - 1


@pytest.mark.mostly_thorough(2)
@pytest.mark.parametrize(
    ("sent", "reason", "saving"),
    [
        (signal.SIGSTOP, "gave no sign of life for 25 s (limits.worker_silence_seconds)", 0),
        (signal.SIGKILL, "died (signal 9, perhaps for lack of memory", 1),
        (signal.SIGSEGV, "died (signal 11", 0),
    ],
)
def test_a_worker_that_falls_silent_or_dies_is_replaced_and_its_trial_run_again_once(
    tiny: dict[str, Any], tmp_path: Path, start_cli: Start, sent: signal.Signals, reason: str, saving: int
) -> None:
    config = configuration(tiny, tmp_path, limits={"worker_silence_seconds": 25}, **LONG_TRIALS)
    save_dir = Path(tiny["save_dir"])
    process = start_cli("run", "--config", config, "--workers", "2")
    number = strike(save_dir, process, sent)
    begun = time.monotonic()
    wait_for(lambda: trials_of(save_dir)[number].state is TrialState.FAIL, process)
    assert time.monotonic() - begun < 60  # the promise of docs/explanation/reliability.md
    out, err = process.communicate(timeout=GIVE_UP)
    assert process.returncode in (0, 1), (out, err)
    assert "Traceback" not in err
    trials = trials_of(save_dir)
    assert sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials) == 8
    assert [trial.number for trial in trials if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED)] == [number]
    assert reason in trials[number].user_attrs["reason"]
    (again,) = [trial for trial in trials if trial.user_attrs.get("retry_of") == number]
    assert again.params == trials[number].params
    assert again.user_attrs["seeded_as"] == number
    assert again.user_attrs.get("memory_saving", "none") == str(memory_levels(64)[saving])
    assert not list((save_dir / "checkpoints").glob("trial_*"))
    assert not (save_dir / "validation" / f"trial_{number:05d}.parquet").exists()
    assert workers_of(save_dir) == {}


def retry_in(save_dir: Path, number: int) -> FrozenTrial | None:
    """The trial that repeats another one, if it has begun."""
    return next((trial for trial in trials_of(save_dir) if trial.user_attrs.get("retry_of") == number), None)


def test_a_trial_that_kills_its_worker_each_time_fails_and_the_run_goes_on(
    tiny: dict[str, Any], tmp_path: Path, start_cli: Start
) -> None:
    config, save_dir = configuration(tiny, tmp_path, **LONG_TRIALS), Path(tiny["save_dir"])
    process = start_cli("run", "--config", config, "--workers", "2")
    chain = [strike(save_dir, process, signal.SIGKILL)]
    levels = memory_levels(int(trials_of(save_dir)[chain[0]].params["training.batch_size"]))
    for _ in levels[1:]:
        again = wait_for(lambda: retry_in(save_dir, chain[-1]), process).number
        chain.append(strike(save_dir, process, signal.SIGKILL, again))
    out, err = process.communicate(timeout=GIVE_UP)
    assert process.returncode in (0, 1), (out, err)
    trials = trials_of(save_dir)
    assert [trials[n].state for n in chain] == [TrialState.FAIL] * len(levels)
    assert retry_in(save_dir, chain[-1]) is None
    assert sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials) == 8


def test_workers_that_were_stopped_with_the_run_are_not_taken_for_silent(
    tiny: dict[str, Any], tmp_path: Path, start_cli: Start
) -> None:
    """Ctrl-Z and fg, a laptop that sleeps."""
    config, save_dir = configuration(tiny, tmp_path, limits={"worker_silence_seconds": 15}), Path(tiny["save_dir"])
    process = start_cli("run", "--config", config, "--workers", "2")
    wait_for(lambda: len([trial for trial in trials_of(save_dir) if trial.state.is_finished()]) >= 2, process)
    everyone = [process.pid, *workers_of(save_dir).values()]
    assert len(everyone) == 3
    for sent, seconds in ((signal.SIGSTOP, 20), (signal.SIGCONT, 0)):
        for pid in everyone:
            os.kill(pid, sent)
        time.sleep(seconds)
    out, err = process.communicate(timeout=GIVE_UP)
    assert process.returncode in (0, 1), (out, err)
    trials = trials_of(save_dir)
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
    assert len(trials) == 8
    assert max(trial.user_attrs["measured_seconds"] for trial in trials) < 20  # a pause is no training


def test_workers_that_die_at_start_end_the_run_with_a_line_that_says_why(
    tiny: dict[str, Any], tmp_path: Path, start_cli: Start, monkeypatch: pytest.MonkeyPatch
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
    out, err = start_cli("run", "--config", configuration(tiny, tmp_path), "--workers", "2").communicate(
        timeout=GIVE_UP
    )
    why = "exit code 1: ImportError: libmine.so: cannot open shared object file"
    assert f"died before it could begin a trial and is started again: {why}" in out
    assert re.fullmatch(
        rf"Error: worker [12] died 3 times before it could begin a trial: {why}; --workers 1 runs the trials in this process\n",
        err,
    )


LIMITED = """
import resource, sys
from cnn_lstm_hyperopt.cli import main
import torch
import cnn_lstm_hyperopt.pipeline.run
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 700 * 10**6,) * 2)
sys.exit(main(sys.argv[1:]))
"""


def test_trials_that_lack_memory_save_it_fail_with_the_reason_and_a_run_with_more_goes_on(
    tiny: dict[str, Any], tmp_path: Path, start_cli: Start
) -> None:
    """``ulimit -v``: torch's allocator and oneDNN are refused what the larger configurations need, and later even less, since
    the process keeps its pages in pieces."""
    config, save_dir = (
        configuration(
            tiny,
            tmp_path,
            study={"n_trials": 6},
            training={"max_epochs": 2},
            limits={"memory_mb": None, "trial_seconds": None},
            search_space={
                "cnn": {"num_filters": [4, 512], "filter_sizes": [[3, 5, 7, 11]], "residual": False},
                "training": {"batch_size": 1024, "learning_rate": [1e-3, 2e-2], "optimizer": ["adam"]},
            },
        ),
        Path(tiny["save_dir"]),
    )
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "run", "--config", str(config), "--workers", "1"],
        capture_output=True,
        text=True,
        timeout=GIVE_UP,
    )
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[0].startswith("Error: ")
    before = trials_of(save_dir)
    failed = [trial for trial in before if trial.state is TrialState.FAIL]
    assert failed
    assert all(trial.user_attrs["reason"].startswith(LACKED_MEMORY) for trial in failed)
    log = (save_dir / "run.log").read_text(encoding="utf-8")
    for saving in memory_levels(1024)[1:]:
        assert str(saving) in log
    process = start_cli("resume", "--save-dir", save_dir)
    out, err = process.communicate(timeout=GIVE_UP)
    assert process.returncode in (0, 1), (out, err)
    trials = trials_of(save_dir)
    assert [trial.user_attrs for trial in trials[: len(before)] if trial.state is TrialState.FAIL] == [
        trial.user_attrs for trial in failed
    ]
    assert sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials) == 6
    assert json.loads((save_dir / "results.json").read_text())["n_trials_completed"] == 6
