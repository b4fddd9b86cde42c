"""A study that other programs touch: their trials are skipped and named, and what they change is noticed."""

import hashlib
import json
import sqlite3
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from cnn_lstm_hyperopt.errors import SaveDirError, StorageFailedError, TrialChangedError
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.search import Assignment, NoTrial, State, Study, StudyStorage, Values, optimise
from cnn_lstm_hyperopt.search.importance import importances
from cnn_lstm_hyperopt.search.orphans import fail_interrupted, fail_worker, pause_orphans
from cnn_lstm_hyperopt.search.study_file import FORMAT
from cnn_lstm_hyperopt.search.trial_seals import KEY

FORGED = [0.99, 0.001, 0.001]


def outside(storage):
    """The study as another program opens it."""
    if storage.path is None:
        return storage.study
    return optuna.load_study(study_name=None, storage=f"sqlite:///{storage.path}")


def add_all_states(study):
    """A RUNNING, a COMPLETE, a FAIL, a PRUNED and a WAITING trial of another program."""
    study.ask()
    study.tell(study.ask(), FORGED)
    study.tell(study.ask(), state=TrialState.FAIL)
    study.tell(study.ask(), state=TrialState.PRUNED)
    study.enqueue_trial({"cnn.dropout": 0.1})


def complete(study, assignment, accuracy=0.7):
    return study.finish(assignment, State.COMPLETE, Values(accuracy, 1.0, assignment.cost.size_mb), {"seconds": 1.0})


def execute(path: Path, *statements: str) -> None:
    """What another program writes into the file behind everybody's back."""
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


# ---------------------------------------------------------------------- trials of other programs


def test_trials_of_other_programs_are_in_no_record_and_named_once(make_study):
    study = make_study(disk=True)
    complete(study, study.next_assignment())
    theirs = outside(study.storage)
    add_all_states(theirs)
    assert [record.number for record in study.records()] == [0]
    assert study.front()[0].values.score == 0.7
    assert study.storage.news() == [
        "trials 1, 2, 3, 4 and 5 of the study were added by another program (RUNNING, COMPLETE, FAIL, PRUNED, WAITING) and are"
        " skipped: only trials of this program count"
    ]
    assert study.records() == study.records()
    assert study.storage.news() == []
    theirs.ask()  # takes the WAITING one
    theirs.tell(theirs.ask(), FORGED)
    assert [record.number for record in study.records()] == [0]
    assert study.storage.news() == [
        "trial 6 of the study was added by another program (COMPLETE) and is skipped: only trials of this program count"
    ]
    assert sorted(study.storage.skipped) == [1, 2, 3, 4, 5, 6]


def test_a_foreign_running_trial_is_not_waited_for(make_study):
    study = make_study(n_trials=2)
    outside(study.storage).ask()
    for _ in range(2):
        complete(study, study.next_assignment())
    assert study.next_assignment() is NoTrial.ENOUGH
    assert [record.number for record in study.records()] == [1, 2]


def test_foreign_trials_are_neither_run_nor_ended(make_study):
    study = make_study(n_trials=2, disk=True)
    add_all_states(outside(study.storage))
    before = [trial.state for trial in outside(study.storage).trials]
    assert pause_orphans(study.storage) == []
    first = study.next_assignment()
    assert first.number == 5
    study.pause(first)
    assert fail_interrupted(study.storage, "no time") == [5]
    assert fail_worker(study.storage, 1, "x", "died") == []
    assert [trial.state for trial in outside(study.storage).trials][:5] == before


def test_proposals_and_seeds_are_those_of_a_study_of_its_own(make_study):
    """Foreign trials leave holes in the numbers of ours and change nothing else."""
    alone = make_study(file="alone", n_trials=6, sampler={"type": "gp"})
    shared = make_study(file="shared", n_trials=6, sampler={"type": "gp"})
    for place in range(6):
        if place in (0, 3, 4):
            add_all_states(outside(shared.storage))
        one, other = alone.next_assignment(), shared.next_assignment()
        assert (other.params, other.seeded_as) == (one.params, one.seeded_as)
        complete(alone, one)
        complete(shared, other)
    assert [record.number for record in shared.records()] == [5, 6, 7, 12, 17, 18]
    assert len({record.seeded_as for record in shared.records()}) == 6


def test_a_copy_of_one_of_our_trials_is_foreign(make_study):
    study = make_study(disk=True)
    complete(study, study.next_assignment())
    theirs = outside(study.storage)
    theirs.add_trial(theirs.trials[0])
    assert [record.number for record in study.records()] == [0]
    assert list(study.storage.skipped) == [1]


