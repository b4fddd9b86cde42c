"""Runs with a real MLflow server: all is read back; a server that dies, hangs or returns costs no trial."""

import os
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from builders import runs
from builders.runs import Process, results_of, wait_for

from .conftest import of_kind, runs_at

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore"),  # of MLflow's own libraries
]
GIVE_UP = 1200  # seconds; only a broken run ever waits that long
QUICK = {"top_k": 1, "full_epochs": 2, "confirm_seeds": 1, "seeds": 1}
ENDED = "SELECT number FROM trials WHERE state IN ('COMPLETE', 'PRUNED', 'FAIL')"
Run = Callable[..., Process]


class Server:
    """``mlflow server`` on a free port; its database outlives it."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.folder, self.uri = folder, f"http://127.0.0.1:{self.port}"
        self._process: Process | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)),
                *("--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder}/server.db"),
                *("--artifacts-destination", str(self.folder / "artifacts")),
            ],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            start_new_session=True,  # it starts workers of its own, which end with it
        )
        wait_for(self.answers, self._process, seconds=GIVE_UP)

    def answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    server = Server(folder)
    yield server
    server.kill()


@pytest.fixture
def run(tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Starts a tiny search that is exported to this URI."""

    def start(uri: str, n_trials: int, *flags: str, wait_seconds: float = 600.0) -> Process:
        monkeypatch.setenv("CNN_LSTM_HYPEROPT__MLFLOW__ENABLED", "true")
        mlflow = {"enabled": True, "tracking_uri": uri, "wait_seconds": wait_seconds}
        path = runs.config_file(tmp_path, tiny, mlflow=mlflow, study={"n_trials": n_trials}, retrain=QUICK)
        return runs.start("run", "--config", path, "--workers", "1", *flags)

    return start


def output_of(process: Process) -> str:
    out, err = process.communicate(timeout=GIVE_UP)
    assert process.returncode == 0, err
    return out


def require_runs_on(link: str, name: str) -> None:
    """In a browser, if there is one, the page lists the study's run."""
    try:
        import browsing
    except ImportError:
        return
    if browsing.CHROMIUM is None:
        return
    with browsing.chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(browsing.PATIENCE_MS)
        page.goto(link)
        page.get_by_role("link", name=name).first.wait_for()


def test_a_study_and_its_model_are_read_back(server: Server, run: Run, tiny: dict[str, Any]) -> None:
    import mlflow

    server.start()
    save_dir = Path(tiny["save_dir"])
    out = output_of(run(server.uri, 6, "--retrain-best"))
    found = runs_at(server.uri)
    kinds = {"trial": len(runs.rows(save_dir, ENDED)), "study": 1, "finalist": 1}
    assert Counter(each.data.tags["kind"] for each in found) == kinds
    (finalist,) = of_kind(found, "finalist")
    metrics = results_of(save_dir)["retrained_models"][0]["test_metrics"]
    assert finalist.data.metrics["test_class_acc"] == metrics["test_class_acc"]
    mlflow.set_tracking_uri(server.uri)
    model = mlflow.pytorch.load_model(f"models:/{finalist.data.tags['model_id']}")
    assert model(torch.zeros(5, 10, 14)).shape == (5, 3)  # test_model_flavour.py compares predictions
    (link,) = re.findall(rf"{server.uri}/#/experiments/\S+", out)
    require_runs_on(link, tiny["study"].get("name", "cnn_lstm_optimization"))


def test_a_server_that_dies_costs_no_trial_and_gets_the_rest_later(
    server: Server, run: Run, tiny: dict[str, Any]
) -> None:
    server.start()
    save_dir = Path(tiny["save_dir"])
    process = run(server.uri, 12)
    wait_for(lambda: len(runs.rows(save_dir, ENDED)) >= 2, process, seconds=GIVE_UP)
    server.kill()
    out = output_of(process)
    ended = len(runs.rows(save_dir, ENDED))
    assert ended >= 12
    assert server.uri in out
    assert f"track --save-dir {save_dir}" in out
    server.start()
    for _ in range(2):
        assert f"{ended} trials" in output_of(runs.start("track", "--save-dir", save_dir))
        numbers = sorted(int(each.data.tags["trial_number"]) for each in of_kind(runs_at(server.uri), "trial"))
        assert numbers == list(range(ended))


def test_a_server_that_hangs_does_not_hold_up_the_run(run: Run, tiny: dict[str, Any]) -> None:
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen(50)  # the system accepts connections, but no answer ever comes
        out = output_of(run(f"http://127.0.0.1:{hanging.getsockname()[1]}", 6, wait_seconds=5.0))
    total = len(runs.rows(Path(tiny["save_dir"]), ENDED))
    assert total >= 6
    assert f"{total} of {total} trials" in out
