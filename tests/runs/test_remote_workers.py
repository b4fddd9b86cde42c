"""Workers that do not see the directory of the run: they get settings and data from a URL and continue trials from there."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from fsspec.core import url_to_fs

from builders.runs import Process, require_success, start, wait_for
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.errors import InterruptedRunError
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.joining import join_from_artifacts
from cnn_lstm_hyperopt.pipeline.run import run as run_study
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.search import PostgresServer, State, StudyStorage
from cnn_lstm_hyperopt.training import read_checkpoint

if TYPE_CHECKING:
    from builders.postgres import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
LONG = {"max_epochs": 60, "min_patience": 60}


def at_end(process: Process) -> tuple[int, str, str]:
    """Return exit code, output and errors of a process, also on a busy machine."""
    out, err = process.communicate(timeout=900)
    assert "Traceback" not in out + err, err
    return process.returncode, out, err


class Crew:
    """A run with artifacts and its workers in another working directory."""

    def __init__(self, server: "Server", name: str, url: str, folder: Path) -> None:
        self.server, self.name, self.url = server, name, url
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        self.environment = {**os.environ, "PGPASSWORD": server.password}

    def run(self, config: Path) -> Process:
        """Start the run with one worker."""
        options = ("--workers", "1", "--storage", self.server.url(), "--study-name", self.name)
        return start("run", "--config", config, *options, "--artifacts", self.url, env=self.environment)

    def worker(self) -> Process:
        """Start a worker that knows only URLs."""
        flags = ["--storage", self.server.url(), "--study-name", self.name, "--artifacts", self.url]
        return subprocess.Popen(
            [sys.executable, "-m", "cnn_lstm_hyperopt", "worker", *flags],
            cwd=self.elsewhere,
            env={**self.environment, "CNN_LSTM_HYPEROPT_CACHE": str(self.elsewhere / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def records(self) -> list[Any]:
        """Return the trials."""
        url = self.server.url(password=self.server.password)
        with contextlib.closing(StudyStorage(PostgresServer(url, self.name))) as storage:
            return storage.records()


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder, or a bucket of a real server of S3."""
    if request.param == "s3":
        return str(request.getfixturevalue("bucket"))
    (tmp_path / "shared").mkdir()
    return (tmp_path / "shared").as_uri()


class Ending(RunEvents):
    """Subscriber that asks the run to end, as Slurm does, after two epochs of its first trial."""

    ended = False

    def on_trial_report(self, assignment: Any, report: ProgressReport) -> None:
        if report.epoch >= 2 and not self.ended:
            self.ended = True
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_worker_continues_a_trial_whose_directory_is_gone(
    server: "Server", url: str, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real training in one process; the worker's working directory is another, and the directory of the run was moved."""
    save_dir, name = Path(tiny["save_dir"]), f"gone {url.partition(':')[0]}"
    storage = server.url(password=server.password)
    study = {**tiny["study"], "n_trials": 3, "name": name, "storage": storage, "artifacts": url}
    settings = load_settings({**tiny, "study": study, "pruner": {"type": "none"}}, environment={})
    with pytest.raises(InterruptedRunError):
        run_study(settings, Ending(), resume=False)
    hidden = save_dir.rename(tmp_path / "hidden")
    (tmp_path / "elsewhere").mkdir()
    with monkeypatch.context() as changed:
        changed.chdir(tmp_path / "elsewhere")
        lines: list[str] = []
        join_from_artifacts(PostgresServer(storage, name), url, lines.append)
    assert lines[-1].startswith("ends after 3 trials")
    assert not save_dir.exists()
    hidden.rename(save_dir)
    assert not list((save_dir / "validation").glob("*"))
    run_study(settings, RunEvents(), resume=True)
    with contextlib.closing(StudyStorage(PostgresServer(storage, name))) as stored:
        records = stored.records()
    assert [record.state for record in records] == [State.COMPLETE] * 3
    assert records[0].attributes["cut_off"][0] > 0  # the epoch of the checkpoint in the store
    for record in records:
        table = pd.read_parquet(save_dir / "validation" / f"trial_{record.number:05d}.parquet")
        assert ((table["probability_1"] > 0.5) == table["label"]).mean() == pytest.approx(record.values.score)
    files, root = url_to_fs(url, use_listings_cache=False)
    assert {path.rpartition(".")[2] for path in files.find(root)} == {"safetensors", "yaml"}
    secrets = [server.password, os.environ.get("AWS_SECRET_ACCESS_KEY", server.password)]
    written = [path.read_bytes() for path in save_dir.rglob("*") if path.is_file()]
    assert not [secret for secret in secrets for content in written if secret.encode() in content]


@pytest.mark.thorough
def test_workers_without_the_directory_finish_a_study(
    server: "Server", config: Callable[..., Path], save_dir: Path, tmp_path: Path
) -> None:
    """The same with processes of the command line, which know only URLs."""
    (tmp_path / "shared").mkdir()
    crew = Crew(server, "far away", (tmp_path / "shared").as_uri(), tmp_path)
    main = crew.run(config(3, training=LONG, pruner={"type": "none"}))
    wait_for(lambda: list((save_dir / "checkpoints").glob("*.pt")), main, seconds=900)
    main.terminate()
    assert at_end(main)[0] == 130
    hidden = save_dir.rename(tmp_path / "hidden")

    code, out, err = at_end(crew.worker())
    assert (code, err) == (0, "")
    assert not save_dir.exists()
    assert out.count("is COMPLETE") == 3
    records = crew.records()
    assert [record.state for record in records] == [State.COMPLETE] * 3
    assert records[0].attributes["cut_off"][0] > 0
    hidden.rename(save_dir)
    code, _, err = at_end(start("resume", "--save-dir", save_dir, env=crew.environment))
    require_success(code, err, save_dir)
    assert {path.stem for path in (save_dir / "validation").iterdir()} == {f"trial_0000{n}" for n in range(3)}


@pytest.mark.thorough
def test_another_machine_continues_the_trial_of_a_killed_worker(
    server: "Server", config: Callable[..., Path], save_dir: Path, tmp_path: Path
) -> None:
    """Three workers without a common folder: the first is killed, the second asked to end, the third continues, too."""
    shared = tmp_path / "shared"
    shared.mkdir()
    crew = Crew(server, "killed", shared.as_uri(), tmp_path)
    main = crew.run(config(1, training={"max_epochs": 1500, "min_patience": 1500}, pruner={"type": "none"}))
    wait_for(lambda: list((save_dir / "checkpoints").glob("*.pt")), main, seconds=900)
    main.terminate()
    assert at_end(main)[0] == 130
    save_dir.rename(tmp_path / "hidden")
    (copy,) = shared.rglob("*.pt")
    before = copy.read_bytes()

    first = crew.worker()
    wait_for(lambda: copy.read_bytes() != before, first, seconds=900)
    first.kill()
    first.communicate()
    reached = read_checkpoint(copy).epoch
    assert reached > 1

    second = crew.worker()
    assert second.stdout is not None
    while "continues trial 0" not in (line := second.stdout.readline()):  # after its lease of 60 s
        assert line
    second.terminate()
    assert at_end(second)[0] == 130
    assert read_checkpoint(copy).epoch >= reached

    third = crew.worker()
    began = wait_for(lambda: max(0, crew.records()[1].attributes["cut_off"][0]), third, seconds=900)
    assert began >= reached
    third.terminate()
    assert at_end(third)[0] == 130
    lost, resumed = crew.records()
    assert (lost.state, resumed.state, resumed.attributes["retry_of"]) == (State.FAIL, State.WAITING, 0)
    assert read_checkpoint(copy).epoch >= reached
