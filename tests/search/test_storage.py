"""The storage: round trips, Optuna's own tools, damaged files and backups."""

import contextlib
import random
import sqlite3
import subprocess
import sys
import threading

import optuna
import pytest

from builders.errors import raises
from builders.records import execute, make_space
from cnn_lstm_hyperopt.errors import HyperoptError, SaveDirError, StorageFailedError, TrialChangedError
from cnn_lstm_hyperopt.search import Point, State, StudyStorage, Values, random_configuration
from cnn_lstm_hyperopt.search.distributions import distributions_of
from cnn_lstm_hyperopt.search.orphans import pause_orphans
from cnn_lstm_hyperopt.search.storage_recovery import back_up
from cnn_lstm_hyperopt.search.study_format import FORMAT

VALUES = Values(0.5, 1, 1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.db"


@pytest.fixture
def storage(path):
    opened = StudyStorage(path, create="a study")
    yield opened
    opened.close()


@pytest.fixture
def start(storage):
    """Start a trial of the full space and return its id."""
    space = make_space({})
    params = {n: v for n, v in random_configuration(space, 0, 0).items() if n in space.searched()}

    def begin(**attributes):
        return storage.start(params, distributions_of(space, params), {"size_mb": 2.5, **attributes})[0]

    begin.params, begin.space = params, space
    return begin


@pytest.fixture
def full_of(storage, start):
    """Finish ``count`` trials, close the study and return its records."""

    def make(count, *, backup=False):
        for number in range(count):
            trial_id = start(note=f"of trial {number}")
            storage.record_curve(trial_id, tuple(Point(float(n), 0.5, 0.7, 1.0) for n in range(1, 6)))
            values = Values(0.5 + number / 100, 2.0, 3.0)
            storage.finish(trial_id, State.COMPLETE, values, {"seconds": 2.0, "finish_order": number})
        records = storage.records()
        if backup:
            storage.back_up()
        storage.close()
        return records

    return make


def states(records):
    return [record.state for record in records]


def stored(path):
    """The records of a study that is opened for this alone."""
    with contextlib.closing(StudyStorage(path)) as storage:
        return storage.records()


def test_a_running_trial_comes_back_with_types_size_and_curve(storage, start, path):
    curve = (Point(1.0, 1 / 3, 0.7, 0.1 + 0.2), Point(2.0, 2 / 3, 1e-300, 12345.678901234567))
    start(retry_of=7)
    storage.record_curve(start(), curve[:1])
    storage.record_curve(start(), curve)
    first, *others = stored(path)
    assert first.params == start.params
    assert {k: type(v) for k, v in first.params.items()} == {k: type(v) for k, v in start.params.items()}
    assert {type(v) for v in first.params.values()} == {bool, int, float, str}
    assert (first.number, first.state, first.values, first.size_mb) == (0, State.RUNNING, None, 2.5)
    assert (first.curve, first.seconds, first.projected_seconds, first.reason) == ((), 0.0, None, "")
    assert (first.retry_of, first.finished) == (7, False)
    assert [record.curve for record in others] == [curve[:1], curve]
    assert others[1].seconds == curve[-1].seconds


def test_attributes_of_the_study_and_its_format(path):
    storage = StudyStorage(path, create="x", attributes={"skill": {"chance": 0.5}, "n_trials": 7})
    assert storage.attribute("unknown") is None
    storage.set_attribute("more", {"list": [1, None, "ü"]})
    for each in (storage, StudyStorage(path)):
        assert (each.attribute("skill"), each.attribute("n_trials")) == ({"chance": 0.5}, 7)
        assert (each.attribute("more"), each.attribute("format")) == ({"list": [1, None, "ü"]}, FORMAT)
        each.close()
    assert [p.name for p in path.parent.iterdir()] == ["study.db"]


def test_attributes_of_an_interrupted_end_are_cleared(storage, start):
    """The process ended after the attributes were stored and before the state was."""
    for state, attributes in ((State.FAIL, {"reason": "ValueError: of its own"}), (State.COMPLETE, {})):
        trial_id = start()
        storage.note(trial_id, "reason", "its worker 1 died")
        storage.note(trial_id, "cut_off_by", "killed")
        storage.finish(trial_id, state, VALUES if state is State.COMPLETE else None, attributes)
    assert [record.reason for record in storage.records()] == ["ValueError: of its own", ""]
    assert [record.attributes.get("cut_off_by") for record in storage.records()] == [None, None]


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
    assert [t.number for t in study.best_trials] == [0]
    frame = study.trials_dataframe()
    assert frame["values_accuracy"][0] == 0.8
    assert frame["params_training.learning_rate"][0] == start.params["training.learning_rate"]
    assert list(frame["state"]) == ["COMPLETE", "PRUNED", "FAIL"]
    assert (frame["datetime_complete"] >= frame["datetime_start"]).all()


def test_the_file_alone_is_the_complete_study(storage, start, path, tmp_path):
    storage.finish(start(), State.COMPLETE, Values(0.8, 2.0, 3.0), {})
    for leave in (storage.fold_log, storage.close):
        leave()
        copy = tmp_path / f"{leave.__name__}.db"
        copy.write_bytes(path.read_bytes())
        assert stored(copy)[0].values == (0.8, 2.0, 3.0)
    assert sorted(p.name for p in path.parent.iterdir()) == ["close.db", "fold_log.db", "study.db"]


def killed(code):
    """Run code in a process that ends at once, without closing anything."""
    start = "import os, optuna\nfrom pathlib import Path\nfrom cnn_lstm_hyperopt.search import State, StudyStorage, Values\n"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", start + code], check=False).returncode == 9


def test_finished_trials_of_a_killed_process_are_kept(path):
    killed(
        f'storage = StudyStorage(Path({str(path)!r}), create="killed")\n'
        'first, _ = storage.start({}, {}, {"size_mb": 1.0})\n'
        "storage.finish(first, State.COMPLETE, Values(0.7, 2, 1), {})\n"
        'storage.start({}, {}, {"size_mb": 1.0})\n'
        "os._exit(9)"
    )
    assert states(stored(path)) == [State.COMPLETE, State.RUNNING]


def test_a_process_killed_while_creating_the_study_leaves_none(path):
    killed(f'optuna.Study.set_user_attr = lambda *_: os._exit(9)\nStudyStorage(Path({str(path)!r}), create="killed")')
    assert [p.name for p in path.parent.iterdir()] != []
    with raises(SaveDirError, "no-study"):
        StudyStorage(path)
    storage = StudyStorage(path, create="mine")
    assert storage.study.study_name == "mine"
    storage.close()
    assert [p.name for p in path.parent.iterdir()] == ["study.db"]


def test_optunas_verbosity_stays_as_the_user_set_it(path):
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    StudyStorage(path, create="x").close()
    assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def refused(path, code):
    """The one-line error of opening the file."""
    with raises(SaveDirError, code) as text:
        StudyStorage(path)
    assert "\n" not in text[0]
    return text[0]


def test_files_and_folders_that_are_missing_or_exist(path):
    refused(path, "no-study")
    assert not path.exists()
    for content, code in (
        (b"", "not-a-study"),
        (b"SQLite format 3\x00", "study-damaged"),
        (200 * b"text", "study-damaged"),
    ):
        path.write_bytes(content)
        assert "study.backup.db" in refused(path, code)
        assert path.read_bytes() == content
    path.unlink()
    StudyStorage(path, create="one").close()
    for place, code in ((path, "study-exists"), (path.parent / "no" / "study.db", "no-directory")):
        with raises(SaveDirError, code):
            StudyStorage(place, create="two")
    again = StudyStorage(path)
    assert again.study.study_name == "one"
    again.close()


def test_folders_with_unusual_names_hold_their_own_study(tmp_path):
    names = ["50 %", "a b", "a#b", "a%20b", "a&b", "a=b", "what?", "ümlaut"]
    for name in names:
        (tmp_path / name).mkdir()
        StudyStorage(tmp_path / name / "study.db", create="x").close()
        assert stored(tmp_path / name / "study.db") == []
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)


