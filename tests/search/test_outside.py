"""Other programs use the study: their trials are skipped and named, and their changes are noticed."""

import hashlib
import json
import re
import sqlite3

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from builders.errors import raises
from builders.records import CHEAP, execute
from cnn_lstm_hyperopt.errors import SaveDirError, StorageFailedError, TrialChangedError
from cnn_lstm_hyperopt.search import Assignment, NoTrial, State, Study, StudyStorage, Values, optimise
from cnn_lstm_hyperopt.search.importance import importances
from cnn_lstm_hyperopt.search.orphans import fail_interrupted, fail_worker, pause_orphans
from cnn_lstm_hyperopt.search.trial_seals import KEY

FORGED = [0.99, 0.001, 0.001]


def outside(storage):
    """The study as another program opens it."""
    if storage.path is None:
        return storage.study
    return optuna.load_study(study_name=None, storage=f"sqlite:///{storage.path}")


def add_all_states(study):
    """Add a RUNNING, a COMPLETE, a FAIL, a PRUNED and a WAITING trial of another program."""
    study.ask()
    study.tell(study.ask(), FORGED)
    study.tell(study.ask(), state=TrialState.FAIL)
    study.tell(study.ask(), state=TrialState.PRUNED)
    study.enqueue_trial({"cnn.dropout": 0.1})


def complete(study, assignment=None, accuracy=0.7):
    assignment = assignment or study.next_assignment()
    return study.finish(assignment, State.COMPLETE, Values(accuracy, 1.0, assignment.cost.size_mb), {"seconds": 1.0})


def named(storage):
    """The numbers in each line of news."""
    return [re.findall(r"\d+", line) for line in storage.news()]


def numbers(study):
    return [record.number for record in study.records()]


@pytest.fixture
def done(make_study):
    """A study on disk with one finished trial, and how to open it again."""
    study = make_study(disk=True)
    complete(study)
    return study, lambda: make_study(disk=True)


def test_trials_of_other_programs_are_in_no_record_and_named_once(done):
    study, _ = done
    theirs = outside(study.storage)
    add_all_states(theirs)
    assert numbers(study) == [0]
    assert study.front()[0].values.score == 0.7
    assert named(study.storage) == [["1", "2", "3", "4", "5"]]
    assert (study.records(), study.storage.news()) == (study.records(), [])
    theirs.ask()  # takes the WAITING one
    theirs.tell(theirs.ask(), FORGED)
    assert numbers(study) == [0]
    assert named(study.storage) == [["6"]]
    assert sorted(study.storage.skipped) == [1, 2, 3, 4, 5, 6]


def test_foreign_trials_are_neither_waited_for_nor_run_nor_ended(make_study):
    study = make_study(n_trials=2, disk=True)
    add_all_states(outside(study.storage))
    before = [trial.state for trial in outside(study.storage).trials]
    assert pause_orphans(study.storage) == []
    first = study.next_assignment()
    assert first.number == 5
    study.pause(first)
    assert fail_interrupted(study.storage, "no time") == [5]
    assert fail_worker(study.storage, 1, "x", "died") == []
    for _ in range(2):
        complete(study)
    assert study.next_assignment() is NoTrial.ENOUGH
    assert [trial.state for trial in outside(study.storage).trials][:5] == before


def test_proposals_and_seeds_are_those_of_a_study_without_foreign_trials(make_study):
    alone, shared = (make_study(file=file, n_trials=6, sampler={"type": "gp"}) for file in ("alone", "shared"))
    for place in range(6):
        if place in (0, 3, 4):
            add_all_states(outside(shared.storage))
        one, other = alone.next_assignment(), shared.next_assignment()
        assert (other.params, other.seeded_as) == (one.params, one.seeded_as)
        complete(alone, one)
        complete(shared, other)
    assert numbers(shared) == [5, 6, 7, 12, 17, 18]
    assert len({record.seeded_as for record in shared.records()}) == 6


def test_copies_and_forgeries_of_our_trials_are_foreign(done):
    study, _ = done
    theirs = outside(study.storage)
    (ours,) = theirs.trials
    theirs.add_trial(ours)
    mark = {"nonce": "0", "ours": "0", "start": "0"}
    forged = create_trial(
        values=FORGED,
        params=ours.params,
        distributions=ours.distributions,
        user_attrs=ours.user_attrs,
        system_attrs={"sha256": "0" * 64, "cnn_lstm_hyperopt:mark": mark},
    )
    theirs.add_trial(forged)
    assert [record.values.score for record in study.records()] == [0.7]
    assert list(study.storage.skipped) == [1, 2]