def test_a_forged_trial_with_our_attributes_is_foreign(make_study):
    study = make_study()
    complete(study, study.next_assignment())
    (ours,) = study.storage.study.trials
    forged = create_trial(
        state=TrialState.COMPLETE,
        values=FORGED,
        params=ours.params,
        distributions=ours.distributions,
        user_attrs=ours.user_attrs,
        system_attrs={"sha256": "0" * 64, "cnn_lstm_hyperopt:mark": {"nonce": "0", "ours": "0", "start": "0"}},
    )
    outside(study.storage).add_trial(forged)
    assert [record.values.score for record in study.records()] == [0.7]


def test_importances_are_of_our_trials_alone(cheap, tmp_path):
    def searched(name):
        storage = StudyStorage.in_memory(name)
        study = Study(storage, cheap.plan("random", n_trials=30))
        optimise(study, cheap.evaluate)
        return study

    alone, shared = searched("alone"), searched("shared")
    for trial in alone.storage.study.trials[:10]:
        foreign = create_trial(values=FORGED, params=trial.params, distributions=trial.distributions)
        shared.storage.study.add_trial(foreign)
    skill = alone.plan.skill
    assert importances(shared.storage, skill) == importances(alone.storage, skill)
    assert importances(shared.storage, skill)


# ---------------------------------------------------------------------- changes to trials of ours


def forge(trial_id, storage):
    outside(storage).tell(trial_id, FORGED)


def fail(trial_id, storage):
    outside(storage).tell(trial_id, state=TrialState.FAIL)


def delete_attribute(trial_id, storage):
    execute(storage.path, "DELETE FROM trial_user_attributes WHERE key = 'size_mb'")


def edit_attribute(trial_id, storage):
    outside(storage)._storage.set_trial_user_attr(1, "estimated_seconds", 0.001)


def add_attribute(trial_id, storage):
    outside(storage)._storage.set_trial_user_attr(1, "retry_of", 0)


def edit_parameter(trial_id, storage):
    execute(
        storage.path, "UPDATE trial_params SET param_value = param_value / 2 WHERE param_name LIKE '%learning_rate'"
    )


def delete_curve(trial_id, storage):
    execute(storage.path, "DELETE FROM trial_user_attributes WHERE key = 'curve'")


def delete_trial(trial_id, storage):
    for table in ("trial_params", "trial_user_attributes", "trial_system_attributes", "trials"):
        execute(storage.path, f"DELETE FROM {table}")  # noqa: S608


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (forge, "another program ended it as COMPLETE"),
        (fail, "another program ended it as FAIL"),
        (delete_attribute, "another program changed its parameters or attributes"),
        (edit_attribute, "another program changed its parameters or attributes"),
        (add_attribute, "another program changed its parameters or attributes"),
        (edit_parameter, "another program changed its parameters or attributes"),
    ],
)
def test_a_running_trial_that_was_changed_is_dropped_and_another_takes_its_place(make_study, change, why):
    study = make_study(n_trials=1, disk=True)
    assignment = study.next_assignment()
    change(0, study.storage)
    with pytest.raises(TrialChangedError):
        complete(study, assignment)
    study.drop(assignment, why)
    assert study.records() == []
    assert study.storage.news() == [f"trial 0 is not used: {why}; another trial takes its place"]
    complete(study, study.next_assignment())
    assert study.next_assignment() is NoTrial.ENOUGH
    assert [(record.number, record.values.score) for record in study.records()] == [(1, 0.7)]


def test_a_change_of_what_was_stored_since_the_start_is_noticed_too(make_study):
    study = make_study(n_trials=1, disk=True)
    assignment = study.next_assignment()
    study.storage.note(assignment.trial_id, "saving", 1)
    outside(study.storage)._storage.set_trial_user_attr(1, "saving", 0)
    with pytest.raises(TrialChangedError, match=r"another program changed its attributes \(saving\)"):
        complete(study, assignment)


def test_a_trial_that_was_ended_while_it_was_begun_gives_way_to_another(make_study, monkeypatch):
    study = make_study(disk=True)
    add_all_states(outside(study.storage))  # so that numbers differ, and the trial's seed is noted once it is there
    start = study.storage.start

    def ended_at_once(*arguments):
        trial_id, number = start(*arguments)
        if number == 5:
            outside(study.storage).tell(number, FORGED)
        return trial_id, number

    monkeypatch.setattr(study.storage, "start", ended_at_once)
    assert study.next_assignment().number == 6
    assert [record.number for record in study.records()] == [6]


