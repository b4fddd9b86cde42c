"""Studies on a PostgreSQL server: the same content as in a file, errors, leases, killed workers and a restarted server."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from builders import postgres
from builders.errors import raises
from builders.killed import killed_before
from cnn_lstm_hyperopt.errors import ConfigError, SaveDirError, TrialChangedError
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.search import (
    Assignment,
    NoTrial,
    PostgresServer,
    State,
    Study,
    StudyStorage,
    Values,
    optimise,
)
from cnn_lstm_hyperopt.search.orphans import pause_orphans
from cnn_lstm_hyperopt.utils.passwords import without_password

pytestmark = pytest.mark.slow
TESTS = Path(__file__).parents[1]
READING, WRONG = "of the reader", "not the right one"


@pytest.fixture
def database(server, request):
    """A database with the name of the test as study, with short leases."""
    return PostgresServer(server.url(), request.node.name, lease_seconds=1.2)


@pytest.fixture
def opened(database, request):
    """Open the study, or create it at first, any number of times."""
    with contextlib.ExitStack() as closing:

        def make(**options):
            create = None if database.exists() else request.node.name
            storage = StudyStorage(database, create=create, **options)
            closing.callback(storage.close)
            return storage

        yield make


def finish(study, assignment, score=0.6):
    study.report(assignment, ProgressReport(1, 1.0, 1.0, score, 0.7, True))
    return study.finish(assignment, State.COMPLETE, Values(score, 1.0, assignment.cost.size_mb), {"seconds": 1.0})


def test_a_study_on_a_server_is_the_study_in_a_file(opened, database, server, tmp_path):
    attributes = {"n_trials": 12, "skill_gate": {"chance": 0.5}}
    records = []
    on_server = opened(attributes=attributes)
    file = StudyStorage(tmp_path / "study.db", create=on_server.study.study_name, attributes=attributes)
    for storage in (file, on_server):
        assert [storage.attribute(name) for name in (*attributes, "format")] == [*attributes.values(), 6]
        optimise(Study(storage, postgres.plan(12), worker="w"), postgres.evaluate)
        storage.write_notes({None: "the study", 3: "the trial"})
        records.append([(r.number, r.state, r.params, r.values, r.curve, r.retry_of) for r in storage.records()])
    file.close()
    assert records[0] == records[1]
    storage = optuna.storages.RDBStorage(server.url(password=server.password))
    theirs = optuna.load_study(study_name=file.study.study_name, storage=storage)
    assert [trial.params for trial in theirs.trials] == [record[2] for record in records[0]]
    assert theirs.metric_names == ["accuracy", "training_seconds", "size_mb"]
    assert [direction.name for direction in theirs.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    assert storage.get_study_system_attrs(theirs._study_id)["dashboard:note_str:0"] == "the study"
    storage.remove_session()
    storage.engine.dispose()
    assert database.exists()


def test_what_is_wrong_is_one_line_with_a_code(server, opened, database):
    opened()
    url, name = server.url(), database._study_name
    server.sql("CREATE ROLE reader LOGIN PASSWORD '" + READING + "'")
    server.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    without_password(server.url(user="reader", password=READING))
    without_password(server.url("missing", password=server.password))
    without_password(server.url(user="nobody", password=WRONG))
    server.sql("INSERT INTO studies (study_name) VALUES ('theirs')")
    for bad, kind, code in (
        (PostgresServer(server.url(user="nobody"), name), ConfigError, "server-login"),
        (PostgresServer(server.url().replace(f":{server.port}", ":1"), name), ConfigError, "server-unreachable"),
        (PostgresServer(server.url("missing"), name), ConfigError, "no-database"),
        (PostgresServer(server.url(user="reader"), name), ConfigError, "server-rights"),
        (PostgresServer(url, "unknown"), SaveDirError, "no-study"),
        (PostgresServer(url, "theirs"), SaveDirError, "other-format"),
    ):
        with raises(kind, code) as text:
            StudyStorage(bad)
        assert "\n" not in text[0]
        assert not any(secret in text[0] for secret in (server.password, READING, WRONG))
    with raises(SaveDirError, "study-exists"):
        StudyStorage(database, create=name)
    version = server.sql("SELECT version_num FROM alembic_version")
    server.sql("UPDATE alembic_version SET version_num = 'v99'")
    try:
        with raises(SaveDirError, "other-optuna-version"):
            StudyStorage(database)
    finally:
        server.sql(f"UPDATE alembic_version SET version_num = '{version}'")  # noqa: S608


def test_a_killed_creation_leaves_no_study(server, database):
    """The study is inserted in one transaction: a process that dies at any statement leaves none, or a whole one."""
    for statement in range(1, 40):
        killed = killed_before(
            statement, lambda: partial(database.create, database._study_name, "accuracy", {"format": 6})
        )
        if database.exists():
            break
        assert killed
    assert statement > 10
    StudyStorage(database).close()


def test_the_trial_of_a_silent_worker_is_taken_over_and_the_worker_drops_it(opened):
    plan = postgres.plan(2)
    mine, other = Study(opened(), plan), Study(opened(), plan)
    silent, live = mine.next_assignment(), other.next_assignment()
    assert isinstance(silent, Assignment)
    assert isinstance(live, Assignment)
    assert other.next_assignment() is NoTrial.OTHERS_RUN_THE_REST
    assert pause_orphans(other.storage) == []  # both are alive, also when another process opens the study
    mine.storage._leases.close()  # as a suspended process
    deadline = time.monotonic() + 60
    while (retry := other.next_assignment()) is NoTrial.OTHERS_RUN_THE_REST:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (retry.retry_of, retry.params, retry.seeded_as) == (silent.number, silent.params, silent.number)
    with raises(TrialChangedError, "trial-ended") as error:
        finish(mine, silent)
    mine.drop(silent, error[0])
    finish(other, retry)
    finish(other, live)
    assert [record.state for record in mine.records()] == [State.FAIL, State.COMPLETE, State.COMPLETE]
    assert mine.next_assignment() is NoTrial.ENOUGH


def test_a_worker_on_a_lost_connection_goes_on_with_its_trial(opened, server):
    study = Study(opened(), postgres.plan(3))
    assignment = study.next_assignment()
    for _ in range(3):
        server.control("restart", "-m", "immediate")
        study.report(assignment, ProgressReport(1, 1.0, 1.0, 0.6, 0.7, True))
        finish(study, assignment)
        assert study.records()[-1].state is State.COMPLETE
        server.control("restart", "-m", "immediate")
        assignment = study.next_assignment()
    assert assignment is NoTrial.ENOUGH


def test_the_end_of_a_trial_that_was_stored_without_an_answer_is_no_error(opened):
    """The server stored the end, and the connection broke before its answer."""
    study = Study(opened(), postgres.plan(1))
    assignment = study.next_assignment()
    lost = []

    @sqlalchemy.event.listens_for(study.storage._rdb.engine, "do_execute")
    def break_after_commit(cursor, statement, parameters, context):
        if "pg_advisory_unlock" in statement and not lost:
            lost.append(cursor.connection.close())

    finish(study, assignment)
    assert lost
    assert [record.state for record in study.records()] == [State.COMPLETE]


@pytest.mark.parametrize("n_trials", [200, pytest.param(1000, marks=pytest.mark.thorough)])
def test_a_killed_worker_and_a_restarted_server_lose_nothing(server, request, n_trials):
    name, n_workers = request.node.name, 4
    StudyStorage(PostgresServer(server.url(), name), create=name).close()
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "PGPASSWORD": server.password}
    command = [sys.executable, "-m", "builders.postgres", server.url(), name, str(n_trials), "5"]
    workers = [subprocess.Popen(command, env=environment) for _ in range(n_workers)]
    study = f"(SELECT study_id FROM studies WHERE study_name = '{name}')"  # noqa: S608
    ended = f"SELECT count(*) FROM trials WHERE study_id = {study} AND state IN ('COMPLETE', 'PRUNED')"  # noqa: S608
    running = f"SELECT count(*) FROM trials WHERE study_id = {study} AND state = 'RUNNING'"  # noqa: S608

    def wait_for(count: int, deadline: float) -> None:
        while int(server.sql(ended)) < count:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    try:
        deadline = time.monotonic() + 600
        wait_for(n_trials // 4, deadline)
        while True:  # the victim must be in a trial
            os.kill(workers[0].pid, signal.SIGSTOP)
            holder = Counter(server.sql("SELECT value_json FROM trial_user_attributes WHERE key = 'worker'").split())
            if int(server.sql(running)) and holder:
                break
            os.kill(workers[0].pid, signal.SIGCONT)
        workers[0].kill()
        wait_for(n_trials // 2, deadline)
        server.control("restart", "-m", "immediate")
        assert [worker.wait(600) for worker in workers[1:]] == [0] * (n_workers - 1)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    storage = StudyStorage(PostgresServer(server.url(), name))
    records = storage.records()
    storage.close()
    assert sum(record.finished for record in records) == n_trials
    assert all(record.state.ended for record in records)
    done = Counter(json.dumps(record.params, sort_keys=True) for record in records if record.retry_of is None)
    assert max(done.values()) == 1
    assert len({record.attributes["worker"] for record in records}) == n_workers
    retried = {record.number for record in records if record.state is State.FAIL}
    assert {record.retry_of for record in records if record.retry_of is not None} == retried
