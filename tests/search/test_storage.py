"""The storage: what goes in comes out, whole, and Optuna's own tools read it."""

import contextlib
import random
import sqlite3
import subprocess
import sys
from datetime import datetime

import optuna
import pytest
import sqlalchemy

from cnn_lstm_hyperopt.config import Choices, Fixed
from cnn_lstm_hyperopt.errors import HyperoptError, SaveDirError, StorageFailedError
from cnn_lstm_hyperopt.search import Point, State, StudyStorage, Values
from cnn_lstm_hyperopt.search.distributions import distributions_of, with_fixed
from cnn_lstm_hyperopt.search.orphans import fail_interrupted, fail_worker, pause_orphans
from cnn_lstm_hyperopt.search.storage_recovery import back_up
from cnn_lstm_hyperopt.search.study_file import FORMAT


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.db"


@pytest.fixture
def storage(path):
    opened = StudyStorage(path, create="a study")
    yield opened
    opened.close()


@pytest.fixture
def start(storage, make_space):
    """Starts a trial of the whole space."""
    space = make_space({})
    params = {}
    for name in space.active(params):
        domain = space.domains[name]
        last = {Choices: "values", Fixed: "value"}.get(type(domain), "high")
        params[name] = getattr(domain, last)[-1] if last == "values" else getattr(domain, last)
    params = {name: value for name, value in params.items() if name in space.searched()}

    def begin(**attributes):
        trial_id, _ = storage.start(params, distributions_of(space, params), {"size_mb": 2.5, **attributes})
        return trial_id

    begin.params, begin.space = params, space
    return begin


def reopened(storage, path):
    storage.close()
    return StudyStorage(path)


def test_a_configuration_comes_back_with_its_types(storage, start, path):
    start()
    again = reopened(storage, path)
    (record,) = again.records()
    again.close()
    assert record.params == start.params
    assert {k: type(v) for k, v in record.params.items()} == {k: type(v) for k, v in start.params.items()}
    assert {type(v) for v in record.params.values()} == {bool, int, float, str}


def test_a_running_trial_is_known_with_its_size_and_nothing_else(storage, start):
    start(retry_of=7)
    (record,) = storage.records()
    assert (record.number, record.state, record.values, record.size_mb) == (0, State.RUNNING, None, 2.5)
    assert (record.curve, record.seconds, record.projected_seconds, record.reason) == ((), 0.0, None, "")
    assert record.retry_of == 7
    assert not record.finished


def test_a_curve_comes_back_exactly(storage, start, path):
    curve = (Point(1.0, 1 / 3, 0.7, 0.1 + 0.2), Point(2.0, 2 / 3, 1e-300, 12345.678901234567))
    storage.record_curve(start(), curve[:1])
    storage.record_curve(start(), curve)
    again = reopened(storage, path)
    assert [record.curve for record in again.records()] == [curve[:1], curve]
    assert again.records()[1].seconds == curve[-1].seconds
    again.close()


def test_ends_of_trials_come_back(storage, start, path):
    values = Values(0.123456789012345, 1e-3, 7.25)
    told = {"seconds": 3.5, "projected_seconds": 9.0, "memory_mb": None, "epochs": 0.25}
    storage.finish(start(), State.COMPLETE, values, told)
    storage.finish(start(), State.PRUNED, None, {"reason": "median: why", "seconds": 1.5})
    storage.finish(start(), State.FAIL, None, {"reason": "näh"})
    again = reopened(storage, path)
    complete, pruned, failed = again.records()
    again.close()
    assert complete.values == values
    assert isinstance(complete.values, Values)
    assert (complete.seconds, complete.projected_seconds, complete.attributes["epochs"]) == (3.5, 9.0, 0.25)
    assert (pruned.state, pruned.values, pruned.reason, pruned.seconds) == (State.PRUNED, None, "median: why", 1.5)
    assert (failed.state, failed.reason) == (State.FAIL, "näh")
    assert [r.finished for r in (complete, pruned, failed)] == [True, True, False]


