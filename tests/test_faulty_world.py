"""What a run makes of a world that breaks: full and read-only disks, damaged studies, signals, a directory that goes."""

import contextlib
import errno
import importlib
import json
import logging
import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState
from safetensors import SafetensorError

from cnn_lstm_hyperopt.cli import main
from cnn_lstm_hyperopt.config import dump_settings, load_settings
from cnn_lstm_hyperopt.errors import SaveDirError, StorageFailedError
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.pipeline.save_dir_check import check_save_dir
from cnn_lstm_hyperopt.run_dir.lock import only_run
from cnn_lstm_hyperopt.run_dir.paths import RUN_LOCK, resume_command
from cnn_lstm_hyperopt.run_dir.run_log import run_log
from cnn_lstm_hyperopt.run_dir.storage_errors import storage_faults
from cnn_lstm_hyperopt.search import State, StudyStorage, Values
from waiting import wait_for

Start = Callable[..., "subprocess.Popen[str]"]
GIVE_UP = 200  # seconds; only a broken run ever waits that long


def trials_of(save_dir: Path) -> list[FrozenTrial]:
    """The stored trials, read by Optuna itself, which then lets go of the file."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{save_dir / 'study.db'}")
    try:
        return optuna.load_study(study_name=None, storage=storage).trials
    finally:
        storage.remove_session()
        storage.engine.dispose()


def said(trial: FrozenTrial) -> tuple[Any, ...]:
    """All that a trial says."""
    return trial.number, trial.state, trial.params, trial.values, trial.user_attrs


def finished_in(save_dir: Path) -> list[tuple[Any, ...]]:
    """What COMPLETE and PRUNED trials say."""
    return [said(trial) for trial in trials_of(save_dir) if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]


def count_in(save_dir: Path) -> int:
    """Finished trials, read without disturbing the run; 0 before there is a study."""
    if not (save_dir / "study.db").is_file():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{save_dir / 'study.db'}?mode=ro", uri=True)) as connection:
        query = "SELECT count(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED')"
        return int(connection.execute(query).fetchone()[0])


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """As another user than root, to whom everything is allowed."""
    importlib.import_module("colorsys")  # rich imports it late, when its file may not be readable any more
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Exit code, output and errors."""
    out, err = process.communicate(timeout=GIVE_UP)
    assert "Traceback" not in out + err, err
    assert "Logging error" not in err
    return process.returncode, out, err


