"""The rows of trials: Optuna reads what this program writes and the reverse, and every change is complete or absent."""

import contextlib
import math
import os
import random
import sqlite3
from datetime import datetime
from functools import partial

import optuna
import pytest
import sqlalchemy
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.dialects import postgresql

from builders.errors import raises
from builders.killed import killed_before
from builders.records import execute, make_space
from cnn_lstm_hyperopt.errors import HyperoptError, StorageFailedError, TrialChangedError
from cnn_lstm_hyperopt.search import Point, State, StudyStorage, Values, random_configuration
from cnn_lstm_hyperopt.search.distributions import distributions_of
from cnn_lstm_hyperopt.search.rows import reading, sql
from cnn_lstm_hyperopt.search.rows.base import Change, Head
from cnn_lstm_hyperopt.search.rows.memory import MemoryRows
from cnn_lstm_hyperopt.search.rows.reading import _MANY
from cnn_lstm_hyperopt.search.rows.sql import SqlRows
from cnn_lstm_hyperopt.search.trial_changes import running_trial

DISTRIBUTIONS = {
    "float": FloatDistribution(-1.0, 1.0),
    "log float": FloatDistribution(1e-9, 1.0, log=True),
    "step": FloatDistribution(0.0, 1.0, step=0.1),
    "int": IntDistribution(-5, 5),
    "log int": IntDistribution(1, 1000, log=True),
    "choice": CategoricalDistribution((None, True, 1.5, "ü '\"", 3)),
}
JSON = (None, True, -3, 1e300, 0.1, math.nan, math.inf, -math.inf, "ü\n'\"", [1, [2.5, None]], {"a": {"b": []}}, "")
NUMBERS = (0.1, -2.5, 1e-300, 1.7e308, math.inf, -math.inf)


def random_trial(generator: random.Random) -> FrozenTrial:
    """A trial in any state with random parameters, attributes, values and reports."""
    value_of = {
        "float": lambda: generator.uniform(-1, 1),
        "log float": lambda: 10 ** generator.uniform(-9, 0),
        "step": lambda: generator.randrange(11) / 10,
        "int": lambda: generator.randint(-5, 5),
        "log int": lambda: generator.randint(1, 1000),
        "choice": lambda: generator.choice(DISTRIBUTIONS["choice"].choices),
    }
    state = generator.choice([*TrialState])
    names = generator.sample(list(value_of), generator.randint(0, 6))
    attributes = [{f"{n}ü": generator.choice(JSON) for n in range(generator.randint(0, 5))} for _ in range(2)]
    trial = create_trial(
        state=state,
        params={name: value_of[name]() for name in names},
        distributions={name: DISTRIBUTIONS[name] for name in names},
        user_attrs=attributes[0],
        system_attrs=attributes[1],
        values=generator.choices(NUMBERS, k=3) if state is TrialState.COMPLETE else None,
        intermediate_values={
            n: generator.choice([*NUMBERS, math.nan]) for n in generator.sample(range(99), generator.randint(0, 3))
        },
    )
    if state is TrialState.WAITING:
        trial.datetime_start = None
    return trial


def content(trial: FrozenTrial) -> tuple[str, object, object]:
    """What a trial holds, as text, so that NaN equals NaN and 1 is not True; attributes have no order."""
    held = (trial.number, trial._trial_id, trial.state, trial.values, list(trial.params.items()), trial.distributions)
    attributes = [sorted(each.items()) for each in (trial.user_attrs, trial.system_attrs, trial.intermediate_values)]
    return repr((held, attributes)), trial.datetime_start, trial.datetime_complete


def opened(path):
    """A study in a file by Optuna, and our rows of it."""
    url = f"sqlite:///{path}"
    study = optuna.create_study(storage=url, study_name="x", directions=["maximize", "minimize", "minimize"])
    engine = sqlalchemy.create_engine(url)
    return study, SqlRows(engine, study._study_id), engine


@pytest.fixture
def study_and_rows(tmp_path):
    study, rows, engine = opened(tmp_path / "study.db")
    yield study, rows
    engine.dispose()


def as_change(trial):
    return lambda _: Change(trial.state, trial.values, trial.user_attrs, trial.system_attrs)