def test_records_are_in_order_of_number_and_up_to_date(storage, start):
    ids = [start() for _ in range(5)]
    assert [r.number for r in storage.records()] == [0, 1, 2, 3, 4]
    storage.finish(ids[3], State.COMPLETE, Values(0.5, 1, 1), {})
    storage.record_curve(ids[1], (Point(1, 0.5, 0.5, 1),))
    assert [r.state for r in storage.records()] == [State.RUNNING] * 3 + [State.COMPLETE, State.RUNNING]
    assert len(storage.records()[1].curve) == 1


def test_a_second_storage_sees_what_the_first_writes(storage, start, path):
    other = StudyStorage(path)
    trial_id = start()
    assert other.records()[0].state is State.RUNNING
    storage.finish(trial_id, State.COMPLETE, Values(0.5, 1, 1), {})
    assert other.records()[0].state is State.COMPLETE
    other.close()


def states(storage):
    return [record.state for record in storage.records()]


def test_orphans_wait_and_are_named_and_others_stay(storage, start, path):
    storage.finish(start(), State.COMPLETE, Values(0.5, 1, 1), {})
    start()
    storage.finish(start(), State.PRUNED, None, {"reason": "x"})
    start()
    again = reopened(storage, path)
    assert pause_orphans(again) == [1, 3]
    assert states(again) == [State.COMPLETE, State.WAITING, State.PRUNED, State.WAITING]
    assert pause_orphans(again) == []
    again.close()


def test_a_waiting_trial_goes_on_with_all_that_it_had(storage, start):
    curve = (Point(1.0, 0.5, 0.7, 1.0),)
    trial_id = start(worker=1)
    storage.record_curve(trial_id, curve)
    storage.pause(trial_id)
    assert storage.claim(0, worker=2) == trial_id
    (record,) = storage.records()
    assert (record.state, record.curve, record.params) == (State.RUNNING, curve, start.params)
    assert record.attributes["worker"] == 2
    storage.finish(trial_id, State.COMPLETE, Values(0.5, 1, 1), {})
    assert states(storage) == [State.COMPLETE]


def test_the_trial_of_one_worker_alone_can_fail(storage, start):
    for worker in (1, 2):
        start(worker=worker)
    start()  # of a study without workers
    storage.finish(start(worker=1), State.COMPLETE, Values(0.5, 1, 1), {})
    assert fail_worker(storage, 1, "worker 1 died", "killed") == [0]
    assert states(storage) == [State.FAIL, State.RUNNING, State.RUNNING, State.COMPLETE]
    assert storage.records()[0].reason == "worker 1 died"
    assert storage.records()[0].attributes["cut_off_by"] == "killed"
    assert fail_worker(storage, 1, "worker 1 died", "killed") == []
    assert fail_worker(storage, 9, "worker 9 died", "killed") == []


def test_what_nobody_will_go_on_with_fails(storage, start):
    storage.pause(start())
    start()
    storage.finish(start(), State.PRUNED, None, {"reason": "x"})
    storage.study.enqueue_trial({"cnn.dropout": 0.1})  # by somebody else
    assert fail_interrupted(storage, "no time") == [0, 1]
    assert [(r.state, r.reason) for r in storage.records()] == [
        (State.FAIL, "no time"),
        (State.FAIL, "no time"),
        (State.PRUNED, "x"),
    ]


def test_states_know_whether_they_are_an_end():
    assert {state for state in State if not state.ended} == {State.RUNNING, State.WAITING}


def test_attributes_of_the_study(storage, path):
    assert storage.attribute("skill") is None
    storage.set_attribute("skill", {"chance": 0.1, "list": [1, None, "ü"]})
    again = reopened(storage, path)
    assert again.attribute("skill") == {"chance": 0.1, "list": [1, None, "ü"]}
    again.close()