@pytest.fixture
def config(tiny: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration; without a number of trials the run goes on until it is stopped."""

    def write(n_trials: int = 500, **changed: Any) -> Path:
        path = tmp_path / "config.yaml"
        settings = {**tiny, "study": {"n_trials": n_trials, "portfolio": False}, **changed}
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        return path

    return write


def resumed(start_cli: Start, save_dir: Path, before: list[tuple[Any, ...]], more: int = 2) -> list[FrozenTrial]:
    """Goes on to a few more trials; all that was finished must be as it was, and nothing left undone."""
    total = len(before) + more
    code, _, err = ended(start_cli("resume", "--save-dir", save_dir, "--n-trials", str(total)))
    results = json.loads((save_dir / "results.json").read_text())
    assert code == (0 if results["best_trials"] else 1), err
    assert results["n_trials_completed"] == total
    assert finished_in(save_dir)[: len(before)] == before or set(map(repr, before)) <= set(
        map(repr, finished_in(save_dir))
    )
    trials = trials_of(save_dir)
    states = Counter(trial.state for trial in trials)
    assert states[TrialState.COMPLETE] + states[TrialState.PRUNED] == total
    assert states[TrialState.RUNNING] == states[TrialState.WAITING] == 0
    return trials


# ---------------------------------------------------------------------- a disk that is full


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system of its own: ``small_disk("size=3m")`` mounts it, and called again changes it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def mount(options: str) -> Path:
        nonlocal mounted
        asked = f"remount,{options}" if mounted else options
        command = ["mount", "-t", "tmpfs", "-o", asked, "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount here")
        if done.returncode != 0 and not mounted:
            pytest.skip(f"a file system can't be mounted here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        mounted = True
        return folder

    yield mount
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leaves no byte; returns the file that takes them."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


@pytest.mark.slow
@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("workers", ["2", "1"])
def test_a_full_disk_ends_the_run_in_one_line_and_nothing_is_lost(
    config: Callable[..., Path], small_disk: Callable[[str], Path], start_cli: Start, workers: str
) -> None:
    disk = small_disk("size=32m")
    save_dir = disk / "results"
    process = start_cli("run", "--config", config(), "--save-dir", save_dir, "--workers", workers)
    wait_for(lambda: count_in(save_dir) >= 2, process)
    filler = fill(disk)
    code, _, err = ended(process)
    assert code == 1
    line = err.strip().splitlines()[-1]
    assert line.startswith(f"Error: {save_dir}")
    assert line.endswith(
        "can't be written: the disk is full; finished trials are kept. Remedy: free some space, then resume:"
        f" {resume_command(save_dir)} (in Python: resume=True)"
    )
    filler.unlink()
    before = finished_in(save_dir)
    assert len(before) >= 2
    resumed(start_cli, save_dir, before)


@pytest.mark.slow
def test_a_disk_that_is_full_from_the_start_says_so(
    config: Callable[..., Path], small_disk: Callable[[str], Path], start_cli: Start
) -> None:
    save_dir = small_disk("size=100k") / "results"
    code, _, err = ended(start_cli("run", "--config", config(1), "--save-dir", save_dir, "--workers", "1"))
    assert code == 1
    assert "can't be written: the disk is full" in err.strip().splitlines()[-1]
    small_disk("size=64m")
    code, _, err = ended(start_cli("run", "--config", config(1), "--save-dir", save_dir, "--workers", "1"))
    assert count_in(save_dir) == 1, err


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
def test_a_limit_of_file_sizes_ends_the_run_in_one_line_and_nothing_is_lost(
    config: Callable[..., Path], tiny: dict[str, Any], start_cli: Start
) -> None:
    """What a quota does; it needs no privileges. The log, or the write-ahead log of SQLite, may not grow any more."""
    save_dir = Path(tiny["save_dir"])
    process = start_cli("run", "--config", config(), "--workers", "1")
    wait_for(lambda: count_in(save_dir) >= 2, process)
    size = (save_dir / "study.db-wal").stat().st_size
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    code, _, err = ended(process)
    assert code == 1
    assert err.strip().splitlines()[-1] == (
        f"Error: {save_dir / 'study.db'} can't be written: the disk or a limit prevents it; finished trials are kept."
        " Remedy: check the disk and its limits (quota, ulimit -f), then resume:"
        f" {resume_command(save_dir)} (in Python: resume=True)"
    )
    before = finished_in(save_dir)
    assert len(before) >= 2
    resumed(start_cli, save_dir, before)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_log_that_can_not_be_written_says_so_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.log").symlink_to("/dev/full")
    with run_log(tmp_path):
        for number in range(5):
            logging.getLogger("cnn_lstm_hyperopt.anything").info("line %d", number)
    assert capsys.readouterr().err == (
        f"Warning: {tmp_path / 'run.log'} can't be written any more: No space left on device\n"
    )


@pytest.mark.parametrize(
    ("code", "problem", "cure"),
    [
        (errno.ENOSPC, "the disk is full", "free some space"),
        (errno.EDQUOT, "the disk quota is used up", "free some space"),
        (errno.EROFS, "the file system is read-only", "make it writable"),
        (errno.EACCES, "permission denied", "make it writable"),
        (errno.EFBIG, "a file has reached the size limit", "raise the limit (ulimit -f)"),
    ],
)
def test_what_can_not_be_written_is_told_with_the_cure(tmp_path: Path, code: int, problem: str, cure: str) -> None:
    file = tmp_path / "validation" / ".trial_00003.parquet.0123456789abcdef.part"
    with pytest.raises(StorageFailedError) as caught, storage_faults(tmp_path):
        raise OSError(code, os.strerror(code), str(file))
    assert str(caught.value) == (
        f"{tmp_path / 'validation' / 'trial_00003.parquet'} can't be written: {problem}; finished trials are kept. Remedy:"
        f" {cure}, then resume: cnn-lstm-hyperopt resume --save-dir {tmp_path} (in Python: resume=True)"
    )


def test_weights_that_can_not_be_written_are_told_alike(tmp_path: Path) -> None:
    """safetensors has an error of its own, with the system's number in its text."""
    with pytest.raises(StorageFailedError, match=r"can't be written: the disk is full"), storage_faults(tmp_path):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/somewhere/AAPL.csv"),
        PermissionError(errno.EACCES, "Permission denied", "/somewhere/AAPL.csv"),
        OSError(errno.ENOSPC, "No space left on device", "/somewhere/else"),
        PermissionError(errno.EACCES, "Permission denied"),
        OSError("of the user's own function"),
        SafetensorError("header too large"),
    ],
    ids=str,
)
def test_errors_about_other_places_stay_what_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, storage_faults(tmp_path):
        raise error
    assert caught.value is error


