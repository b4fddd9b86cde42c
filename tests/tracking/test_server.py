"""A run against a real MLflow server: all is read back; one that dies, hangs or comes back costs no trial."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from builders.runs import wait_for
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.inference.model import load_model
from cnn_lstm_hyperopt.search import StudyStorage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore"),  # of MLflow's own libraries
]
GIVE_UP = 1200  # seconds; only a broken run ever waits that long
EXPERIMENT = "CNN_LSTM_Hyperopt_Task_5_5"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """``mlflow server`` on a port of its own, with one database over all its lives."""

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
        deadline = time.monotonic() + GIVE_UP
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "the server did not start"
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.2)
        pytest.fail("the server did not come up")

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
    """Starts a tiny search that is mirrored to this URI."""

    def start(uri: str, n_trials: int, *flags: str, wait_seconds: float = 600.0) -> "subprocess.Popen[str]":
        monkeypatch.setenv("CNN_LSTM_HYPEROPT__MLFLOW__ENABLED", "true")
        tiny["mlflow"] = {"tracking_uri": uri, "wait_seconds": wait_seconds}
        tiny["study"] = {"n_trials": n_trials, "portfolio": False}
        tiny["retrain"] = {"top_k": 1, "full_epochs": 2, "confirm_seeds": 1, "seeds": 1}
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump(tiny), encoding="utf-8")
        return start_cli("run", "--config", path, "--workers", "1", *flags)

    return start


def runs_at(uri: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


def require_runs_on(link: str, name: str) -> None:
    """In a browser, where there is one: the page lists the study's run. The first page of the server does not."""
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
    (link,) = re.findall(r"look at them with: (\S+)", out)
    assert link.startswith(f"{server.uri}/#/experiments/")
    require_runs_on(link, tiny["study"].get("name", "cnn_lstm_optimization"))

    found = runs_at(server.uri)
    assert Counter(each.data.tags["kind"] for each in found) == {"trial": ended_in(save_dir), "study": 1, "finalist": 1}
    (finalist,) = [each for each in found if each.data.tags["kind"] == "finalist"]
    entry = json.loads((save_dir / "results.json").read_text())["retrained_models"][0]
    assert finalist.data.metrics["test_class_acc"] == entry["test_metrics"]["test_class_acc"]

    ours = load_model(save_dir / "retrained_model_1")
    about = ours.description
    x = np.random.default_rng(1).standard_normal((5, about.lookback, len(about.features)), np.float32)
    windows = Windows(
        series=torch.from_numpy(x.reshape(-1, x.shape[2])),
        starts=torch.arange(5) * about.lookback,
        lookback=about.lookback,
        labels=torch.zeros(5, dtype=torch.int64),
        values=None,
        dates=np.arange(5).astype("datetime64[D]"),
        symbols=np.full(5, "x"),
    )
    said = ours.predict_windows(windows)
    expected = said.probabilities if said.values is None else np.column_stack([said.probabilities, said.values])
    mlflow.set_tracking_uri(server.uri)
    uri = f"models:/{finalist.data.tags['model_id']}"
    theirs = mlflow.pytorch.load_model(uri)(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(theirs, expected, rtol=1e-5, atol=1e-6)
    as_function = mlflow.pyfunc.load_model(uri, model_config={"device": "cpu"}).predict(x)
    np.testing.assert_allclose(as_function, expected, rtol=1e-5, atol=1e-6)


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
    assert f"in MLflow at {server.uri} yet: the server does not answer; write them with:" in out
    assert f"-m cnn_lstm_hyperopt track --save-dir {save_dir}" in out

    server.start()
    for _ in range(2):
        track = start_cli("track", "--save-dir", save_dir)
        out, err = track.communicate(timeout=GIVE_UP)
        assert track.returncode == 0, err
        assert f"MLflow has all {ended_in(save_dir)} trials" in out
        found = runs_at(server.uri)
        numbers = sorted(int(each.data.tags["trial_number"]) for each in found if each.data.tags["kind"] == "trial")
        assert numbers == list(range(ended_in(save_dir)))


def test_a_server_that_hangs_does_not_hold_up_the_run(run: Run, tiny: dict[str, Any]) -> None:
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen(50)  # the system accepts; nobody ever answers
        process = run(f"http://127.0.0.1:{hanging.getsockname()[1]}", 6, wait_seconds=5.0)
        out, err = process.communicate(timeout=GIVE_UP)
    assert process.returncode == 0, err
    total = ended_in(Path(tiny["save_dir"]))
    assert total >= 6
    assert f"{total} of {total} trials are not in MLflow at http://127.0.0.1" in out
