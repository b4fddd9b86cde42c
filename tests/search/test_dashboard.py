"""What the real optuna-dashboard tells of a study of ours."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from builders.studies import SKILL, searched
from cnn_lstm_hyperopt.reporting.dashboard_notes import dashboard_notes
from cnn_lstm_hyperopt.search import StudyStorage

MODEL = {
    "model_rank": 1,
    "trial_number": 3,
    "model_path": "/somewhere/results/retrained_model_1",
    "test_metrics": {"test_score": 0.62, "test_score_interval": [0.6, 0.64]},
}
VERDICT = {"grade": "better than every baseline", "sentence": "Model 1 <b>is</b> better."}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What its server says of a study of 60 trials."""
    folder = searched(tmp_path_factory.mktemp("dashboard"), 60, name="named by a user")
    storage = StudyStorage(folder / "study.db")
    storage.write_notes(dashboard_notes(SKILL, VERDICT, [MODEL]))
    storage.close()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    program = str(Path(sys.executable).with_name("optuna-dashboard"))
    server = subprocess.Popen([program, "--host", "127.0.0.1", "--port", str(port), f"sqlite:///{folder / 'study.db'}"])
    try:
        yield answered(server, f"http://127.0.0.1:{port}/api/studies/1")
    finally:
        server.terminate()
        server.wait()


def answered(server, url):
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.URLError as error:
            if server.poll() is not None or isinstance(error, urllib.error.HTTPError):
                raise
            time.sleep(0.2)


def test_study_and_objectives_bear_our_names(told):
    assert told["name"] == "named by a user"
    assert told["objective_names"] == ["accuracy", "training_seconds", "size_mb"]
    assert told["directions"] == ["maximize", "minimize", "minimize"]


def test_the_study_and_its_models_have_notes(told):
    study, model = told["note"]["body"], told["trials"][3]["note"]["body"]
    assert study.startswith("🟢 **Better than every baseline.** ")
    assert r"Model 1 \<b\>is\</b\> better." in study
    assert f"above {SKILL.threshold:.4f}" in study
    assert "model 1 is trial 3" in study
    assert "0.6200 (0.6000 to 0.6400)" in model
    assert "`retrained_model_1/`" in model
    assert "somewhere" not in model
    assert [trial["number"] for trial in told["trials"] if trial["note"]["body"]] == [3]


def test_those_that_have_learnt_nothing_are_marked_and_no_others(told):
    complete = [trial for trial in told["trials"] if trial["state"] == "Complete"]
    marked = {trial["number"] for trial in complete if any(value > 0 for value in trial["constraints"])}
    assert all(len(trial["constraints"]) == 1 for trial in complete)
    assert marked == {trial["number"] for trial in complete if trial["values"][0] <= SKILL.threshold}
    assert 0 < len(marked) < len(complete)
    assert not any(trial["constraints"] for trial in told["trials"] if trial["state"] != "Complete")