def test_a_study_in_memory_holds_what_one_in_a_file_does(storage, start):
    """And goes when nobody holds it any more; there is nothing to fold or to close."""
    memory = StudyStorage.in_memory("a study")
    assert memory.attribute("format") == FORMAT
    for each in (storage, memory):
        assert each.n_begun() == 0
        first, number = each.start(start.params, distributions_of(start.space, start.params), {"size_mb": 2.5})
        assert number == 0
        each.record_curve(first, (Point(1.0, 1 / 3, 0.7, 0.1),))
        each.note(first, "would_have_ended", {"epoch": 1.0, "reason": "x"})
        each.finish(first, State.COMPLETE, Values(0.5, 2.0, 2.5), {"seconds": 2.0, "finish_order": 0, "pair": (1, 2)})
        each.start({}, {}, {"size_mb": 1.0, "worker": 3})
        assert each.n_begun() == 2
        each.fold_log()
    assert memory.records() == storage.records()
    assert fail_worker(memory, 3, "gone", "died") == [1]
    memory.close()
    assert [record.state for record in memory.records()] == [State.COMPLETE, State.FAIL]
    assert StudyStorage.in_memory("a study").records() == []


# ---------------------------------------------------------------------- Optuna's tools


@pytest.mark.parametrize(("metric", "name"), [("mcc", "mcc"), ("log_loss", "negative_log_loss")])
def test_the_objectives_of_a_study_are_named_by_its_metric(path, metric, name):
    StudyStorage(path, create="x", metric=metric).close()
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{path}")
    assert study.metric_names == [name, "training_seconds", "size_mb"]
    assert StudyStorage.in_memory("x", metric).study.metric_names == study.metric_names


def test_plain_optuna_reads_the_study(storage, start, path):
    trial_id = start()
    storage.record_curve(trial_id, (Point(1, 0.5, 0.7, 1.0),))
    storage.finish(trial_id, State.COMPLETE, Values(0.8, 2.0, 3.0), {})
    storage.finish(start(), State.PRUNED, None, {"reason": "x"})
    storage.finish(start(), State.FAIL, None, {"reason": "y"})
    storage.close()
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{path}")
    assert study.study_name == "a study"
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    assert study.metric_names == ["accuracy", "training_seconds", "size_mb"]
    assert [t.state.name for t in study.trials] == ["COMPLETE", "PRUNED", "FAIL"]
    assert study.trials[0].values == [0.8, 2.0, 3.0]
    assert [t.number for t in study.best_trials] == [0]
    frame = study.trials_dataframe()
    assert frame["values_accuracy"][0] == 0.8
    assert frame["params_training.learning_rate"][0] == start.params["training.learning_rate"]
    assert list(frame["state"]) == ["COMPLETE", "PRUNED", "FAIL"]
    assert (frame["datetime_complete"] >= frame["datetime_start"]).all()


def test_after_closing_the_file_alone_is_the_whole_study(storage, start, path, tmp_path):
    storage.finish(start(), State.COMPLETE, Values(0.8, 2.0, 3.0), {})
    storage.close()
    assert [p.name for p in path.parent.iterdir()] == ["study.db"]
    copy = tmp_path / "copy.db"
    copy.write_bytes(path.read_bytes())
    again = StudyStorage(copy)
    assert again.records()[0].values == (0.8, 2.0, 3.0)
    again.close()


def test_folding_the_log_makes_the_file_whole_while_it_is_open(storage, start, path, tmp_path):
    storage.finish(start(), State.COMPLETE, Values(0.8, 2.0, 3.0), {})
    storage.fold_log()
    copy = tmp_path / "copy.db"
    copy.write_bytes(path.read_bytes())
    again = StudyStorage(copy)
    assert again.records()[0].state is State.COMPLETE
    again.close()


