"""A run is disturbed, ends in order and is resumed: nothing is lost, nothing is trained twice. Real processes and signals."""

import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from builders.runs import (
    FINISHED,
    Process,
    contents,
    ended,
    finished_in,
    require_success,
    require_whole,
    results_of,
    resume_and_check,
    run,
    start,
    trials_of,
    wait_for,
    workers_of,
)
from cnn_lstm_hyperopt.run_dir.paths import RUN_LOCK

pytestmark = pytest.mark.slow
Disturb = Callable[[Process, Path], contextlib.AbstractContextManager[None]]


def signals(*sent: signal.Signals) -> Disturb:
    """Send them one right after the other."""

    @contextlib.contextmanager
    def disturb(process: Process, save_dir: Path) -> Iterator[None]:
        for each in sent:
            process.send_signal(each)
        yield

    return disturb


@contextlib.contextmanager
def full_disk(process: Process, save_dir: Path) -> Iterator[None]:
    """Leave no byte on the disk."""
    filler = save_dir.parent / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    yield
    filler.unlink()


@contextlib.contextmanager
def file_limit(process: Process, save_dir: Path) -> Iterator[None]:
    """Let no file grow beyond SQLite's log, as a quota does; needs no privileges."""
    size = (save_dir / "study.db-wal").stat().st_size
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    yield


@contextlib.contextmanager
def moved_away(process: Process, save_dir: Path) -> Iterator[None]:
    """Rename the directory, and put it back when the run has ended."""
    away = save_dir.with_name("away")
    save_dir.rename(away)
    yield
    shutil.rmtree(save_dir, ignore_errors=True)
    away.rename(save_dir)