def test_a_study_whose_file_was_removed_or_replaced_stores_nothing_more(storage, start, path, tmp_path):
    trial_id = start()
    moved = tmp_path / "moved.db"
    path.rename(moved)
    for replaced in (False, True):
        if replaced:
            path.write_bytes(moved.read_bytes())
        for act in (start, storage.records, lambda: storage.finish(trial_id, State.PRUNED, None, {}), storage.back_up):
            with raises(StorageFailedError, "study-gone"):
                act()
    moved.replace(path)
    storage.finish(trial_id, State.PRUNED, None, {})
    assert states(storage.records()) == [State.PRUNED]


def test_a_locked_study_can_be_read_but_not_written(storage, start, path, monkeypatch):
    monkeypatch.setattr("cnn_lstm_hyperopt.search.study_file.BUSY_SECONDS", 0.1)
    start()
    storage.close()
    with (
        contextlib.closing(StudyStorage(path)) as again,
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with raises(StorageFailedError, "study-locked"):
            pause_orphans(again)
        assert states(again.records()) == [State.RUNNING]
        other.execute("ROLLBACK")
        assert pause_orphans(again) == [0]


def test_no_program_can_end_a_trial_between_its_seal_and_its_state(storage, start, path):
    trials = [start() for _ in range(30)]
    turns = threading.Barrier(2)

    def end_each_sealed_trial():
        sealed = "SELECT state FROM trials JOIN trial_system_attributes USING (trial_id) WHERE key = 'sha256' AND trial_id = ?"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as other:
            for trial_id in trials:
                turns.wait()
                while (found := other.execute(sealed, (trial_id,)).fetchone()) is None:
                    pass
                if found == ("RUNNING",):
                    other.execute("UPDATE trials SET state = 'PRUNED' WHERE trial_id = ?", (trial_id,))

    thread = threading.Thread(target=end_each_sealed_trial)
    thread.start()
    for number, trial_id in enumerate(trials):
        turns.wait()
        with contextlib.suppress(TrialChangedError):
            storage.finish(trial_id, State.COMPLETE, VALUES, {"seconds": 2.0, "finish_order": number})
    thread.join()
    assert states(stored(path)) == [State.COMPLETE] * 30


@pytest.mark.parametrize(
    ("damage", "trial"),
    [
        ("UPDATE trial_values SET value = 0.99 WHERE trial_id = 2 AND objective = 0", 1),
        ("UPDATE trial_params SET distribution_json = 'x' WHERE trial_id = 3", 2),
        ("UPDATE trials SET state = 'DONE' WHERE trial_id = 3", 2),
        ("UPDATE trials SET datetime_start = 'soon' WHERE trial_id = 1", 0),
        ("DELETE FROM trials WHERE trial_id = 2", None),
        ("UPDATE version_info SET schema_version = 9; UPDATE alembic_version SET version_num = 'v9.0.0.a'", "version"),
    ],
)
def test_a_damaged_trial_is_named_in_one_line(full_of, path, damage, trial):
    full_of(3)
    execute(path, *damage.split(";"))
    text = refused(path, "other-optuna-version" if trial == "version" else "study-damaged")
    assert trial in (None, "version") or f"(trial {trial} " in text


CHANGED = [
    *(("format", other, "other-format") for other in (FORMAT + 1, None, "1")),
    ("speeds", [], "study-damaged"),
    ("skill_gate", {"chance": 0.1}, "study-damaged"),
    ("power", {}, "study-damaged"),
    ("n_trials", 0, "study-damaged"),
]


@pytest.mark.parametrize(("name", "value", "code"), CHANGED)
def test_changed_attributes_of_the_study_are_refused(path, name, value, code):
    made = {"speeds": [1.5, (2, 3)], "skill_gate": {"chance": 0.5}, "n_trials": 3}
    with contextlib.closing(StudyStorage(path, create="x", attributes=made)) as storage:
        storage.set_attribute("n_trials", 5)
    with contextlib.closing(StudyStorage(path)) as storage:
        storage.set_attribute(name, value)
    refused(path, code)


def test_bytes_flipped_anywhere_are_noticed_or_change_no_finished_trial(full_of, path):
    records = full_of(12)
    intact = path.read_bytes()
    generator = random.Random(0)
    texts = []
    for _ in range(30):
        damaged = bytearray(intact)
        for place in generator.sample(range(len(intact)), generator.choice([1, 1, 8, 64])):
            damaged[place] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            assert stored(path) == records
        except HyperoptError as error:
            texts.append(str(error))
    assert 0 < len(texts) < 30
    assert all(str(path) in text and "\n" not in text for text in texts)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.999])