def test_what_a_killed_process_had_finished_is_kept(path, make_space):
    """No close, no fold: the process ends at once."""
    code = f"""
import os
from pathlib import Path
from cnn_lstm_hyperopt.search import State, StudyStorage, Values
storage = StudyStorage(Path({str(path)!r}), create="killed")
first, _ = storage.start({{}}, {{}}, {{"size_mb": 1.0}})
storage.finish(first, State.COMPLETE, Values(0.7, 2, 1), {{}})
storage.start({{}}, {{}}, {{"size_mb": 1.0}})
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 9
    storage = StudyStorage(path)
    assert [r.state for r in storage.records()] == [State.COMPLETE, State.RUNNING]
    storage.close()


def test_optunas_verbosity_stays_as_the_user_set_it(path):
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    StudyStorage(path, create="x").close()
    assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    optuna.logging.set_verbosity(optuna.logging.WARNING)


# ---------------------------------------------------------------------- files that are no study


def test_a_missing_file_names_itself_and_the_cure(path):
    with pytest.raises(SaveDirError, match=r"study.db does not exist, so there is no study to resume; start one with"):
        StudyStorage(path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", r"holds no study"),
        (b"SQLite format 3\x00", r"holds no study|is damaged or none"),
        (b"not a database, but long enough to be read as one" * 40, r"is damaged or none \(file is not a database\)"),
    ],
    ids=["empty", "beginning", "text"],
)
def test_a_file_that_is_no_database_says_so_in_one_line(path, content, why):
    path.write_bytes(content)
    with pytest.raises(SaveDirError, match=why) as caught:
        StudyStorage(path)
    assert str(caught.value).endswith("; there is no whole study.backup.db beside it: choose another --save-dir")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_another_programs_database_says_so(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bars (day TEXT)")
    connection.commit()
    connection.close()
    with pytest.raises(SaveDirError, match=r"study.db holds no study") as caught:
        StudyStorage(path)
    assert "\n" not in str(caught.value)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("bars",)]  # nothing is put into it
    connection.close()


def test_another_programs_database_says_what_is_missing(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bars (day TEXT)")
    connection.commit()
    connection.close()
    with pytest.raises(SaveDirError, match=r"no such table|holds no study|holds 0"):
        StudyStorage(path)


def test_a_file_with_two_studies_is_refused(path):
    StudyStorage(path, create="one").close()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna.create_study(study_name="two", storage=f"sqlite:///{path}")
    with pytest.raises(SaveDirError, match=r"must hold exactly one study, but holds 2"):
        StudyStorage(path)


def test_a_study_is_not_made_twice(path):
    StudyStorage(path, create="one").close()
    for name in ("one", "two"):
        with pytest.raises(SaveDirError, match=r"study.db exists already; resume it or choose another --save-dir"):
            StudyStorage(path, create=name)
    again = StudyStorage(path)
    assert again.study.study_name == "one"
    again.close()


def test_a_new_study_has_its_attributes_from_the_start(path):
    storage = StudyStorage(path, create="x", attributes={"skill": {"chance": 0.5}, "n_trials": 7})
    assert (storage.attribute("skill"), storage.attribute("n_trials")) == ({"chance": 0.5}, 7)
    assert storage.attribute("format") == FORMAT
    storage.close()
    assert [p.name for p in path.parent.iterdir()] == ["study.db"]


def test_a_process_that_dies_while_it_makes_the_study_leaves_none(path):
    """What it leaves is swept up by the next one."""
    code = f"""
import os
from pathlib import Path
import optuna
from cnn_lstm_hyperopt.search import StudyStorage
optuna.Study.set_user_attr = lambda *_: os._exit(9)
StudyStorage(Path({str(path)!r}), create="killed")
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 9
    assert [p.name for p in path.parent.iterdir()] != []
    with pytest.raises(SaveDirError, match="does not exist"):
        StudyStorage(path)
    storage = StudyStorage(path, create="mine")
    assert storage.study.study_name == "mine"
    storage.close()
    assert [p.name for p in path.parent.iterdir()] == ["study.db"]