def test_optuna_reads_trials_as_written_and_trials_of_optuna_are_read(study_and_rows):
    study, rows = study_and_rows
    generator = random.Random(0)
    expected = []
    for number in range(40):
        trial = random_trial(generator)
        if generator.random() < 0.4:  # Optuna writes, also reports, which this program does not write
            study.add_trial(trial)
        else:
            trial.intermediate_values = {}
            started = running_trial(trial.params, trial.distributions, {"0ü": "replaced"}, {})
            trial_id, stored_number = rows.insert(started)
            assert stored_number == number
            rows.note(trial_id, "later", [number])
            trial.user_attrs = {"0ü": "replaced", **trial.user_attrs, "later": [number]}
            if trial.state is not TrialState.RUNNING:
                rows.change(trial_id, as_change(trial))
            else:
                rows.change(trial_id, lambda _, trial=trial: Change(TrialState.RUNNING, None, trial.user_attrs))
                trial.system_attrs = {}
        expected.append(trial)
    by_optuna = optuna.load_study(study_name="x", storage=study._storage._backend.url).trials
    by_us = rows.trials(rows.ids())
    assert [content(trial) for trial in by_us] == [content(trial) for trial in by_optuna]
    for number, (trial, stored) in enumerate(zip(expected, by_us, strict=True)):
        trial.number, trial._trial_id = number, stored._trial_id
        assert content(trial)[0] == content(stored)[0]
        assert (stored.datetime_complete is not None) == stored.state.is_finished()
    heads = [Head.of(trial) for trial in by_us]
    ids = [head.trial_id for head in heads]
    assert rows.heads(-1, ()) == heads
    assert rows.heads(ids[29], ids[:3]) == [*heads[:3], *heads[30:]]
    assert [trial.number for trial in rows.trials([*ids[::2], 10_000])] == list(range(0, 40, 2))
    assert [trial.number for trial in rows.trials([*ids[::2], *range(10_000, 10_000 + _MANY)])] == list(range(0, 40, 2))


def test_rows_in_memory_and_in_a_file_do_the_same(study_and_rows):
    _, in_file = study_and_rows
    memory = optuna.storages.InMemoryStorage()
    in_memory = MemoryRows(memory, memory.create_new_study(["maximize", "minimize", "minimize"]))
    found = []
    for rows in (in_file, in_memory):
        first, second = (
            rows.insert(running_trial({"int": 3}, DISTRIBUTIONS, {"a": number}, {}))[0] for number in range(2)
        )
        with pytest.raises(ZeroDivisionError):
            rows.change(first, lambda trial: Change(TrialState.FAIL, attributes={"a": 1 / trial.user_attrs["a"]}))
        rows.change(second, lambda _: Change(TrialState.WAITING))
        waiting = rows.heads(-1, ())
        rows.change(second, lambda _: Change(TrialState.RUNNING))
        assert rows.heads(first, [second])[0].started > waiting[1].started
        rows.change(first, lambda trial: Change(TrialState.COMPLETE, [0.5, 1, 2], {"old": trial.user_attrs["a"]}))
        for act in (
            lambda rows, trial_id: rows.note(trial_id, "a", 1),
            lambda rows, trial_id: rows.change(trial_id, lambda _: Change(TrialState.FAIL)),
        ):
            for trial_id, code in ((first, "trial-ended"), (second + 7, "trial-removed")):
                with raises(TrialChangedError, code):
                    act(rows, trial_id)
        found.append(
            [(t.number, t.state, t.values, t.params, t.user_attrs, t.system_attrs) for t in rows.trials(rows.ids())]
        )
    assert found[0] == found[1]


def test_the_tables_are_those_that_the_statements_know(tmp_path):
    """A new column or table of a later Optuna needs a look at ``search/rows``."""
    _, _, engine = opened(tmp_path / "study.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {
            table: " ".join(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))
            for table in tables
            if table.startswith("trial")
        }
    engine.dispose()
    assert columns == {
        "trials": "trial_id number study_id state datetime_start datetime_complete",
        "trial_params": "param_id trial_id param_name param_value distribution_json",
        "trial_values": "trial_value_id trial_id objective value value_type",
        "trial_user_attributes": "trial_user_attribute_id trial_id key value_json",
        "trial_system_attributes": "trial_system_attribute_id trial_id key value_json",
        "trial_intermediate_values": "trial_intermediate_value_id trial_id step intermediate_value intermediate_value_type",
        "trial_heartbeats": "trial_heartbeat_id trial_id heartbeat",
    }


