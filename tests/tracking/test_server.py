"""Runs with a real MLflow server: all is read back; a server that dies, hangs or returns costs no trial."""

import json
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
import yaml

from builders.runs import wait_for
from cnn_lstm_hyperopt.search import StudyStorage

from .conftest import of_kind, runs_at

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore"),  # of MLflow's own libraries
]
GIVE_UP = 1200  # seconds; only a broken run ever waits that long


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """``mlflow server`` on a free port; its database outlives it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

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


Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def run(tiny: dict[str, Any], tmp_path: Path, start_cli: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Starts a tiny search that is exported to this URI."""

    def start(uri: str, n_trials: int, *flags: str, wait_seconds: float = 600.0) -> "subprocess.Popen[str]":
        monkeypatch.setenv("CNN_LSTM_HYPEROPT__MLFLOW__ENABLED", "true")
        tiny["mlflow"] = {"tracking_uri": uri, "wait_seconds": wait_seconds}
        tiny["study"] = {"n_trials": n_trials, "portfolio": False}
        tiny["retrain"] = {"top_k": 1, "full_epochs": 2, "confirm_seeds": 1, "seeds": 1}
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump(tiny), encoding="utf-8")
        return start_cli("run", "--config", path, "--workers", "1", *flags)

    return start


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


def ended_in(save_dir: Path) -> int:
    if not (save_dir / "study.db").is_file():
        return 0
    storage = StudyStorage(save_dir / "study.db")
    try:
        return sum(record.state.ended for record in storage.records())
    finally:
        storage.close()


def test_a_study_and_its_model_are_read_back(server: Server, run: Run, tiny: dict[str, Any]) -> None:
    import mlflow

    server.start()
    save_dir = Path(tiny["save_dir"])
    process = run(server.uri, 6, "--retrain-best")
    out, err = process.communicate(timeout=GIVE_UP)
    assert process.returncode == 0, err
    (link,) = re.findall(rf"{server.uri}/#/experiments/\S+", out)
    require_runs_on(link, tiny["study"].get("name", "cnn_lstm_optimization"))

    found = runs_at(server.uri)
    assert Counter(each.data.tags["kind"] for each in found) == {"trial": ended_in(save_dir), "study": 1, "finalist": 1}
    (finalist,) = of_kind(found, "finalist")
    entry = json.loads((save_dir / "results.json").read_text())["retrained_models"][0]
    assert finalist.data.metrics["test_class_acc"] == entry["test_metrics"]["test_class_acc"]
    uri = f"models:/{finalist.data.tags['model_id']}"
    mlflow.set_tracking_uri(server.uri)
    assert mlflow.pytorch.load_model(uri)(torch.zeros(5, 10, 11)).shape == (5, 3)  # predictions: test_model_flavour.py


def test_a_server_that_dies_costs_no_trial_and_gets_the_rest_later(
    server: Server, run: Run, tiny: dict[str, Any], start_cli: Run
) -> None:
    server.start()
    save_dir = Path(tiny["save_dir"])
    process = run(server.uri, 12)
    wait_for(lambda: ended_in(save_dir) >= 2, process, seconds=GIVE_UP)
    server.kill()
    out, err = process.communicate(timeout=GIVE_UP)
    assert process.returncode == 0, err
    assert ended_in(save_dir) >= 12
    assert server.uri in out
    assert f"cnn-lstm-hyperopt track --save-dir {save_dir}" in out

    server.start()
    for _ in range(2):
        track = start_cli("track", "--save-dir", save_dir)
        out, err = track.communicate(timeout=GIVE_UP)
        assert track.returncode == 0, err
        assert f"{ended_in(save_dir)} trials" in out
        numbers = sorted(int(each.data.tags["trial_number"]) for each in of_kind(runs_at(server.uri), "trial"))
        assert numbers == list(range(ended_in(save_dir)))


def test_a_server_that_hangs_does_not_hold_up_the_run(run: Run, tiny: dict[str, Any]) -> None:
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen(50)  # the system accepts connections, but no answer ever comes
        process = run(f"http://127.0.0.1:{hanging.getsockname()[1]}", 6, wait_seconds=5.0)
        out, err = process.communicate(timeout=GIVE_UP)
    assert process.returncode == 0, err
    total = ended_in(Path(tiny["save_dir"]))
    assert total >= 6
    assert f"{total} of {total} trials" in out