def test_importances_are_of_our_trials_alone():
    def searched(name):
        study = Study(StudyStorage.in_memory(name), CHEAP.plan("random", n_trials=30))
        optimise(study, CHEAP.evaluate)
        return study

    alone, shared = searched("alone"), searched("shared")
    for trial in alone.storage.study.trials[:10]:
        foreign = create_trial(values=FORGED, params=trial.params, distributions=trial.distributions)
        shared.storage.study.add_trial(foreign)
    found = importances(shared.storage, alone.plan.skill)
    assert found == importances(alone.storage, alone.plan.skill) != {}


def tell(*arguments, **named):
    return lambda storage: outside(storage).tell(0, *arguments, **named)


def set_attribute(name, value):
    return lambda storage: outside(storage)._storage.set_trial_user_attr(1, name, value)


def sql(statement):
    return lambda storage: execute(storage.path, statement)


CHANGES = {
    "complete": (tell(FORGED), "trial-ended"),
    "delete attribute": (sql("DELETE FROM trial_user_attributes WHERE key = 'size_mb'"), "trial-start-changed"),
    "edit attribute": (set_attribute("estimated_seconds", 0.001), "trial-start-changed"),
    "edit later attribute": (set_attribute("saving", 0), "trial-attributes-changed"),
    "edit parameter": (
        sql("UPDATE trial_params SET param_value = param_value / 2 WHERE param_name LIKE '%learning_rate'"),
        "trial-start-changed",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_running_trial_is_dropped_and_another_replaces_it(make_study, change):
    make_change, code = CHANGES[change]
    study = make_study(n_trials=1, disk=True)
    assignment = study.next_assignment()
    study.storage.note(assignment.trial_id, "saving", 1)
    make_change(study.storage)
    with raises(TrialChangedError, code) as text:
        complete(study, assignment)
    study.drop(assignment, text[0])
    assert study.records() == []
    assert named(study.storage) == [["0"]]
    complete(study)
    assert study.next_assignment() is NoTrial.ENOUGH
    assert [(record.number, record.values.score) for record in study.records()] == [(1, 0.7)]


def test_a_trial_that_is_ended_while_it_starts_is_replaced(make_study, monkeypatch):
    study = make_study(disk=True)
    add_all_states(outside(study.storage))  # numbers differ from places, so the seed is stored after the start
    start = study.storage.start

    def ended_at_once(*arguments):
        trial_id, number = start(*arguments)
        if number == 5:
            outside(study.storage).tell(number, FORGED)
        return trial_id, number

    monkeypatch.setattr(study.storage, "start", ended_at_once)
    assert study.next_assignment().number == 6
    assert numbers(study) == [6]


def test_attributes_that_others_add_are_ignored(make_study):
    study = make_study(n_trials=1, disk=True)
    assignment = study.next_assignment()
    theirs = outside(study.storage)._storage
    theirs.set_trial_user_attr(1, "comment", "looks good")
    record = complete(study, assignment)
    assert "comment" not in record.attributes
    again = make_study(n_trials=1, disk=True)
    assert (again.records(), again.storage.news()) == ([record], [])
    assert outside(again.storage).trials[0].user_attrs["comment"] == "looks good"
    execute(again.storage.path, "UPDATE trial_user_attributes SET value_json = '9.0' WHERE key = 'seconds'")
    with raises(SaveDirError, "study-damaged"):
        make_study(disk=True)


@pytest.mark.parametrize("worker", [None, 1])
def test_a_waiting_trial_that_another_program_asked_for_is_resumed(make_study, worker):
    """``study.ask()`` takes any WAITING trial."""
    study = make_study(n_trials=1, disk=True, worker=worker)
    first = study.next_assignment()
    study.pause(first)
    assert outside(study.storage).ask().number == first.number
    again = study.next_assignment()
    assert (again.number, again.params) == (first.number, first.params)
    complete(study, again)
    assert study.next_assignment() is NoTrial.ENOUGH


def test_an_edited_finished_trial_is_damage_and_does_not_get_into_the_backup(done, tmp_path):
    study, reopened = done
    study.storage.back_up()
    execute(study.storage.path, "UPDATE trial_values SET value = 0.99")
    with raises(StorageFailedError, "study-damaged"):
        study.storage.back_up()
    with raises(SaveDirError, "study-damaged"):
        reopened()
    (tmp_path / "study.backup.db").replace(tmp_path / "study.db")
    assert [record.values.score for record in reopened().records()] == [0.7]


@pytest.mark.parametrize(("where", "scores"), [("key = 'sha256'", []), ("key LIKE '%mark'", [0.7])])
def test_a_finished_trial_is_known_by_its_seal_not_by_its_mark(done, where, scores):
    study, reopened = done
    execute(study.storage.path, f"DELETE FROM trial_system_attributes WHERE {where}")  # noqa: S608
    assert [record.values.score for record in reopened().records()] == scores
    execute(study.storage.path, f"DELETE FROM study_system_attributes WHERE key = '{KEY}'")  # noqa: S608
    with raises(SaveDirError, "study-damaged"):
        reopened()


def test_a_removed_trial_is_noticed(done):
    study, _ = done
    removed = study.next_assignment()
    tables = ("trial_params", "trial_user_attributes", "trial_system_attributes", "trials")
    execute(study.storage.path, *(f"DELETE FROM {table}" for table in tables))  # noqa: S608
    with raises(TrialChangedError, "trial-removed"):
        study.storage.note(removed.trial_id, "saving", 1)
    study.drop(removed, "removed")


def as_of_an_earlier_version(path):
    """Remove the key and all marks, and replace seals by digests without a key."""
    storage = StudyStorage(path)
    storage.set_attribute("format", 5)
    trials = storage.study.trials
    storage.close()
    execute(path, f"DELETE FROM study_system_attributes WHERE key IN ('{KEY}', 'sha256')")  # noqa: S608
    execute(path, "DELETE FROM trial_system_attributes WHERE key LIKE '%mark'")
    for trial in trials:
        content = [trial.number, trial.state.name, trial.params, trial.values, trial.user_attrs]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        where = f"key = 'sha256' AND trial_id = {trial._trial_id}"
        execute(path, f"UPDATE trial_system_attributes SET value_json = '\"{digest}\"' WHERE {where}")  # noqa: S608


def test_a_study_of_an_earlier_version_knows_its_trials_by_their_attributes(make_study, tmp_path):
    study = make_study(disk=True, n_trials=3)
    complete(study)
    study.storage.close()
    as_of_an_earlier_version(tmp_path / "study.db")
    again = make_study(disk=True, n_trials=3)
    assert not again.storage.marks_trials
    add_all_states(outside(again.storage))
    assert numbers(again) == [0]
    while isinstance(assignment := again.next_assignment(), Assignment):
        complete(again, assignment)
    assert numbers(again) == numbers(make_study(disk=True, n_trials=3)) == [0, 6, 7]


def of_sqlite(path, mode):
    execute(path, f"PRAGMA journal_mode={mode}", "CREATE TABLE bars (day TEXT)")


def of_optuna(path, mode):
    optuna.create_study(study_name="x", storage=f"sqlite:///{path}", directions=["maximize", "minimize", "minimize"])
    execute(path, f"PRAGMA journal_mode={mode}")


def of_two_studies(path, mode):
    StudyStorage(path, create="one").close()
    execute(path, "INSERT INTO studies (study_name) VALUES ('two')", f"PRAGMA journal_mode={mode}")


MADE_BY = [(of_sqlite, "not-a-study"), (of_optuna, "other-format"), (of_two_studies, "not-one-study")]


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
@pytest.mark.parametrize(("make", "code"), MADE_BY)
@pytest.mark.parametrize("kept_open", [False, True])
def test_a_refused_file_is_not_changed(tmp_path, make, code, mode, kept_open):
    def content():
        return {each.name: each.name.endswith("-shm") or each.read_bytes() for each in tmp_path.iterdir()}

    path = tmp_path / "study.db"
    make(path, mode)
    other = sqlite3.connect(path)
    if kept_open:
        other.execute("CREATE TABLE more (a)")
        other.execute("INSERT INTO more VALUES (1)")
        other.commit()
    else:
        other.close()
    before = content()
    with raises(SaveDirError, code):
        StudyStorage(path)
    assert content() == before
    other.close()