def test_a_directory_that_is_gone_is_told_as_that(tmp_path: Path) -> None:
    save_dir = tmp_path / "results"
    gone = pytest.raises(StorageFailedError, match=r"results/study.db was removed, moved or replaced")
    with gone, storage_faults(save_dir):
        (save_dir / "results.json").write_text("{}")


# ---------------------------------------------------------------------- a disk that can only be read


@pytest.mark.slow
def test_a_read_only_directory_is_refused_before_anything_is_begun(
    config: Callable[..., Path], small_disk: Callable[[str], Path], start_cli: Start
) -> None:
    disk = small_disk("size=64m")
    save_dir = disk / "results"
    path = config(1)
    ended(start_cli("run", "--config", path, "--save-dir", save_dir, "--workers", "1"))
    before = finished_in(save_dir)
    (save_dir / RUN_LOCK).touch()  # as a run leaves it whose disk becomes read-only
    small_disk("ro")
    code, _, err = ended(start_cli("run", "--config", path, "--save-dir", disk / "new", "--workers", "1"))
    read_only = "is read-only; make it writable, or name another\n"
    assert (code, err) == (2, f"Error: --save-dir {disk / 'new'} can't be written: {disk} {read_only}")
    code, _, err = ended(start_cli("resume", "--save-dir", save_dir))
    assert (code, err) == (2, f"Error: --save-dir {save_dir} can't be written: {save_dir} {read_only}")
    for command in (["resume", "--n-trials", "2"], ["status"]):
        code, _, err = ended(start_cli(*command, "--save-dir", save_dir))
        assert code == 2
        assert err == (
            f"Error: {save_dir / 'study.db'} can't be opened as a study: unable to open database file; SQLite must be able to"
            f" write in {save_dir}: make it writable\n"
        )
    small_disk("rw")
    resumed(start_cli, save_dir, before, more=1)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are another matter there")
@pytest.mark.parametrize("command", [["status"], ["resume"], ["narrow"], ["run", "--use-real-data"]], ids=" ".join)
def test_what_may_not_even_be_looked_at_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    save_dir = tmp_path / "secret" / "results"
    save_dir.mkdir(parents=True)
    save_dir.parent.chmod(0o600)
    try:
        with without_privileges():
            code = main([*command, "--save-dir", str(save_dir)])
    finally:
        save_dir.parent.chmod(0o700)
    assert code == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert said.startswith("Error: ")
    assert str(save_dir) in said
    assert "Permission denied; " in said


# ---------------------------------------------------------------------- a directory that holds something else


@pytest.mark.parametrize("name", ["study.db", "run.log", ".run.lock", "trials.csv", "results.json", "data.json"])
def test_a_directory_where_a_file_is_needed_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(SaveDirError) as caught:
        check_save_dir(tmp_path, resume=False)
    assert str(caught.value) == (
        f"{tmp_path / name} is in the way: a run needs this name for a file; move it, or name another --save-dir"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "results.json")
    with pytest.raises(SaveDirError, match=r"results.json is in the way: a run needs this name for a file"):
        check_save_dir(tmp_path, resume=False)


@pytest.mark.parametrize("name", ["validation", "checkpoints", "retrained_model_1"])
def test_a_file_where_a_directory_is_needed_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(SaveDirError, match=rf"{name} is in the way: a run needs this name for a directory"):
        check_save_dir(tmp_path, resume=False)


def test_results_without_their_study_are_not_written_over(tmp_path: Path) -> None:
    for name in ("results.json", "trials.csv", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "retrained_model_2").mkdir()
    (tmp_path / "retrained_model_2_of_mine").mkdir()
    with pytest.raises(SaveDirError) as caught:
        check_save_dir(tmp_path, resume=False)
    assert str(caught.value) == (
        f"{tmp_path} holds results.json, trials.csv, retrained_model_2 and no study.db, so a new study would overwrite them;"
        " move them, or choose another --save-dir"
    )