@contextlib.contextmanager
def locked(process: Process, save_dir: Path) -> Iterator[None]:
    """Hold the database for longer than a run waits; ``status`` can still read it."""
    with contextlib.closing(sqlite3.connect(save_dir / "study.db", timeout=30, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert run("status", "--save-dir", save_dir)[0] == 0
        yield
        other.execute("ROLLBACK")


@dataclass(frozen=True)
class Case:
    """How a run is disturbed, and the exit code that follows."""

    disturb: Disturb
    code: int
    workers: int = 1
    on_small_disk: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


LONG = {"training": {"max_epochs": 500}}
INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL
CASES = {
    "SIGTERM": Case(signals(TERM), 130),
    "SIGINT, two workers": Case(signals(INT), 130, 2),
    "SIGKILL, two workers": Case(signals(KILL), -9, 2),
    "SIGINT twice": Case(signals(INT, INT), 130, settings=LONG),
    "full disk, two workers": Case(full_disk, 1, 2, on_small_disk=True),
    "moved away": Case(moved_away, 1),
    "locked": Case(locked, 1),
    "SIGINT": Case(signals(INT), 130),
    "SIGKILL": Case(signals(KILL), -9),
    "file limit": Case(file_limit, 1),
    "moved away, two workers": Case(moved_away, 1, 2),
    "SIGTERM, two workers": Case(signals(TERM), 130, 2),
    "SIGTERM twice": Case(signals(TERM, TERM), 130, settings=LONG),
    "full disk": Case(full_disk, 1, on_small_disk=True),
}


@pytest.mark.mostly_thorough(7)
@pytest.mark.parametrize("name", CASES)
def test_a_disturbed_run_ends_in_order_and_is_resumed_without_a_loss(
    name: str, config: Callable[..., Path], save_dir: Path, small_disk: Callable[[str], Path]
) -> None:
    case = CASES[name]
    if case.on_small_disk:
        save_dir = small_disk("size=32m") / "results"
    path = config(**case.settings)
    process = start("run", "--config", path, "--save-dir", save_dir, "--workers", str(case.workers))
    wait_for(lambda: finished_in(save_dir) >= 2, process)
    before = contents(trials_of(save_dir))
    with case.disturb(process, save_dir):
        code, _, err = ended(process)
        assert code == case.code
        if code >= 0:  # the last line names the command that continues
            last = err.strip().splitlines()[-1]
            assert f" resume --save-dir {save_dir}" in last
            assert last.startswith("Error: ") == (code == 1)
    deadline = time.monotonic() + 60
    while workers_of(save_dir):  # they end with their parent, however it ended
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert contents(trials_of(save_dir))[: len(before)] == before or case.workers > 1
    if code == 130 and case.settings != LONG:
        require_results_of_an_interrupted_run(save_dir)
    numbers = [trial.number for trial in trials_of(save_dir)]
    trials = resume_and_check(save_dir)
    if code != 1:  # an interrupted trial keeps its number
        assert [trial.number for trial in trials if trial.state in FINISHED][: len(numbers)] == numbers
        assert not [trial for trial in trials if "retry_of" in trial.user_attrs]


def require_results_of_an_interrupted_run(save_dir: Path) -> None:
    """All files are written; running trials wait."""
    states, results = Counter(trial.state for trial in trials_of(save_dir)), results_of(save_dir)
    assert states[TrialState.RUNNING] == states[TrialState.FAIL] == 0
    assert states[TrialState.WAITING] <= 2
    assert results["n_trials_completed"] == states[TrialState.COMPLETE] + states[TrialState.PRUNED]
    assert results["counts"] == {state.name: states[state] for state in TrialState}
    assert results["overfitting"]["pbo"]["value"] is None


def test_timeout_ends_the_search_and_the_rest_is_done(config: Callable[..., Path], save_dir: Path) -> None:
    options = ("--timeout", "12", "--workers", "1", "--retrain-best", "--top-k", "1")
    code, _, err = run("run", "--config", config(), *options)
    require_success(code, err, save_dir)
    results = results_of(save_dir)
    assert 0 < results["n_trials_completed"] < 500
    assert len(results["retrained_models"]) == (1 if results["best_trials"] else 0)


@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("delay", [0.05, 0.0, 0.3])
def test_a_run_killed_at_its_start_leaves_a_usable_directory(
    config: Callable[..., Path], save_dir: Path, delay: float
) -> None:
    path = config(1)
    process = start("run", "--config", path, "--workers", "1")
    wait_for(lambda: save_dir.is_dir() and any(save_dir.iterdir()), process)
    time.sleep(delay)
    process.kill()
    process.communicate()
    there = (save_dir / "study.db").is_file()
    code, _, err = run(*(["resume", "--save-dir", save_dir] if there else ["run", "--config", path]))
    assert code in (0, 1), err
    require_whole(save_dir, 1)


@pytest.mark.mostly_thorough(2)
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [0.5, 0.0, 1.0])
def test_a_signal_while_the_program_loads_ends_it(
    config: Callable[..., Path], sent: signal.Signals, after: float
) -> None:
    process = start("run", "--config", config(), "--workers", "1")
    status = Path(f"/proc/{process.pid}/status")
    # SigCgt: the mask of signals that the process handles itself.
    wait_for(
        lambda: bool(int(status.read_text().split("SigCgt:")[1].split()[0], 16) >> (signal.SIGTERM - 1) & 1), process
    )
    time.sleep(after)
    process.send_signal(sent)
    code, _, err = ended(process)
    assert code == 130
    assert len(err.splitlines()) == 1


def fresh_scores_in(save_dir: Path) -> dict[int, list[list[float]]]:
    """Score and log loss of each training of a confirmation so far, by trial."""
    if finished_in(save_dir) == 0:
        return {}
    stored = optuna.load_study(study_name=None, storage=f"sqlite:///{save_dir / 'study.db'}").user_attrs
    return {int(number): scores for number, scores in stored.get("confirmation_readings", {}).items()}


@pytest.mark.mostly_thorough(2)
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_confirmation_is_resumed_and_the_test_set_evaluated_once(
    config: Callable[..., Path], save_dir: Path, sent: signal.Signals
) -> None:
    """The first run would confirm for minutes; the second asks for few seeds, which are nearly done."""
    few = {"enabled": True, "top_k": 1, "full_epochs": 2, "confirm_seeds": 2, "seeds": 1}
    process = start("run", "--config", config(10, retrain={**few, "confirm_seeds": 100}), "--workers", "1")
    wait_for(lambda: bool(fresh_scores_in(save_dir)), process)
    process.send_signal(sent)
    code, _, _ = ended(process)
    assert code == (-9 if sent == signal.SIGKILL else 130)
    before, results = fresh_scores_in(save_dir), results_of(save_dir)
    assert (results["test_openings"], results["retrained_models"]) == ([], [])

    code, _, err = run("run", "--config", config(10, retrain=few), "--resume", "--workers", "1")
    assert code == 0, err
    results, after = results_of(save_dir), fresh_scores_in(save_dir)
    candidates = {row["trial_number"]: row for row in results["confirmation"]["candidates"]}
    assert results["confirmation"]["seeds"] == 2
    assert len(results["test_openings"]) == len(results["retrained_models"]) == 1
    for number, scores in before.items():
        known = min(2, len(scores))
        assert candidates[number]["scores"][:known] == [score for score, _ in scores[:known]]
        assert after[number][: len(scores)] == scores
        assert len(after[number]) in (len(scores), 2)  # the worse half gets no second seed


def test_a_disk_that_is_full_from_the_start_is_an_error_and_can_be_used_later(
    config: Callable[..., Path], small_disk: Callable[[str], Path]
) -> None:
    save_dir, path = small_disk("size=100k") / "results", config(1)
    code, _, err = run("run", "--config", path, "--save-dir", save_dir, "--workers", "1")
    assert code == 1
    assert err.strip().splitlines()[-1].startswith(f"Error: {save_dir}")
    small_disk("size=64m")
    run("run", "--config", path, "--save-dir", save_dir, "--workers", "1")
    require_whole(save_dir, 1)


def test_a_read_only_directory_is_refused_by_every_command_that_writes(
    config: Callable[..., Path], small_disk: Callable[[str], Path]
) -> None:
    disk, path = small_disk("size=64m"), config(1)
    save_dir = disk / "results"
    run("run", "--config", path, "--save-dir", save_dir, "--workers", "1")
    (save_dir / RUN_LOCK).touch()  # as a run leaves it whose disk becomes read-only
    small_disk("ro")
    for command in (["run", "--config", path], ["resume"], ["resume", "--n-trials", "2"], ["status"]):
        target = disk / "new" if command[0] == "run" else save_dir
        code, _, err = run(*command, "--save-dir", target)
        assert (code, err.count("\n")) == (2, 1), err
    small_disk("rw")
    resume_and_check(save_dir, more=1)


def test_a_damaged_study_is_refused_and_its_backup_takes_its_place(config: Callable[..., Path], save_dir: Path) -> None:
    run("run", "--config", config(3), "--workers", "1")
    before, study = contents(trials_of(save_dir)), save_dir / "study.db"
    damaged = bytearray(study.read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 5000] = os.urandom(5000)
    study.write_bytes(damaged)
    for command in ("status", "resume", "narrow"):
        code, _, err = run(command, "--save-dir", save_dir)
        assert (code, err.count("\n")) == (2, 1)
        assert "study.backup.db" in err
    remedy = err[err.index("cd ") :].split(", then")[0]  # the command in the message
    subprocess.run(["sh", "-c", remedy], check=True)
    assert contents(trials_of(save_dir)) == before
    resume_and_check(save_dir, more=1)


def test_a_second_run_in_the_same_directory_is_refused(config: Callable[..., Path], save_dir: Path) -> None:
    process = start("run", "--config", config(), "--workers", "1")
    wait_for(lambda: finished_in(save_dir) >= 1, process)
    code, _, err = run("resume", "--save-dir", save_dir)
    assert (code, err.count("\n")) == (2, 1)
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 130
    code, _, err = run("run", "--config", config())  # without --resume
    assert code == 2
    assert "--resume" in err
    for flag, value, difference in (("--target", "direction", "data.target"), ("--seed", "7", "study.seed")):
        code, _, err = run("run", "--config", config(), "--resume", flag, value)
        assert code == 2
        assert difference in err


def test_of_two_runs_that_start_at_once_one_is_refused(config: Callable[..., Path], save_dir: Path) -> None:
    path = config(2)
    both = [start("run", "--config", path, "--workers", "1", "--seed", str(seed)) for seed in (1, 2)]
    codes = [ended(process)[0] for process in both]
    assert 2 in codes
    require_whole(save_dir, 2)
    assert yaml.safe_load((save_dir / "config.yaml").read_text())["study"]["seed"] == 2 - codes.index(2)