def test_a_missing_folder_says_so(tmp_path):
    with pytest.raises(SaveDirError, match="can't be opened as a study: unable to open"):
        StudyStorage(tmp_path / "no" / "study.db", create="x")


@pytest.mark.parametrize("name", ["with space", "ümlaut", "a&b", "a#b", "a=b", "50 %"])
def test_folders_with_unusual_names_hold_their_own_study(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    StudyStorage(folder / "study.db", create="x").close()
    assert [p.name for p in tmp_path.iterdir()] == [name]
    StudyStorage(folder / "study.db").close()


@pytest.mark.parametrize("name", ["what?", "a%20b"])
def test_folders_whose_names_mean_something_in_a_url_hold_their_own_study(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    StudyStorage(folder / "study.db", create="x").close()
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "directions",
    [["minimize"], ["minimize", "minimize", "minimize"], ["maximize", "minimize", "minimize"]],
    ids=" ".join,
)
def test_someone_elses_study_is_refused(path, directions):
    """Also one that looks like ours, and at once."""
    theirs = optuna.create_study(study_name="theirs", storage=f"sqlite:///{path}", directions=directions)
    theirs.add_trial(optuna.trial.create_trial(values=[1.0] * len(directions)))
    before = path.read_bytes()
    with pytest.raises(
        SaveDirError, match=rf"holds the study theirs, .* did not make \(format None, not {FORMAT}\)"
    ) as caught:
        StudyStorage(path)
    assert "choose another --save-dir" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [t.values for t in optuna.load_study(study_name=None, storage=f"sqlite:///{path}").trials] == [
        [1.0] * len(directions)
    ]
    assert len(path.read_bytes()) == len(before)


def test_the_format_is_stored_with_the_study(storage, path):
    assert storage.attribute("format") == FORMAT
    again = reopened(storage, path)
    assert again.attribute("format") == FORMAT
    again.close()


@pytest.mark.parametrize("other", [FORMAT + 1, 0, None, "1"])
def test_a_study_of_another_format_is_refused(storage, path, other):
    storage.set_attribute("format", other)
    storage.close()
    with pytest.raises(SaveDirError, match=rf"holds the study a study, .* \(format {other}, not {FORMAT}\)"):
        StudyStorage(path)


def test_a_trial_that_optuna_enqueued_does_not_break_the_study(storage):
    storage.study.enqueue_trial({"cnn.dropout": 0.1})
    assert storage.records() == []


def test_fixed_parameters_are_not_stored_and_come_back_with_the_space(make_space, storage):
    space = make_space("tiny")
    searched = {"cnn.attention": True, "cnn.attention_heads": 2, "lstm.num_layers": 1}
    storage.start(searched, distributions_of(space, searched), {"size_mb": 1.0})
    (record,) = storage.records()
    assert record.params == searched
    whole = with_fixed(space, record.params)
    assert list(whole) == list(space.active(whole))
    assert (whole["cnn.attention_heads"], whole["lstm.hidden_dim"]) == (2, 8)
    assert "lstm.attention_heads" not in whole


# ---------------------------------------------------------------------- faults of the world


@pytest.fixture
def full_of(storage, start, path):
    """A closed study of that many finished trials, as its file and what its records are."""

    def make(count):
        for number in range(count):
            trial_id = start(note=f"of trial {number}")
            storage.record_curve(trial_id, tuple(Point(float(n), 0.5, 0.7, 1.0) for n in range(1, 6)))
            values = Values(0.5 + number / 100, 2.0, 3.0)
            storage.finish(trial_id, State.COMPLETE, values, {"seconds": 2.0, "finish_order": number})
        records = storage.records()
        storage.close()
        return records

    return make


def test_a_study_in_a_file_that_was_removed_or_replaced_is_not_gone_on_with(storage, start, path, tmp_path):
    """SQLite itself would go on writing into the removed file."""
    trial_id = start()
    moved = tmp_path / "moved.db"
    path.rename(moved)
    for replaced in (False, True):
        if replaced:
            path.write_bytes(moved.read_bytes())
        for act in (start, storage.records, lambda: storage.finish(trial_id, State.PRUNED, None, {}), storage.back_up):
            with pytest.raises(StorageFailedError) as caught:
                act()
            assert str(caught.value) == (
                f"{path} was removed, moved or replaced while the run was at work, so nothing more can be stored. Put it back in"
                f" its place and go on with: cnn-lstm-hyperopt resume --save-dir {tmp_path} (in Python: resume=True); without"
                " it, begin again"
            )
    moved.replace(path)
    storage.finish(trial_id, State.PRUNED, None, {})
    assert states(storage) == [State.PRUNED]


def test_a_locked_study_says_so_and_can_be_read(storage, start, path, monkeypatch):
    monkeypatch.setattr("cnn_lstm_hyperopt.search.study_file.BUSY_SECONDS", 0.1)
    start()
    again = reopened(storage, path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageFailedError) as caught:
            pause_orphans(again)
        assert states(again) == [State.RUNNING]
        other.execute("ROLLBACK")
    assert str(caught.value) == (
        f"{path} can't be written: another program held it locked for 30 s; what was finished is kept. Remedy: close what has it"
        " open (a shell of SQLite, a copy in progress), then go on with: cnn-lstm-hyperopt resume --save-dir"
        f" {path.parent} (in Python: resume=True)"
    )
    assert pause_orphans(again) == [0]
    again.close()


def test_a_lock_that_comes_while_a_trial_is_inserted_is_waited_for_once(storage, path, monkeypatch):
    """Optuna would try five times, each as long as SQLite waits."""
    monkeypatch.setattr("cnn_lstm_hyperopt.search.study_file.BUSY_SECONDS", 0.1)
    again = reopened(storage, path)
    tried = []
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:

        def lock(connection, cursor, statement, *_):
            if statement.startswith("INSERT INTO trials "):
                tried.append(statement)
                if len(tried) == 1:
                    other.execute("BEGIN IMMEDIATE")

        sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", lock)
        try:
            with pytest.raises(StorageFailedError, match="another program held it locked for 30 s"):
                again.start({}, {}, {"size_mb": 0.5})
        finally:
            sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", lock)
        assert len(tried) == 1
        other.execute("ROLLBACK")
    again.start({}, {}, {"size_mb": 0.5})
    assert states(again) == [State.RUNNING]
    again.close()


def test_a_trial_that_is_not_what_was_stored_is_named(full_of, path):
    full_of(3)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE trial_values SET value = 0.99 WHERE trial_id = 2 AND objective = 0")
    connection.commit()
    connection.close()
    with pytest.raises(
        SaveDirError,
        match=r"is damaged or none \(trial 1 is not what was stored: another program or the disk changed it\); there is no whole",
    ):
        StudyStorage(path)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (
            "UPDATE trial_user_attributes SET value_json = '{' WHERE trial_id = 2 AND key = 'curve'",
            "trial 1 can't be read",
        ),
        (
            "UPDATE trial_user_attributes SET value_json = '[[1, 2]]' WHERE key = 'curve'",
            "trial 0 is not what was stored",
        ),
        ("UPDATE trial_params SET distribution_json = 'x' WHERE trial_id = 3", "trial 2 can't be read"),
        ("UPDATE trials SET state = 'DONE' WHERE trial_id = 3", "trial 2 can't be read"),
        ("UPDATE trials SET datetime_start = 'soon' WHERE trial_id = 1", "trial 0 can't be read"),
        ("DELETE FROM trials WHERE trial_id = 2", "of 3 trials 2 are there"),
        ("DELETE FROM trial_values WHERE trial_id = 1", "trial 0 is not what was stored"),
        ("DROP TABLE trial_user_attributes", "no such table: trial_user_attributes"),
    ],
)
def test_a_trial_that_makes_no_sense_is_named_in_one_line(full_of, path, damage, why):
    full_of(3)
    connection = sqlite3.connect(path)
    connection.execute(damage)
    connection.commit()
    connection.close()
    with pytest.raises(SaveDirError) as caught:
        StudyStorage(path)
    assert f"can't be opened as a study, it is damaged or none ({why}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unfinished_trial_that_lacks_what_it_was_started_with_is_named(storage, start, path):
    storage.record_curve(start(), (Point(1.0, 0.5, 0.7, 1.0),))
    storage.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE trial_user_attributes SET value_json = '[[1, 2]]' WHERE key = 'curve'")
    connection.commit()
    connection.close()
    with pytest.raises(SaveDirError, match=r"\(trial 0 can't be read: "):
        StudyStorage(path)


