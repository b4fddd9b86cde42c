"""Notes and constraints as optuna-dashboard's own package and server show them."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna_dashboard import get_note, save_note
from optuna_dashboard._note import get_note_from_system_attrs

from builders.studies import SKILL, searched
from cnn_lstm_hyperopt.reporting.dashboard_notes import dashboard_notes
from cnn_lstm_hyperopt.search import StudyStorage
from cnn_lstm_hyperopt.search.dashboard import note_attributes


@pytest.fixture
def study():
    study = optuna.create_study()
    for number in range(3):
        study.add_trial(optuna.trial.create_trial(value=number))
    return study


def system_attributes(study):
    return study._storage.get_study_system_attrs(study._study_id)


def write(study, notes):
    for name, value in note_attributes(notes, system_attributes(study)).items():
        study._storage.set_study_system_attr(study._study_id, name, value)


def shown(study):
    """Notes of the study and of its trials, by the dashboard's own reader."""
    attributes = system_attributes(study)
    trials = [get_note_from_system_attrs(attributes, trial._trial_id)["body"] for trial in study.trials]
    return [get_note(study), *trials]


@given(st.lists(st.text(max_size=10) | st.integers(2000, 9000).map(lambda n: "é" * n), min_size=1, max_size=4))
def test_the_last_text_is_shown_complete(texts):
    study = optuna.create_study()
    for text in texts:
        write(study, {None: text})
    assert get_note(study) == texts[-1]


def test_each_trial_has_its_own_note_which_is_removed_or_kept(study):
    first, second, _ = (trial._trial_id for trial in study.trials)
    write(study, {None: "all", first: "a model", second: "another"})
    assert shown(study)[:3] == ["all", "a model", "another"]
    assert note_attributes({None: "all", first: "a model", second: "another"}, system_attributes(study)) == {}
    write(study, {None: "all", second: "the best"})
    assert shown(study)[:3] == ["all", "", "the best"]


@pytest.mark.parametrize("ours", [None, "ours"])
def test_a_persons_note_is_kept(study, ours):
    if ours:
        write(study, {None: ours})
    save_note(study, "mine")
    write(study, {None: "ours, again"})
    assert get_note(study) == "mine"


MODEL = {
    "model_rank": 1,
    "trial_number": 3,
    "model_path": "/somewhere/results/retrained_model_1",
    "test_metrics": {"test_score": 0.62, "test_score_interval": [0.6, 0.64]},
}
VERDICT = {"grade": "better than every baseline", "sentence": "Model 1 <b>is</b> better."}


@pytest.fixture(scope="module")
def answer(tmp_path_factory):
    """What the dashboard's server answers about a study of 60 trials."""
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


@pytest.mark.slow
def test_the_dashboard_shows_our_names_notes_and_constraints(answer):
    assert answer["name"] == "named by a user"
    assert answer["objective_names"] == ["accuracy", "training_seconds", "size_mb"]
    assert answer["directions"] == ["maximize", "minimize", "minimize"]
    note, model = answer["note"]["body"], answer["trials"][3]["note"]["body"]
    assert r"Model 1 \<b\>is\</b\> better." in note
    assert f"{SKILL.threshold:.4f}" in note
    assert "0.6200 (0.6000 to 0.6400)" in model
    assert "`retrained_model_1/`" in model
    assert "somewhere" not in model
    assert [trial["number"] for trial in answer["trials"] if trial["note"]["body"]] == [3]
    complete = [trial for trial in answer["trials"] if trial["state"] == "Complete"]
    marked = {trial["number"] for trial in complete if any(value > 0 for value in trial["constraints"])}
    assert all(len(trial["constraints"]) == 1 for trial in complete)
    assert marked == {trial["number"] for trial in complete if trial["values"][0] <= SKILL.threshold}
    assert 0 < len(marked) < len(complete)
    assert not any(trial["constraints"] for trial in answer["trials"] if trial["state"] != "Complete")