def test_the_statements_compile_for_postgresql_and_lock_what_they_change():
    """PostgreSQL has no lock of the whole file, so rows are locked."""
    found = {
        name: str(statement.compile(dialect=postgresql.dialect()))
        for module in (reading, sql)
        for name, value in vars(module).items()
        for statement in (value if isinstance(value, tuple) else [value])
        if isinstance(statement, sqlalchemy.Executable)
    }
    assert len(found) > 8
    assert [name for name, text in found.items() if text.endswith("FOR UPDATE")] == ["_LOCK_STUDY", "_LOCK_TRIAL"]


SPACE = make_space({})
PARAMS = {n: v for n, v in random_configuration(SPACE, 0, 0).items() if n in SPACE.searched()}
CURVE = tuple(Point(float(epoch), 0.5, 0.7, 1.0) for epoch in range(1, 11))


def start(storage):
    return storage.start(PARAMS, distributions_of(SPACE, PARAMS), {"size_mb": 2.5})[0]


def a_trial(storage):
    """Start a trial, store its curve and finish it."""
    trial_id = start(storage)
    storage.record_curve(trial_id, CURVE[:5])
    storage.finish(trial_id, State.COMPLETE, Values(0.5, 2.0, 3.0), {"seconds": 2.0, "finish_order": 0}, excesses=[0.1])


@pytest.fixture
def statements(monkeypatch):
    """The SQL statements of this process from now on."""
    executed = []

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "before_cursor_execute")
    def record(connection, cursor, statement, *_):
        executed.append(statement)

    yield executed
    sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", record)


def test_a_trial_takes_few_statements_and_a_decision_reads_only_what_has_changed(tmp_path, statements):
    path = tmp_path / "study.db"
    with contextlib.closing(StudyStorage(path, create="x")) as storage, contextlib.closing(StudyStorage(path)) as other:
        running = [start(storage) for _ in range(8)]
        other.records()
        counts = []
        for act in (
            lambda: start(storage),
            lambda: storage.record_curve(running[0], CURVE),
            lambda: storage.finish(running[1], State.PRUNED, None, {"reason": "x", "seconds": 1.0}),
            lambda: other.records(reread_running=False),
            lambda: other.records(reread_running=False),
        ):
            statements.clear()
            act()
            counts.append(len(statements))
        assert counts[-1] == 1
        assert all(count <= limit for count, limit in zip(counts, [7, 4, 14, 8, 1], strict=True))


def test_a_decision_sees_starts_ends_and_claims_and_only_on_demand_attributes(tmp_path):
    path = tmp_path / "study.db"
    with contextlib.closing(StudyStorage(path, create="x")) as storage, contextlib.closing(StudyStorage(path)) as other:
        first, second = start(storage), start(storage)
        storage.pause(second)
        assert [record.state for record in other.records(reread_running=False)] == [State.RUNNING, State.WAITING]
        execute(path, "UPDATE trials SET state = 'RUNNING' WHERE number = 1")  # as study.ask() of another program
        other.records(reread_running=False)
        assert storage.claim(1, worker=3) == second
        storage.record_curve(first, CURVE)
        before, claimed = other.records(reread_running=False)
        assert (before.curve, claimed.attributes["worker"]) == ((), 3)
        assert other.records()[0].curve == CURVE
        storage.finish(first, State.FAIL, None, {"reason": "x"})
        assert other.records(reread_running=False)[0].reason == "x"
        tables = ("trial_params", "trial_user_attributes", "trial_system_attributes", "trials")
        execute(path, *(f"DELETE FROM {table} WHERE trial_id = {second}" for table in tables))  # noqa: S608
        assert [record.number for record in other.records(reread_running=False)] == [0]
        assert start(storage) == second
        assert [record.number for record in other.records(reread_running=False)] == [0, 1]