def test_bytes_flipped_anywhere_cost_no_finished_trial_unnoticed(full_of, path):
    """Either one line says so, or all that was finished is as it was."""
    records = full_of(12)
    whole = path.read_bytes()
    generator = random.Random(0)
    texts = []
    for _ in range(30):
        damaged = bytearray(whole)
        for place in generator.sample(range(len(whole)), generator.choice([1, 1, 8, 64])):
            damaged[place] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            again = StudyStorage(path)
        except HyperoptError as error:
            texts.append(str(error))
            continue
        assert again.records() == records
        again.close()
    assert 0 < len(texts) < 30
    assert all(str(path) in text and "\n" not in text for text in texts)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_study_says_so_and_names_its_copy(full_of, path, share):
    records = full_of(6)
    storage = StudyStorage(path)
    storage.back_up()
    storage.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(SaveDirError, match=r"damaged or none") as caught:
        StudyStorage(path)
    folder = path.parent
    assert str(caught.value).endswith(
        f"; study.backup.db beside it holds 6 finished trials; put it in its place with: cd {folder} && mv study.db damaged.db &&"
        " rm -f study.db-wal study.db-shm && cp study.backup.db study.db, then go on with: cnn-lstm-hyperopt resume --save-dir"
        f" {folder}"
    )
    path.with_name("study.backup.db").replace(path)
    again = StudyStorage(path)
    assert again.records() == records
    again.close()