@pytest.mark.parametrize(
    "name", ["data.json", "figures/mine.png", "checkpoints/final/weights", "validation/mine.parquet"]
)
def test_files_of_ones_own_that_are_named_like_those_of_a_run_are_not_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("{}", encoding="utf-8")
    with pytest.raises(
        SaveDirError, match=rf"holds {name.split('/')[0]}.* and no study.db, so a new study would overwrite"
    ):
        check_save_dir(tmp_path, resume=False)


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry run"])
@pytest.mark.parametrize("place", ["bars", "bars/../bars", "link", "bars/retrained_model_1/..", "."])
def test_the_folder_of_the_bars_is_not_a_place_for_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: str, dry: list[str]
) -> None:
    """trials.csv would be read as a symbol."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bars" / "retrained_model_1").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "bars")
    if place == ".":
        monkeypatch.chdir(tmp_path / "bars")
    assert main(["run", "--data-dir", str(tmp_path / "bars"), "--save-dir", place, *dry]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"Error: --save-dir {Path(place)} must not be the folder of the bars (--data-dir {tmp_path / 'bars'})"
    )
    assert len(said.splitlines()) == 1
    assert [path.name for path in (tmp_path / "bars").iterdir()] == ["retrained_model_1"]


def test_bars_in_a_folder_that_a_run_replaces_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bars = tmp_path / "retrained_model_1" / "bars"
    bars.mkdir(parents=True)
    assert main(["run", "--data-dir", str(bars), "--save-dir", str(tmp_path)]) == 2
    assert f"--data-dir {bars} must not be inside {tmp_path / 'retrained_model_1'}, which" in capsys.readouterr().err


def test_a_configuration_of_ones_own_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: Callable[..., Path]
) -> None:
    own = config(3)  # tmp_path / "config.yaml"
    assert main(["run", "--config", str(own), "--save-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"Error: {tmp_path} holds a config.yaml of your own and no study.db, so a new study would overwrite them; move them, or"
        " choose another --save-dir\n"
    )
    own.write_text(dump_settings(load_settings(own, environment={})), encoding="utf-8")
    check_save_dir(tmp_path, resume=False)  # what a run has left that ended before it had a study


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_a_directory_that_can_never_be_made_is_refused_by_a_dry_run_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dry: list[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["run", "--use-real-data", "--save-dir", str(tmp_path / "file" / "x"), *dry]) == 2
    assert capsys.readouterr().err == (
        f"Error: --save-dir {tmp_path / 'file' / 'x'} can't be made: {tmp_path / 'file'} is no directory; name another\n"
    )


@pytest.mark.slow
def test_a_reader_that_goes_away_does_not_end_the_run(config: Callable[..., Path], tiny: dict[str, Any]) -> None:
    """``cnn-lstm-hyperopt run … | head -1``."""
    command = [sys.executable, "-m", "cnn_lstm_hyperopt", "run", "--config", str(config(2)), "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(GIVE_UP) in (0, 1), err
    save_dir = Path(tiny["save_dir"])
    assert "Traceback" not in err
    assert len(finished_in(save_dir)) == 2
    assert "the output is closed; the run continues" in (save_dir / "run.log").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no pseudoterminals of this kind")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_terminal_that_closes_does_not_end_the_run(
    config: Callable[..., Path], tiny: dict[str, Any], workers: str
) -> None:
    """A real terminal, whose end sends SIGHUP to the run and its workers; whatever is written there fails from then on."""
    import pty

    command = ["-m", "cnn_lstm_hyperopt", "run", "--config", str(config(4)), "--workers", workers, "--retrain-best"]
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, *command])  # noqa: S606
    seen = b""
    while b"complete" not in seen and b"pruned" not in seen:  # a trial has ended
        seen += os.read(terminal, 4096)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    save_dir = Path(tiny["save_dir"])
    log = (save_dir / "run.log").read_text(encoding="utf-8")
    assert (os.WIFEXITED(status), os.waitstatus_to_exitcode(status)) in ((True, 0), (True, 1)), log
    assert len(finished_in(save_dir)) == 4
    assert json.loads((save_dir / "results.json").read_text())["n_trials_completed"] == 4
    assert "the output is closed" in log
    assert "Written to" in log
    assert "Traceback" not in log


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_encoding_without_our_characters_does_not_end_a_command(
    config: Callable[..., Path], tiny: dict[str, Any], encoding: str
) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for command in (["run", "--config", config(2), "--workers", "1"], ["status", "--save-dir", tiny["save_dir"]]):
        done = subprocess.run(
            [sys.executable, "-m", "cnn_lstm_hyperopt", *map(str, command)],
            capture_output=True,
            timeout=GIVE_UP,
            env=environment,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        assert b"UnicodeEncodeError" not in done.stderr
        done.stdout.decode(encoding)
    assert len(finished_in(Path(tiny["save_dir"]))) == 2


# ---------------------------------------------------------------------- a study that is locked or damaged


@pytest.mark.slow
def test_a_locked_study_ends_the_run_after_half_a_minute_and_nothing_is_lost(
    config: Callable[..., Path], tiny: dict[str, Any], start_cli: Start
) -> None:
    save_dir = Path(tiny["save_dir"])
    process = start_cli("run", "--config", config(), "--workers", "1")
    wait_for(lambda: count_in(save_dir) >= 2, process)
    with contextlib.closing(sqlite3.connect(save_dir / "study.db", timeout=30, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        locked = time.monotonic()
        code, out, _ = ended(start_cli("status", "--save-dir", save_dir))
        assert code == 0
        assert re.search(r"A run is at work on it now(: trial \d+ at epoch [\d.]+( · [\d,]+ MB)?)?\.", out)
        code, _, err = ended(process)
        assert 25 < time.monotonic() - locked < 120
        before = finished_in(save_dir)
        other.execute("ROLLBACK")
    assert code == 1
    assert err.strip().splitlines()[-1] == (
        f"Error: {save_dir / 'study.db'} can't be written: another program held its lock for 30 s; finished trials are kept."
        " Remedy: close the program that has it open (an SQLite shell, a copy in progress), then resume:"
        f" {resume_command(save_dir)} (in Python: resume=True)"
    )
    resumed(start_cli, save_dir, before)


@pytest.mark.slow
def test_a_damaged_study_is_refused_by_every_command_and_its_copy_takes_its_place(
    config: Callable[..., Path], tiny: dict[str, Any], start_cli: Start
) -> None:
    save_dir = Path(tiny["save_dir"])
    ended(start_cli("run", "--config", config(3), "--workers", "1"))
    before = finished_in(save_dir)
    study = save_dir / "study.db"
    damaged = bytearray(study.read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 5000] = os.urandom(5000)
    study.write_bytes(damaged)
    for command in ("status", "resume", "narrow"):
        code, _, err = ended(start_cli(command, "--save-dir", save_dir))
        assert code == 2
        assert err.startswith(f"Error: {study} can't be opened as a study: it is damaged or not a study (")
        assert "study.backup.db beside it holds 3 finished trials; restore it with: cd" in err
        assert err.count("\n") == 1
    put_in_place = err.split("with: ")[1].split(", then go on")[0]
    subprocess.run(["sh", "-c", put_in_place], check=True)
    assert finished_in(save_dir) == before
    resumed(start_cli, save_dir, before, more=1)


def test_a_directory_whose_study_was_removed_keeps_the_copy(tmp_path: Path) -> None:
    storage = StudyStorage(tmp_path / "study.db", create="x")
    trial_id, _ = storage.start({}, {}, {"size_mb": 1.0})
    storage.finish(trial_id, State.COMPLETE, Values(0.7, 1, 1), {})
    storage.back_up()
    storage.close()
    (tmp_path / "study.db").unlink()
    for resume in (False, True):
        with pytest.raises(SaveDirError, match=r"no longer holds study.db; study.backup.db beside it holds 1 finished"):
            check_save_dir(tmp_path, resume=resume)


# ---------------------------------------------------------------------- a directory that goes


@pytest.mark.slow
@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("workers", ["2", "1"])
def test_a_directory_that_is_moved_away_ends_the_run_and_goes_on_when_it_is_back(
    config: Callable[..., Path], tiny: dict[str, Any], start_cli: Start, tmp_path: Path, workers: str
) -> None:
    save_dir, away = Path(tiny["save_dir"]), tmp_path / "away"
    process = start_cli("run", "--config", config(), "--workers", workers)
    wait_for(lambda: count_in(save_dir) >= 2, process)
    save_dir.rename(away)
    code, _, err = ended(process)
    assert code == 1
    assert (
        err.strip()
        .splitlines()[-1]
        .startswith(
            f"Error: {save_dir / 'study.db'} was removed, moved or replaced during the run, so nothing more can be stored."
            f" Put it back, then resume: {resume_command(save_dir)}"
        )
    )
    before = finished_in(away)
    assert len(before) >= 2
    shutil.rmtree(save_dir, ignore_errors=True)
    away.rename(save_dir)
    resumed(start_cli, save_dir, before)


def test_the_lock_of_another_run_in_a_replaced_directory_is_left_alone(tmp_path: Path) -> None:
    save_dir = tmp_path / "results"
    save_dir.mkdir()
    with only_run(save_dir):
        save_dir.rename(tmp_path / "away")
        save_dir.mkdir()
        (save_dir / RUN_LOCK).touch()
    assert (save_dir / RUN_LOCK).exists()
    with only_run(save_dir):
        pass
    assert not (save_dir / RUN_LOCK).exists()


@pytest.mark.slow
def test_of_two_runs_that_begin_at_once_one_is_refused(
    config: Callable[..., Path], tiny: dict[str, Any], start_cli: Start
) -> None:
    save_dir = Path(tiny["save_dir"])
    path = config(2)
    both = [start_cli("run", "--config", path, "--workers", "1", "--seed", str(seed)) for seed in (1, 2)]
    codes, _, errors = zip(*map(ended, both), strict=True)
    assert 2 in codes
    refused = errors[codes.index(2)]
    assert "another run is at work in" in refused or "already holds the study" in refused
    assert len(finished_in(save_dir)) == 2
    seed = yaml.safe_load((save_dir / "config.yaml").read_text())["study"]["seed"]
    assert seed == 2 - codes.index(2)


# ---------------------------------------------------------------------- signals


@pytest.mark.slow
@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("workers", ["2", "1"])
def test_sigterm_ends_the_run_in_good_order(
    config: Callable[..., Path], tiny: dict[str, Any], start_cli: Start, workers: str
) -> None:
    save_dir = Path(tiny["save_dir"])
    process = start_cli("run", "--config", config(), "--workers", workers)
    wait_for(lambda: count_in(save_dir) >= 2, process)
    process.send_signal(signal.SIGTERM)
    code, out, err = ended(process)
    assert code == 130
    assert "Search ended by SIGTERM" in out
    assert err == f"Interrupted; finished trials are saved, continue with: {resume_command(save_dir)}\n"
    results = json.loads((save_dir / "results.json").read_text())
    before = finished_in(save_dir)
    assert results["n_trials_completed"] == len(before) >= 2
    assert results["overfitting"]["pbo"]["value"] is None
    assert "interrupted" in results["overfitting"]["pbo"]["why"]
    assert not [trial for trial in trials_of(save_dir) if trial.state is TrialState.RUNNING]
    resumed(start_cli, save_dir, before)
    assert "interrupted" not in str(json.loads((save_dir / "results.json").read_text())["overfitting"]["pbo"]["why"])


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_run_at_once(
    config: Callable[..., Path], tiny: dict[str, Any], start_cli: Start, second: signal.Signals
) -> None:
    """A third one may come too late to be of any harm."""
    save_dir = Path(tiny["save_dir"])
    path = config(training={"max_epochs": 500})
    process = start_cli("run", "--config", path, "--workers", "1")
    wait_for(lambda: count_in(save_dir) >= 1, process)
    process.send_signal(signal.SIGINT)
    process.send_signal(second)
    code, _, err = ended(process)
    assert code == 130
    assert len(err.strip().splitlines()) == 1
    assert "resume --save-dir" in err
    before = finished_in(save_dir)
    resumed(start_cli, save_dir, before)


@pytest.mark.slow
@pytest.mark.mostly_thorough(2)
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [0.5, 0.0, 1.0])
def test_a_signal_while_the_program_is_loaded_ends_it_at_once(
    config: Callable[..., Path], start_cli: Start, sent: signal.Signals, after: float
) -> None:
    process = start_cli("run", "--config", config(), "--workers", "1")
    status = Path(f"/proc/{process.pid}/status")
    # SigCgt: the mask of signals that the process handles itself.
    wait_for(
        lambda: bool(int(status.read_text().split("SigCgt:")[1].split()[0], 16) >> (signal.SIGTERM - 1) & 1), process
    )
    time.sleep(after)
    process.send_signal(sent)
    begun = time.monotonic()
    code, _, err = ended(process)
    assert code == 130
    assert time.monotonic() - begun < 30
    assert err.startswith("Interrupted")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("sent", "reason"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")], ids=["SIGINT", "SIGTERM"]
)
def test_the_first_signal_is_the_reason_and_the_second_interrupts(sent: signal.Signals, reason: str) -> None:
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    stop = StopSignal()
    with stop.listening():
        signal.raise_signal(sent)
        assert (stop.reason, stop.interrupted) == (reason, True)
        for again in (signal.SIGINT, signal.SIGTERM):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(again)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_outside_the_main_thread_signals_stay_as_they_are() -> None:
    handler = signal.getsignal(signal.SIGTERM)
    seen = []

    def listen() -> None:
        with StopSignal().listening():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [handler]