def test_a_trial_damaged_while_the_study_is_open_is_an_error_at_every_read(tmp_path):
    path = tmp_path / "study.db"
    with contextlib.closing(StudyStorage(path, create="x")) as storage, contextlib.closing(StudyStorage(path)) as other:
        first = start(storage)
        other.records()
        for trial_id in (first, start(storage)):
            storage.finish(trial_id, State.PRUNED, None, {"reason": "x"})
        execute(path, "UPDATE trial_params SET param_value = 0.5 WHERE param_id = 3")
        for reread in (False, False, True):
            with raises(StorageFailedError, "study-damaged"):
                other.records(reread_running=reread)


def test_a_parameter_keeps_its_choices(tmp_path):
    with contextlib.closing(StudyStorage(tmp_path / "study.db", create="x")) as storage:
        storage.start({"a": 1}, {"a": CategoricalDistribution((1, 2))}, {"size_mb": 1.0})
        storage.records()
        with pytest.raises(ValueError, match="CategoricalDistribution"):
            storage.start({"a": 1}, {"a": CategoricalDistribution((1, 3))}, {"size_mb": 1.0})


@pytest.mark.slow
def test_a_process_killed_before_any_statement_leaves_whole_trials(tmp_path):
    """The process is killed before its first, second, … statement; what it left is whole, and the study goes on."""
    path = tmp_path / "study.db"
    StudyStorage(path, create="x").close()
    ended = running = 0
    for statement in range(1, 60):
        killed = killed_before(statement, lambda: partial(a_trial, StudyStorage(path)))
        with contextlib.closing(StudyStorage(path)) as storage:
            records = storage.records()
            assert all(record.params == PARAMS and record.size_mb == 2.5 for record in records)
            assert all(record.values == (0.5, 2.0, 3.0) for record in records if record.state is State.COMPLETE)
            assert all(record.curve in ((), CURVE[:5]) for record in records)
            before, ended = ended, sum(record.state is State.COMPLETE for record in records)
            running = len(records) - ended
            assert ended == before + (not killed)
        if not killed:
            break
    assert (ended, killed) == (1, False)
    assert statement > 15
    assert running > 5


@pytest.mark.slow
def test_workers_that_start_trials_at_once_get_different_numbers(tmp_path):
    path = tmp_path / "study.db"
    StudyStorage(path, create="x").close()
    children = []
    for _ in range(3):
        if (child := os.fork()) == 0:
            storage = StudyStorage(path)
            for _ in range(30):
                a_trial(storage)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    trials = optuna.load_study(study_name="x", storage=f"sqlite:///{path}").trials
    assert [trial.number for trial in trials] == list(range(90))
    assert all(trial.datetime_start <= trial.datetime_complete <= datetime.now() for trial in trials)
    with contextlib.closing(StudyStorage(path)) as storage:
        assert len(storage.records()) == 90


def test_a_file_whose_rows_are_inconsistent_is_refused_or_read_unchanged(tmp_path):
    """Rows are changed at random; each trial is equal or the study is refused."""
    path = tmp_path / "study.db"
    with contextlib.closing(StudyStorage(path, create="x")) as storage:
        for _ in range(3):
            a_trial(storage)
        records = storage.records()
    intact, generator = path.read_bytes(), random.Random(1)
    refused = 0
    for _ in range(9):
        table, column, key = generator.choice(
            [
                ("trial_params", "param_value", "param_id"),
                ("trial_params", "param_name", "param_id"),
                ("trial_values", "value_type", "trial_value_id"),
                ("trial_values", "objective", "trial_value_id"),
                ("trial_user_attributes", "value_json", "trial_user_attribute_id"),
                ("trials", "state", "trial_id"),
            ]
        )
        value = generator.choice(["0.5", "NULL", "'x'", "7", "'RUNNING'", "'INF_POS'"])
        path.write_bytes(intact)
        with contextlib.suppress(sqlite3.IntegrityError):
            execute(path, f"UPDATE {table} SET {column} = {value} WHERE {key} = {generator.randint(1, 3)}")  # noqa: S608
        try:
            with contextlib.closing(StudyStorage(path)) as storage:
                found = storage.records()
        except HyperoptError:
            refused += 1
            continue
        assert all(record in records for record in found if record.state.ended)
    assert refused > 3
