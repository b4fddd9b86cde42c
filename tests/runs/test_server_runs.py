"""Real runs on a PostgreSQL server: the same results as in a file, and a password that no file and no command line has."""

import contextlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from builders.runs import ended, require_success, results_of, run, start, wait_for, workers_of
from cnn_lstm_hyperopt.search import PostgresServer, StudyStorage, database_in

if TYPE_CHECKING:
    from builders.postgres import Server

pytestmark = pytest.mark.slow


def test_a_run_on_a_server_has_the_results_of_a_run_in_a_file(
    server: "Server", config: Callable[..., Path], save_dir: Path, tmp_path: Path
) -> None:
    path = config(8)
    url, secret = server.url(password=server.password), server.password
    process = start(
        "run", "--config", path, "--workers", "2", "--storage", url, "--study-name", "a real run", "--debug"
    )
    commands = wait_for(lambda: [_command(pid) for pid in workers_of(save_dir).values()], process, seconds=900)
    assert not any(secret in command for command in commands)
    code, out, err = ended(process)
    require_success(code, err, save_dir)
    assert not (save_dir / "study.db").exists()
    assert secret not in out + err

    in_file = tmp_path / "in a file"
    code, _, err = run("run", "--config", path, "--save-dir", in_file, "--n-trials", "3")
    require_success(code, err, in_file)
    assert results_of(save_dir).keys() == results_of(in_file).keys()
    assert results_of(save_dir)["n_trials_completed"] == 8

    code, _, err = run("status", "--save-dir", save_dir)
    assert code == 2
    assert "password" in err
    code, out, err = run("status", "--save-dir", save_dir, "--json", "--storage", url)
    assert (code, json.loads(out)["n_trials_completed"]) == (0, 8)
    environment = {**os.environ, "PGPASSWORD": secret}
    code, out, err = ended(start("resume", "--save-dir", save_dir, "--n-trials", "10", env=environment))
    require_success(code, err, save_dir)
    with contextlib.closing(StudyStorage(database_in(save_dir))) as storage:
        records = storage.records()
    assert sum(record.finished for record in records) == results_of(save_dir)["n_trials_completed"] == 10
    assert all(record.state.ended for record in records)
    assert not [file for file in save_dir.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]


def _command(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().decode()
    return ""


def test_an_existing_study_is_not_overwritten(server: "Server", config: Callable[..., Path]) -> None:
    name = "taken"
    StudyStorage(PostgresServer(server.url(), name), create=name).close()
    with_password = server.url(password=server.password)
    code, _, err = run("run", "--config", config(3), "--storage", with_password, "--study-name", name)
    assert code == 2
    assert "--study-name" in err


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_workers_join_a_run_and_return_their_trial(
    server: "Server", config: Callable[..., Path], save_dir: Path
) -> None:
    """Another process joins a run, is asked to end in a trial, and a second one finishes the study after the run was killed."""
    url = server.url(password=server.password)
    path = config(4, training={"max_epochs": 30, "min_patience": 30}, pruner={"type": "none"})
    main = start("run", "--config", path, "--workers", "1", "--storage", url, "--study-name", "joined")
    name = "(SELECT study_id FROM studies WHERE study_name = 'joined')"
    count = f"SELECT count(*) FROM trials WHERE study_id = {name} AND state = "  # noqa: S608

    def n(state: str) -> int:
        with contextlib.suppress(subprocess.CalledProcessError):  # the run has not yet created the tables
            return int(server.sql(f"{count}'{state}'"))
        return 0

    wait_for(lambda: n("RUNNING"), main, seconds=900)
    joined = start("worker", "--save-dir", save_dir, "--storage", url, "--study-name", "joined")
    wait_for(lambda: n("RUNNING") == 2, joined, seconds=900)
    main.kill()
    main.communicate()
    joined.terminate()
    code, out, err = ended(joined)
    assert (code, err.count("\n")) == (130, 1)
    assert "starts" in out
    assert n("WAITING") + n("COMPLETE") >= 1
    code, _, err = ended(start("worker", "--save-dir", save_dir, "--storage", url))
    assert (code, n("COMPLETE"), n("RUNNING"), n("WAITING")) == (0, 4, 0, 0), err
    environment = {**os.environ, "PGPASSWORD": server.password}
    code, _, err = ended(start("resume", "--save-dir", save_dir, env=environment))
    require_success(code, err, save_dir)
    assert results_of(save_dir)["n_trials_completed"] == 4


def test_a_worker_refuses_a_study_in_a_file_and_a_study_with_other_settings(
    server: "Server", config: Callable[..., Path], save_dir: Path
) -> None:
    secret = {**os.environ, "PGPASSWORD": server.password}
    code, _, err = ended(start("run", "--config", config(1), "--workers", "1", "--storage", server.url(), env=secret))
    require_success(code, err, save_dir)
    stored = (save_dir / "config.yaml").read_text(encoding="utf-8")
    for old, new, word in (
        ("max_epochs: 3", "max_epochs: 4", "max_epochs"),
        (f"storage: {server.url()}", "storage: null", "study.db"),
    ):
        assert old in stored
        (save_dir / "config.yaml").write_text(stored.replace(old, new), encoding="utf-8")
        code, _, err = ended(start("worker", "--save-dir", save_dir, env=secret))
        assert code == 2
        assert word in err