def test_a_truncated_or_removed_study_is_restored_by_the_command_in_the_message(full_of, path, share):
    records = full_of(6, backup=True)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    if not share:
        path.unlink()
    text = refused(path, "study-damaged" if share else "no-study")
    assert " 6 " in text
    command = text[text.index("cd ") :].split(", then")[0]
    subprocess.run(command, shell=True, check=True)  # noqa: S602
    assert stored(path) == records


def test_a_backup_is_a_single_file_and_replaces_the_earlier_one(storage, start, path):
    backup = path.with_name("study.backup.db")
    for number in range(2):
        storage.finish(start(), State.COMPLETE, VALUES, {})
        storage.back_up()
        assert {each.name for each in path.parent.iterdir()} == {path.name, "study.db-wal", "study.db-shm", backup.name}
        assert len(stored(backup)) == number + 1


def test_a_damaged_study_does_not_replace_its_backup(full_of, path):
    full_of(20, backup=True)
    storage, backup = StudyStorage(path), path.with_name("study.backup.db")
    before = backup.read_bytes()
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 6000] = bytes(6000)
    with path.open("r+b") as file:
        file.write(damaged)
    with raises(StorageFailedError, "study-damaged") as text:
        storage.back_up()
    assert " 20 " in text[0]
    storage.close()
    assert backup.read_bytes() == before
    assert not list(path.parent.glob(".*"))


def test_a_backup_that_cannot_be_made_is_logged(full_of, path, monkeypatch, caplog):
    full_of(2)
    backup = path.with_name("study.backup.db")
    backup.mkdir()
    back_up(path)  # it cannot be written
    assert backup.name in caplog.text
    backup.rmdir()
    caplog.clear()
    monkeypatch.setattr("cnn_lstm_hyperopt.search.storage_recovery.BUSY_SECONDS", 0.3)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("COMMIT")
        back_up(path)
    assert backup.name in caplog.text
    back_up(path)
    assert backup.is_file()