def test_a_copy_is_whole_one_file_and_replaces_the_one_before(storage, start, path):
    for number in range(2):
        storage.finish(start(), State.COMPLETE, Values(0.5, 1, 1), {})
        storage.back_up()
        assert {each.name for each in path.parent.iterdir()} == {
            "study.db",
            "study.db-wal",
            "study.db-shm",
            "study.backup.db",
        }
        copy = StudyStorage(path.with_name("study.backup.db"))
        assert len(copy.records()) == number + 1
        copy.close()


def test_a_damaged_study_does_not_replace_its_copy(full_of, path):
    full_of(20)
    storage = StudyStorage(path)
    storage.back_up()
    before = path.with_name("study.backup.db").read_bytes()
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 6000] = bytes(6000)
    with path.open("r+b") as file:
        file.write(whole)
    with pytest.raises(StorageFailedError, match=r"can't be written: it is damaged \(.*holds 20 finished trials"):
        storage.back_up()
    storage.close()
    assert path.with_name("study.backup.db").read_bytes() == before
    assert not list(path.parent.glob(".*"))


def test_without_room_for_a_copy_the_log_says_so_and_the_study_goes_on(storage, start, path, caplog):
    (path.parent / "study.backup.db").mkdir()  # nothing can be moved there
    storage.back_up()
    assert "study.backup.db can't be written" in caplog.text
    storage.finish(start(), State.COMPLETE, Values(0.5, 1, 1), {})
    assert states(storage) == [State.COMPLETE]