def test_what_others_add_to_a_running_trial_costs_nothing_and_is_in_no_record(make_study):
    study = make_study(n_trials=1, disk=True)
    assignment = study.next_assignment()
    theirs = outside(study.storage)._storage
    theirs.set_trial_user_attr(1, "comment", "looks good")
    seal = study.storage._storage.set_trial_system_attr

    def seal_and_comment(*arguments):
        seal(*arguments)
        theirs.set_trial_user_attr(1, "comment", "added at the last moment")

    study.storage._storage.set_trial_system_attr = seal_and_comment
    record = complete(study, assignment)
    assert "comment" not in record.attributes
    again = make_study(n_trials=1, disk=True)
    assert again.records() == [record]
    assert again.storage.news() == []
    assert outside(again.storage).trials[0].user_attrs["comment"] == "added at the last moment"
    execute(again.storage.path, "UPDATE trial_user_attributes SET value_json = '9.0' WHERE key = 'seconds'")
    with pytest.raises(SaveDirError, match="trial 0 is not what was stored"):
        make_study(disk=True)


def test_a_seal_of_an_earlier_version_is_a_digest_of_all_attributes(make_study):
    study = make_study(n_trials=1, disk=True)
    record = complete(study, study.next_assignment())
    seal = outside(study.storage).trials[0].system_attrs["sha256"]
    assert set(seal["names"]) == set(record.attributes)
    study.storage.close()
    execute(
        study.storage.path,
        f"UPDATE trial_system_attributes SET value_json = '\"{seal['digest']}\"' WHERE key = 'sha256'",  # noqa: S608
    )
    assert make_study(n_trials=1, disk=True).records() == [record]


def test_a_removed_trial_is_noticed(make_study):
    study = make_study(disk=True)
    assignment = study.next_assignment()
    delete_trial(0, study.storage)
    with pytest.raises(TrialChangedError, match="another program removed it"):
        study.storage.note(assignment.trial_id, "saving", 1)
    study.drop(assignment, "removed")


def test_a_report_on_a_trial_that_was_ended_says_so(make_study):
    study = make_study(disk=True, pruner={"type": "median"})
    assignment = study.next_assignment()
    outside(study.storage).tell(0, FORGED)
    study._running._stored_at = -1e9  # a curve is stored now and then
    with pytest.raises(TrialChangedError, match="another program ended it"):
        study.report(assignment, ProgressReport(1.0, 1.0, 3.0, 0.7, 0.3, False))


@pytest.mark.parametrize("worker", [None, 1])
def test_a_cut_off_trial_that_another_program_asked_for_is_gone_on_with(make_study, worker):
    """``study.ask()`` takes any WAITING trial."""
    study = make_study(n_trials=1, disk=True, worker=worker)
    first = study.next_assignment()
    study.pause(first)
    taken = outside(study.storage).ask()
    assert taken.number == first.number
    again = study.next_assignment()
    assert isinstance(again, Assignment)
    assert (again.number, again.params) == (first.number, first.params)
    complete(study, again)
    assert study.next_assignment() is NoTrial.ENOUGH


def test_a_trial_that_another_worker_runs_is_not_taken_from_it(make_study):
    mine = make_study(n_trials=1, worker=1, disk=True)
    theirs = make_study(n_trials=1, worker=2, disk=True, beside=True)
    theirs.next_assignment()
    assert mine.next_assignment() is NoTrial.OTHERS_RUN_THE_REST


def test_a_finished_trial_without_our_seal_is_never_used(make_study):
    study = make_study(disk=True)
    complete(study, study.next_assignment())
    execute(study.storage.path, "DELETE FROM trial_system_attributes WHERE key = 'sha256'")
    again = make_study(disk=True)
    assert again.records() == []
    assert again.storage.news() == [
        "trial 0 is not used: another program ended it as COMPLETE; another trial takes its place"
    ]


def test_a_finished_trial_that_was_edited_is_damage(make_study):
    study = make_study(disk=True)
    complete(study, study.next_assignment())
    execute(study.storage.path, "UPDATE trial_values SET value = 0.99")
    with pytest.raises(SaveDirError, match="trial 0 is not what was stored"):
        make_study(disk=True)


def test_an_edited_trial_does_not_get_into_the_backup(make_study, tmp_path):
    """The copy made before stays, so that there is something to go back to."""
    study = make_study(disk=True)
    complete(study, study.next_assignment())
    study.storage.back_up()
    execute(study.storage.path, "UPDATE trial_values SET value = 0.99")
    with pytest.raises(StorageFailedError, match="trial 0 is not what was stored") as caught:
        study.storage.back_up()
    assert "study.backup.db beside it holds 1 finished trials" in str(caught.value)
    study.storage.close()
    (tmp_path / "study.backup.db").replace(tmp_path / "study.db")
    assert [record.values.score for record in make_study(disk=True).records()] == [0.7]
    assert sorted(each.name for each in tmp_path.iterdir() if "backup" in each.name) == []


