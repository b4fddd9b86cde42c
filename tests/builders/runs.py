"""Real runs of the command line in processes of their own, and what they leave behind."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState

ROOT = Path(__file__).parents[2]
GIVE_UP = 300
"""Seconds after which a test fails; only a broken run takes so long."""
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
WORKER = "cnn_lstm_hyperopt.execution.worker"
Process = subprocess.Popen[str]
T = TypeVar("T")


def wait_for(condition: Callable[[], T], process: Process, *, seconds: float = GIVE_UP) -> T:
    """Return what the condition gives once it is true; fail when the process ends before."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run made no progress"
        time.sleep(0.02)
    return found


def start(*arguments: str | Path, **options: Any) -> Process:
    """Start the command line as a user does."""
    command = [sys.executable, "-m", "cnn_lstm_hyperopt", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def ended(process: Process) -> tuple[int, str, str]:
    """Exit code, output and errors of a process that ends; it shows no traceback."""
    out, err = process.communicate(timeout=GIVE_UP)
    assert "Traceback" not in out + err, err
    assert "Logging error" not in err
    return process.returncode, out, err


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Run a command to its end."""
    return ended(start(*arguments))


def config_file(folder: Path, settings: dict[str, Any], **sections: Any) -> Path:
    """Write settings; the sections are merged into theirs."""
    merged = {
        name: {**settings[name], **more} if isinstance(settings.get(name), dict) else more
        for name, more in sections.items()
    }
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump({**settings, **merged}), encoding="utf-8")
    return path


def rows(save_dir: Path, query: str) -> list[Any]:
    """Rows of ``study.db``, read without disturbing a run; none before there is a study."""
    if not (save_dir / "study.db").is_file():
        return []
    with contextlib.closing(sqlite3.connect(f"file:{save_dir / 'study.db'}?mode=ro", uri=True, timeout=10)) as db:
        try:
            return db.execute(query).fetchall()
        except sqlite3.OperationalError:  # the tables are being made
            return []


def finished_in(save_dir: Path) -> int:
    """Number of COMPLETE and PRUNED trials."""
    return len(rows(save_dir, "SELECT number FROM trials WHERE state IN ('COMPLETE', 'PRUNED')"))


def trials_of(save_dir: Path) -> list[FrozenTrial]:
    """The stored trials, read by Optuna, which then closes the file; none before there is a study."""
    if not (save_dir / "study.db").is_file():
        return []
    storage = optuna.storages.RDBStorage(f"sqlite:///{save_dir / 'study.db'}")
    try:
        return optuna.load_study(study_name=None, storage=storage).trials
    finally:
        storage.remove_session()
        storage.engine.dispose()


def contents(trials: list[FrozenTrial]) -> list[str]:
    """Number, state, parameters, values and attributes of each finished trial."""
    return [repr((t.number, t.state, t.params, t.values, t.user_attrs)) for t in trials if t.state in FINISHED]


def results_of(save_dir: Path) -> Any:
    """``results.json``."""
    return json.loads((save_dir / "results.json").read_text(encoding="utf-8"))


def require_success(code: int, err: str, save_dir: Path) -> None:
    """Check the exit code of a run that ended by itself: 1 where no trial beats chance."""
    assert (save_dir / "results.json").is_file(), (code, err)
    assert code == (0 if results_of(save_dir)["best_trials"] else 1), err


def require_whole(save_dir: Path, total: int) -> list[FrozenTrial]:
    """Check that a study has its trials, none twice and none unfinished; return them."""
    trials = trials_of(save_dir)
    states = Counter(trial.state for trial in trials)
    assert states[TrialState.COMPLETE] + states[TrialState.PRUNED] == total
    assert states[TrialState.RUNNING] == states[TrialState.WAITING] == 0
    assert len({json.dumps(trial.params, sort_keys=True) for trial in trials if trial.state in FINISHED}) == total
    assert results_of(save_dir)["n_trials_completed"] == total
    return trials


def resume_and_check(save_dir: Path, more: int = 2) -> list[FrozenTrial]:
    """Resume to a few more trials; finished ones stay as they were."""
    before = contents(trials_of(save_dir))
    code, _, err = run("resume", "--save-dir", save_dir, "--n-trials", str(len(before) + more))
    require_success(code, err, save_dir)
    trials = require_whole(save_dir, len(before) + more)
    assert set(before) <= set(contents(trials))
    return trials


def workers_of(save_dir: Path) -> dict[int, int]:
    """Process of each living worker, by the worker's number."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                command = (entry / "cmdline").read_bytes().decode().split("\0")
                if WORKER in command and str(save_dir) in command:
                    found[int(command[command.index(str(save_dir)) + 1])] = int(entry.name)
    return found


def signal_all(pids: list[int], sent: signal.Signals) -> None:
    """Send a signal to each process."""
    for pid in pids:
        os.kill(pid, sent)
