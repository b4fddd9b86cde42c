"""Proposals of several workers: computed without the study's lock, checked with it, and not near to running trials."""

import os
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builders.records import CHEAP
from builders.sharing import STARTUP, finish, plan
from cnn_lstm_hyperopt.search import PostgresServer, ProposalRequest, Study, StudyStorage, with_fixed
from cnn_lstm_hyperopt.search.observations import Observation, losses
from cnn_lstm_hyperopt.search.samplers import SAMPLERS, random_configuration
from cnn_lstm_hyperopt.search.samplers.encoding import Encoding

TESTS = Path(__file__).parents[1]


def key(params):
    return tuple(sorted(params.items()))


def history(count, seed):
    found = []
    for number in range(count):
        params = random_configuration(CHEAP.space, seed, number)
        searched = {name: value for name, value in params.items() if name != "unused"}
        found.append(Observation(number, searched, losses(*CHEAP.truth(params))))
    return found


@pytest.fixture
def stored(tmp_path):
    """Open the same study again and again, which has some trials."""
    opened = []

    def make(n_trials=20, **options):
        path = tmp_path / "study.db"
        storage = StudyStorage(path, create=None if path.exists() else "a study")
        opened.append(storage)
        return Study(storage, plan(n_trials), **options)

    yield make
    for each in opened:
        each.close()


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("seed", [1, 2])
def test_proposals_at_the_same_time_keep_a_distance(seed):
    """Without the running trials, several workers would propose almost the same configurations."""
    encoding, rows = Encoding(CHEAP.space), history(40, seed)

    def nearest(pending):
        sampler, proposed = SAMPLERS["gp"](replace(plan(200), seed=seed)), []
        for number in range(100, 116):
            running = tuple(proposed) if pending else ()
            proposed.append(sampler.propose(ProposalRequest(number, rows, running)).params)
        features = encoding.features(encoding.vectors(proposed))
        distances = np.linalg.norm(features[:, None] - features, axis=-1)
        return np.median(distances[~np.eye(len(features), dtype=bool)].reshape(len(features), -1).min(axis=1))

    assert nearest(True) > 1.5 * nearest(False)


def test_a_worker_draws_differently_while_others_run_trials():
    sampler, rows = SAMPLERS["gp"](plan(200)), history(40, 1)
    first, second = (sampler.propose(ProposalRequest(100, rows, worker=name)).params for name in ("1", "2"))
    assert key(first) != key(second)


def test_one_worker_proposes_the_same_with_and_without_a_lock(stored):
    alone, worker = Study(StudyStorage.in_memory("x"), plan(20)), stored(claim=threading.Lock(), worker=0)
    for study in (alone, worker):
        for _ in range(10):
            finish(study, study.next_assignment())
    assert [key(each.params) for each in worker.records()] == [key(each.params) for each in alone.records()]


def test_the_lock_is_free_while_the_sampler_computes(stored):
    """The sampler predicts the costs of all its candidates; the start of a trial needs only the cost of this trial."""
    study, claim, locked = stored(), threading.Lock(), []
    for _ in range(STARTUP + 4):
        finish(study, study.next_assignment())

    def cost(params):
        locked.append(claim.locked())
        return CHEAP.cost(params)

    beside = Study(study.storage, replace(study.plan, cost=cost), claim=claim)
    locked.clear()
    beside.next_assignment()
    assert Counter(locked)[True] == 1
    assert Counter(locked)[False] > 20


def test_a_proposal_that_another_worker_has_started_meanwhile_is_replaced(stored):
    others = stored(worker=2)
    for _ in range(STARTUP + 4):
        finish(others, others.next_assignment())
    begun = []

    class Claim:
        def __enter__(self):
            if not begun:  # the other worker is faster with the same proposal
                begun.append(others.next_assignment())

        def __exit__(self, *_):
            pass

    mine = stored(claim=Claim(), worker=1).next_assignment()
    assert mine.number == begun[0].number + 1
    assert key(mine.params) != key(begun[0].params)


def test_a_proposal_for_a_budget_that_is_used_up_meanwhile_starts_no_trial(stored):
    others = stored(n_trials=STARTUP + 5)
    for _ in range(STARTUP + 4):
        finish(others, others.next_assignment())

    class Claim:
        def __enter__(self):
            finish(others, others.next_assignment())

        def __exit__(self, *_):
            pass

    late = stored(n_trials=STARTUP + 5, claim=Claim(), worker=1)
    assert late.next_assignment() is not None
    assert len(late.records()) == STARTUP + 5


@pytest.mark.slow
@pytest.mark.parametrize("place", ["file", pytest.param("server", marks=pytest.mark.thorough)])
def test_processes_use_no_proposal_twice_and_keep_the_budget(place, tmp_path, request):
    n_trials, workers = 40, 3
    server = request.getfixturevalue("server") if place == "server" else None
    name = request.node.name
    where = tmp_path / "study.db" if server is None else PostgresServer(server.url(), name)
    StudyStorage(where, create=name).close()
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    environment |= {} if server is None else {"PGPASSWORD": server.password}
    commands = [
        [sys.executable, "-m", "builders.sharing", str(where), str(worker), str(n_trials)]
        if server is None
        else [sys.executable, "-m", "builders.sharing", server.url(), name, str(n_trials)]
        for worker in range(workers)
    ]
    processes = [subprocess.Popen(each, env=environment, stdout=subprocess.PIPE, text=True) for each in commands]
    seen = [int(each.communicate(timeout=300)[0]) for each in processes]
    storage = StudyStorage(where)
    records = storage.records()
    storage.close()
    assert [each.returncode for each in processes] == [0] * workers
    assert max(seen) <= n_trials == len(records)
    assert len({key(with_fixed(CHEAP.space, record.params)) for record in records}) == n_trials
    assert len({record.attributes["worker"] for record in records}) == workers
