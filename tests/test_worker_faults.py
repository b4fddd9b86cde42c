"""Workers that hang, are killed or lack memory: real processes, real signals, a real limit of memory."""

import json
import os
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

from cnn_lstm_hyperopt.search import MEMORY_SAVINGS

pytestmark = pytest.mark.slow

Start = Callable[..., "subprocess.Popen[str]"]
GIVE_UP = 240  # seconds; only a broken run ever waits that long


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
            if "cnn_lstm_hyperopt.worker" in command and str(save_dir) in command:
                found[int(command[command.index(str(save_dir)) + 1])] = int(entry.name)
    return found


def running_in(save_dir: Path, worker: int) -> list[int]:
    """Numbers of the trials that run in a worker now."""
    trials = (trial for trial in trials_of(save_dir) if trial.state is TrialState.RUNNING)
    return [trial.number for trial in trials if trial.user_attrs.get("worker") == worker]


def until(condition: Callable[[], Any], process: "subprocess.Popen[str]") -> Any:
    """What the condition gives once it is true; fails when the process ends before."""
    deadline = time.monotonic() + GIVE_UP
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run got nowhere"
        time.sleep(0.02)
    return found


def configuration(tiny: dict[str, Any], tmp_path: Path, **sections: Any) -> Path:
    """The tiny search with longer trials, so that a signal meets one, and with sections changed."""
    settings = {**tiny, "study": {"n_trials": 8, "portfolio": False}, "training": {"max_epochs": 12}}
    for name, values in sections.items():
        settings[name] = {**settings.get(name, {}), **values}
    path = tmp_path / "faults.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def strike(save_dir: Path, process: "subprocess.Popen[str]", sent: signal.Signals) -> int:
    """Sends a signal to a worker in the middle of a trial; returns the trial's number."""

    def struck() -> int | None:
        for number, pid in workers_of(save_dir).items():
            before = running_in(save_dir, number)
            if before:
                os.kill(pid, signal.SIGSTOP)  # so that the trial does not end between the look and the blow
                if running_in(save_dir, number) == before:
                    os.kill(pid, sent)
                    return before[0] + 1
                os.kill(pid, signal.SIGCONT)
        return None

    until(lambda: len([trial for trial in trials_of(save_dir) if trial.state.is_finished()]) >= 2, process)
    return int(until(struck, process)) - 1


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
    config, save_dir = configuration(tiny, tmp_path, limits={"worker_silence_seconds": 25}), Path(tiny["save_dir"])
    process = start_cli("run", "--config", config, "--workers", "2")
    number = strike(save_dir, process, sent)
    begun = time.monotonic()
    until(lambda: trials_of(save_dir)[number].state is TrialState.FAIL, process)
    assert time.monotonic() - begun < 60  # the promise of docs/reliability.md
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
    assert again.user_attrs.get("memory_saving", MEMORY_SAVINGS[0]) == MEMORY_SAVINGS[saving]
    assert not list((save_dir / "checkpoints").glob("trial_*"))
    assert workers_of(save_dir) == {}


def retry_in(save_dir: Path, number: int) -> FrozenTrial | None:
    """The trial that repeats another one, if it has begun."""
    return next((trial for trial in trials_of(save_dir) if trial.user_attrs.get("retry_of") == number), None)


def kill_worker_of(save_dir: Path, number: int) -> bool:
    """Kills the worker in which a trial runs; whether there was one."""
    pid = workers_of(save_dir).get(trials_of(save_dir)[number].user_attrs["worker"])
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
    return pid is not None


def test_a_trial_that_kills_its_worker_each_time_fails_and_the_run_goes_on(
    tiny: dict[str, Any], tmp_path: Path, start_cli: Start
) -> None:
    config, save_dir = configuration(tiny, tmp_path), Path(tiny["save_dir"])
    process = start_cli("run", "--config", config, "--workers", "2")
    chain = [strike(save_dir, process, signal.SIGKILL)]
    for _ in MEMORY_SAVINGS[1:]:
        chain.append(until(lambda: retry_in(save_dir, chain[-1]), process).number)
        until(lambda: kill_worker_of(save_dir, chain[-1]), process)
    out, err = process.communicate(timeout=GIVE_UP)
    assert process.returncode in (0, 1), (out, err)
    trials = trials_of(save_dir)
    assert [trials[n].state for n in chain] == [TrialState.FAIL] * 3
    assert retry_in(save_dir, chain[-1]) is None
    assert sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials) == 8


LIMITED = """
import resource, sys
from cnn_lstm_hyperopt.cli import main
import torch
import cnn_lstm_hyperopt.experiment
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {more} * 10**6,) * 2)
sys.exit(main(sys.argv[1:]))
"""


def test_trials_that_run_out_of_memory_save_it_or_fail_and_the_others_go_on(
    tiny: dict[str, Any], tmp_path: Path
) -> None:
    """``ulimit -v``: torch's allocator is refused what the larger configurations need."""
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
    code = LIMITED.format(more=700)
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--config", str(config), "--workers", "1"],
        capture_output=True,
        text=True,
        timeout=GIVE_UP,
    )
    assert done.returncode in (0, 1), (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    trials = trials_of(save_dir)
    small, large = ([t for t in trials if t.params["cnn.num_filters"] == n] for n in (4, 512))
    assert small
    assert large
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in small)
    assert all("memory_saving" not in trial.user_attrs for trial in small)
    for trial in large:
        if trial.state is TrialState.FAIL:
            assert "memory" in trial.user_attrs["reason"]
        else:
            assert trial.user_attrs["memory_saving"] in MEMORY_SAVINGS[1:]
    assert json.loads((save_dir / "results.json").read_text())["n_trials_completed"] == 6
