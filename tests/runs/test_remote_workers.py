"""Workers that do not see the directory of the run: they get settings and data from a URL and continue trials from there."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from fsspec.core import url_to_fs

from builders.runs import Process, ended, require_success, start, wait_for
from cnn_lstm_hyperopt.search import PostgresServer, State, StudyStorage

if TYPE_CHECKING:
    from builders.postgres import Server

pytestmark = [pytest.mark.slow, pytest.mark.thorough, pytest.mark.timeout(1800)]
LONG = {"max_epochs": 60, "min_patience": 60}


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


def test_workers_without_the_directory_finish_a_study(
    server: "Server", url: str, config: Callable[..., Path], save_dir: Path, tmp_path: Path
) -> None:
    """The run ends in a trial and its directory is moved away. A worker continues the trial, and resume gets the predictions."""
    crew = Crew(server, f"far away {url[:4]}", url, tmp_path)
    main = crew.run(config(3, training=LONG, pruner={"type": "none"}))
    wait_for(lambda: list((save_dir / "checkpoints").glob("*.pt")), main, seconds=900)
    main.terminate()
    assert ended(main)[0] == 130
    hidden = save_dir.rename(tmp_path / "hidden")

    code, out, err = ended(crew.worker())
    assert (code, err) == (0, "")
    assert not save_dir.exists()
    assert out.count("is COMPLETE") == 3
    records = crew.records()
    assert [record.state for record in records] == [State.COMPLETE] * 3
    assert records[0].attributes["cut_off"][0] > 0  # the epoch of the checkpoint in the store
    hidden.rename(save_dir)
    assert not list((save_dir / "validation").glob("*"))

    code, _, err = ended(start("resume", "--save-dir", save_dir, env=crew.environment))
    require_success(code, err, save_dir)
    for record in records:
        table = pd.read_parquet(save_dir / "validation" / f"trial_{record.number:05d}.parquet")
        assert ((table["probability_1"] > 0.5) == table["label"]).mean() == pytest.approx(record.values.score)
    files, root = url_to_fs(url, use_listings_cache=False)
    assert sorted(name.rpartition(".")[2] for name in files.find(root)) == ["safetensors", "yaml"]
    secrets = [os.environ.get("AWS_SECRET_ACCESS_KEY", server.password), server.password]
    written = [path.read_bytes() for path in save_dir.rglob("*") if path.is_file()]
    assert not [secret for secret in secrets for content in written if secret.encode() in content]
