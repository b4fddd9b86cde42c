"""Notes as optuna-dashboard's own package reads and writes them."""

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna_dashboard import get_note, save_note
from optuna_dashboard._note import get_note_from_system_attrs

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
def test_the_last_text_is_shown_whole(texts):
    study = optuna.create_study()
    for text in texts:
        write(study, {None: text})
    assert get_note(study) == texts[-1]


def test_each_trial_has_its_own_and_none_lasts_longer_than_it_is_wanted(study):
    write(study, {None: "all", 1: "one", 2: "two"})
    (first, second, _) = (trial._trial_id for trial in study.trials)
    write(study, {None: "all", first: "a model", second: "another"})
    assert shown(study)[:3] == ["all", "a model", "another"]
    write(study, {None: "all", second: "the best"})
    assert shown(study)[:3] == ["all", "", "the best"]


def test_nothing_is_written_where_nothing_has_changed(study):
    write(study, {None: "all", study.trials[0]._trial_id: "one"})
    assert note_attributes({None: "all", study.trials[0]._trial_id: "one"}, system_attributes(study)) == {}


def test_what_a_person_has_written_stays(study):
    write(study, {None: "ours"})
    save_note(study, "mine")
    write(study, {None: "ours, again"})
    assert get_note(study) == "mine"


def test_a_note_that_a_person_wrote_first_stays(study):
    save_note(study, "mine")
    write(study, {None: "ours"})
    assert get_note(study) == "mine"
