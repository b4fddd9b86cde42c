"""Reading a study once: the same content, and the same errors, as through Optuna and SQLAlchemy."""

import contextlib
import sqlite3
from dataclasses import astuple

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from builders.errors import raises
from builders.records import execute
from builders.studies import evaluate
from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.search import State, StudyStorage, Values, optimise, read_study
from cnn_lstm_hyperopt.search import study_reader as reader

DISTRIBUTIONS = {
    "float": FloatDistribution(1e-9, 1.0, log=True),
    "step": FloatDistribution(0.0, 1.0, step=0.1),
    "int": IntDistribution(-5, 5),
    "choice": CategoricalDistribution((None, True, 1.5, "ü '\"", 3)),
}


@pytest.fixture
def filled(tmp_path):
    """A study with ended, running, waiting, foreign and changed trials, and with parameters of all kinds."""
    path = tmp_path / "study.db"
    storage = StudyStorage(path, create="ü study", attributes={"n_trials": 20})
    for number, choice in enumerate(DISTRIBUTIONS["choice"].choices):
        params = {"float": 10.0**-number, "step": number / 10, "int": number - 2, "choice": choice}
        trial_id, _ = storage.start(
            params, DISTRIBUTIONS, {"size_mb": 0.5, "note": {"b": [None, float("nan")], "a": "é"}}
        )
        storage.record_curve(trial_id, ())
        if number == 0:
            storage.finish(trial_id, State.COMPLETE, Values(0.6, float("inf"), 0.5), {"seconds": 2.0}, excesses=[0.1])
        elif number == 1:
            storage.finish(trial_id, State.PRUNED, None, {"reason": "front: x", "finish_order": 1})
        elif number == 2:
            storage.pause(trial_id)
        elif number == 3:
            storage.discard(trial_id, "another program changed it")
    other = optuna.storages.RDBStorage(f"sqlite:///{path}")
    study = optuna.load_study(study_name=None, storage=other)
    study.tell(study.ask({"float": DISTRIBUTIONS["float"]}), [0.9, 1.0, 1.0])
    study.ask()
    other.remove_session()
    other.engine.dispose()
    storage.close()
    return path


def content_of(path):
    """The content according to :class:`StudyStorage`."""
    storage = StudyStorage(path)
    with contextlib.closing(storage):
        records = storage.records()
        return (
            storage.study.study_name,
            storage.attributes(),
            records,
            sorted(storage.skipped),
            storage.news(),
        )


def test_the_content_is_that_of_the_storage_without_the_storage(filled, monkeypatch):
    expected = content_of(filled)
    monkeypatch.setattr(StudyStorage, "__init__", lambda *_: pytest.fail("the file is intact"))
    found = read_study(filled.parent)
    assert repr((found.name, found.attributes, found.records, found.skipped, found.news)) == repr(expected)
    assert [record.params["choice"] for record in found.records] == [None, True, 3]
    assert found.skipped == [2, 3, 5]  # another program ended the waiting trial 2
    assert not list(filled.parent.glob("*-wal"))


def test_a_searched_study_is_read_while_it_is_open(make_study):
    study = make_study(n_trials=12, disk=True)
    optimise(study, evaluate)
    found = read_study(study.storage.path.parent)
    assert [astuple(record) for record in found.records] == [astuple(record) for record in study.records()]
    assert len(found.records) == 12


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE trial_values SET value = 0.99 WHERE objective = 0",
        "UPDATE trial_params SET param_value = 0.5 WHERE param_name = 'float'",
        "DELETE FROM trials WHERE number = 1",
        "UPDATE trial_user_attributes SET value_json = '1,2' WHERE key = 'size_mb'",
        "UPDATE study_user_attributes SET value_json = '0' WHERE key = 'n_trials'",
        "UPDATE alembic_version SET version_num = 'v9'",
        "UPDATE trials SET state = 'ODD' WHERE number = 0",
    ],
)
def test_a_damaged_study_raises_the_error_of_the_storage(filled, damage):
    execute(filled, damage)
    with pytest.raises(SaveDirError) as expected:
        StudyStorage(filled)
    with pytest.raises(SaveDirError) as found:
        read_study(filled.parent)
    assert (str(found.value), found.value.code) == (str(expected.value), expected.value.code)


def test_a_directory_without_a_study_is_refused(tmp_path):
    with raises(SaveDirError, "no-study"):
        read_study(tmp_path)


def test_the_tables_are_those_of_the_installed_optuna(filled):
    with contextlib.closing(sqlite3.connect(filled)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(reader.TABLES_VERSION,)]