def test_a_damaged_mark_costs_no_finished_trial(make_study):
    study = make_study(disk=True)
    complete(study, study.next_assignment())
    execute(study.storage.path, "DELETE FROM trial_system_attributes WHERE key LIKE '%mark'")
    assert [record.values.score for record in make_study(disk=True).records()] == [0.7]


# ---------------------------------------------------------------------- studies of an earlier version


def as_of_an_earlier_version(path: Path) -> None:
    """Without a key and without marks; seals that need no key."""
    storage = StudyStorage(path)
    storage.set_attribute("format", 5)
    trials = storage.study.trials
    storage.close()
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM study_system_attributes WHERE key IN (?, 'sha256')", (KEY,))
    connection.execute("DELETE FROM trial_system_attributes WHERE key LIKE '%mark'")
    for trial in trials:
        said = [trial.number, trial.state.name, trial.params, trial.values, trial.user_attrs]
        seal = json.dumps(hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest())
        connection.execute(
            "UPDATE trial_system_attributes SET value_json = ? WHERE key = 'sha256' AND trial_id = ?",
            (seal, trial._trial_id),
        )
    connection.commit()
    connection.close()


def test_a_study_of_an_earlier_version_goes_on_with_trials_by_their_attributes(make_study, tmp_path):
    study = make_study(disk=True, n_trials=3)
    complete(study, study.next_assignment())
    study.storage.close()
    as_of_an_earlier_version(tmp_path / "study.db")
    again = make_study(disk=True, n_trials=3)
    assert not again.storage.marks_trials
    add_all_states(outside(again.storage))
    assert [record.number for record in again.records()] == [0]
    while isinstance(assignment := again.next_assignment(), Assignment):
        complete(again, assignment)
    assert [record.number for record in again.records()] == [0, 6, 7]
    once_more = make_study(disk=True, n_trials=3)
    assert [record.number for record in once_more.records()] == [0, 6, 7]


def test_a_study_whose_key_was_removed_is_damaged(make_study, tmp_path):
    make_study(disk=True).storage.close()
    execute(tmp_path / "study.db", f"DELETE FROM study_system_attributes WHERE key = '{KEY}'")  # noqa: S608
    with pytest.raises(SaveDirError, match="the key of its seals is missing"):
        make_study(disk=True)


# ---------------------------------------------------------------------- files of other programs


def of_sqlite(path, mode):
    execute(path, f"PRAGMA journal_mode={mode}", "CREATE TABLE bars (day TEXT)")


def of_optuna(path, mode):
    optuna.create_study(study_name="theirs", storage=f"sqlite:///{path}", directions=["minimize"])
    execute(path, f"PRAGMA journal_mode={mode}")


def of_two_studies(path, mode):
    StudyStorage(path, create="one").close()
    execute(path, "INSERT INTO studies (study_name) VALUES ('two')", f"PRAGMA journal_mode={mode}")


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
@pytest.mark.parametrize("make", [of_sqlite, of_optuna, of_two_studies])
@pytest.mark.parametrize("kept_open", [False, True])
def test_a_refused_file_stays_as_it_is(tmp_path, make, mode, kept_open):
    path = tmp_path / "study.db"
    make(path, mode)
    other = sqlite3.connect(path)
    if kept_open:
        other.execute("CREATE TABLE more (a)")
        other.execute("INSERT INTO more VALUES (1)")
        other.commit()
    else:
        other.close()
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir() if not each.name.endswith("-shm")}
    names = sorted(each.name for each in tmp_path.iterdir())
    with pytest.raises(SaveDirError):
        StudyStorage(path)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir() if not each.name.endswith("-shm")} == before
    assert sorted(each.name for each in tmp_path.iterdir()) == names
    other.close()


def test_a_log_that_was_copied_along_is_not_touched(tmp_path):
    """The file and its log without the index that SQLite keeps beside them."""
    there = tmp_path / "there"
    there.mkdir()
    of_optuna(there / "study.db", "WAL")
    other = sqlite3.connect(there / "study.db")
    other.execute("CREATE TABLE more (a)")
    other.commit()
    for name in ("study.db", "study.db-wal"):
        (tmp_path / name).write_bytes((there / name).read_bytes())
    other.close()
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir() if each.is_file()}
    with pytest.raises(SaveDirError, match=rf"\(format None, not {FORMAT}\)"):
        StudyStorage(tmp_path / "study.db")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir() if each.is_file()} == before