def test_a_copy_is_given_up_when_another_program_keeps_the_study_for_itself(full_of, path, monkeypatch, caplog):
    """SQLite would try for ever."""
    full_of(2)
    monkeypatch.setattr("cnn_lstm_hyperopt.search.storage_recovery.BUSY_SECONDS", 0.3)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("COMMIT")
        back_up(path)
    assert "study.backup.db can't be written" in caplog.text
    back_up(path)
    assert path.with_name("study.backup.db").is_file()


def test_what_a_trial_was_to_end_with_is_taken_back_when_it_ends_otherwise(storage, start):
    """Its process ended after the attributes were stored and before the state was."""
    trial_id = start()
    storage.note(trial_id, "reason", "its worker 1 died")
    storage.note(trial_id, "cut_off_by", "killed")
    storage.finish(trial_id, State.FAIL, None, {"reason": "ValueError: of its own"})
    (record,) = storage.records()
    assert record.reason == "ValueError: of its own"
    assert record.attributes.get("cut_off_by") is None
    other = start()
    storage.note(other, "reason", "its worker 1 died")
    storage.finish(other, State.COMPLETE, Values(0.5, 1, 1), {})
    assert storage.records()[1].reason == ""


@pytest.mark.parametrize(
    "change", [{"speeds": []}, {"skill_gate": {"chance": 0.1}}, {"n_trials": "x"}, {"n_trials": 0}]
)
def test_a_study_that_does_not_say_what_it_was_made_with_is_damaged(path, change):
    made = {"speeds": [1.5, (2, 3)], "skill_gate": {"chance": 0.5}, "n_trials": 3}
    storage = StudyStorage(path, create="x", attributes=made)
    storage.set_attribute("n_trials", 5)
    storage.close()
    storage = StudyStorage(path)
    for name, value in change.items():
        storage.set_attribute(name, value)
    storage.close()
    with pytest.raises(
        SaveDirError, match=r"can't be opened as a study, it is damaged or none \((what it was made|its number)"
    ):
        StudyStorage(path)


def test_a_removed_study_names_its_copy(full_of, path):
    full_of(2)
    storage = StudyStorage(path)
    storage.back_up()
    storage.close()
    path.unlink()
    with pytest.raises(
        SaveDirError, match=r"does not exist.*holds 2 finished trials; put it in its place with: cd [^&]* && rm"
    ):
        StudyStorage(path)


def test_a_study_of_another_version_of_optuna_says_so(full_of, path):
    full_of(1)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE version_info SET schema_version = 9")
    connection.execute("UPDATE alembic_version SET version_num = 'v9.0.0.a'")
    connection.commit()
    connection.close()
    with pytest.raises(SaveDirError, match=r"can't be opened as a study: The runtime optuna version .* is no longer"):
        StudyStorage(path)


def test_a_clock_that_runs_backwards_harms_nothing(storage, start, path, monkeypatch):
    """Trials end in the order in which they are told; their seconds are counted by a clock that can't be set."""
    day = iter(range(28, 0, -1))

    class Backwards(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 5, next(day), tzinfo=tz)

    monkeypatch.setattr("cnn_lstm_hyperopt.search.trial.datetime", Backwards)
    monkeypatch.setattr("optuna.storages._rdb.storage.datetime", Backwards)
    ids = [start() for _ in range(3)]
    for order, number in enumerate([2, 0]):
        storage.finish(ids[number], State.COMPLETE, Values(0.5, 1, 1), {"finish_order": order, "seconds": 1.5})
    storage.pause(ids[1])
    storage.claim(1)
    storage.finish(ids[1], State.PRUNED, None, {"finish_order": 2, "reason": "x"})
    again = reopened(storage, path)
    trials = again.study.trials
    assert all(trial.datetime_complete < trial.datetime_start for trial in trials)
    assert [r.number for r in sorted(again.records(), key=lambda r: r.finish_order)] == [2, 0, 1]
    assert [r.state for r in again.records()] == [State.COMPLETE, State.PRUNED, State.COMPLETE]
    assert again.records()[2].seconds == 1.5
    assert len(again.study.trials_dataframe()) == 3
    again.close()
