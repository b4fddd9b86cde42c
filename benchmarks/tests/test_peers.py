"""benchmarks/peers.py: every peer runs and is deterministic; the rule that prunes for peers is Optuna's median rule."""

import math
import sys

import numpy as np
import optuna
import pytest

import peers
from cnn_lstm_hyperopt.search import EpochMeasurement
from problems import load_problem

EXTRA = {"moasha": "syne_tune", "smac": "smac"}
PEERS = ["optuna-tpe", "optuna-tpe-mv", "optuna-nsga2", "optuna-random", "optuna-tpe+naive", "optuna-tpe+multimetric"]
PROBLEM = """
SPACE = {
    "kind": {"type": "categorical", "choices": ["a", "b", 3, True]},
    "width": {"type": "int", "low": 1, "high": 64, "log": True},
    "rate": {"type": "float", "low": 1e-4, "high": 1.0, "log": True, "when": {"kind": ["a", 3]}},
    "depth": {"type": "int", "low": 1, "high": 4, "when": {"kind": ["b"]}},
    "constant": {"type": "categorical", "choices": ["only"]},
}
MAX_EPOCHS, CHANCE, N_VAL = 4, 0.5, 1000

def evaluate(params, seed):
    height = 0.5 + 0.005 * params["width"] + 0.01 * params.get("depth", 0)
    yield 0.5, 0.5, 0.05 * params["width"], 0.01 * params["width"]
    for epoch in range(1, MAX_EPOCHS + 1):
        if params["kind"] == 3 and seed % 3 == 0 and epoch == 3:
            raise ArithmeticError("on purpose")
        yield epoch, height + 0.01 * epoch + seed % 7 / 500, 0.1 * params["width"] * epoch, 0.01 * params["width"]
"""


@pytest.fixture
def problem(tmp_path):
    """A small problem with conditions, some of whose trials fail."""
    file = tmp_path / "problem.py"
    file.write_text(PROBLEM, encoding="utf-8")
    return load_problem(file)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("name", [*PEERS, *EXTRA, pytest.param("optuna-gp", marks=pytest.mark.slow)])
def test_every_peer_finishes_its_trials_and_is_deterministic(problem, name, workers):
    if name in EXTRA:
        pytest.importorskip(EXTRA[name], reason="the extra 'benchmark' is not installed")
    runs = [peers.run_peer(problem, name, 3, n_trials=14, workers=workers, advance=[].append)[0] for _ in range(2)]
    first, second = ([(row.number, row.state, row.params, row.seconds) for row in rows] for rows in runs)
    assert first == second
    rows = runs[0]
    assert sum(row.finished for row in rows) == 14
    assert {row.number for row in rows} == set(range(len(rows)))
    for row in rows:
        assert set(row.params) == set(problem.space.active(row.params))
        if row.state == "COMPLETE":
            assert row.epochs == 4
            assert row.seconds == pytest.approx(0.4 * row.params["width"])
        elif row.state == "FAIL":
            assert (row.params["kind"], row.epochs, row.reason) == (3, 2, "ArithmeticError: on purpose")
    assert "+" in name or name == "moasha" or not any(row.state == "PRUNED" for row in rows)


def test_a_peer_without_its_package_is_refused(problem, monkeypatch):
    for name, package in EXTRA.items():
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(peers.InputError, match=name):
            peers.PEERS[name](problem, 1)


def curves(seed):
    """Measured values ``(trials, epochs, 3)``: accuracy, seconds, MB."""
    random = np.random.default_rng(seed)
    accuracy = np.cumsum(random.uniform(0, 0.1, (40, 6)), axis=1)
    seconds = np.cumsum(random.lognormal(size=(40, 1)) * np.ones((40, 6)), axis=1)
    return np.stack([accuracy, seconds, random.lognormal(size=(40, 1)) * np.ones((40, 6))], axis=2)


def dominates(one, other):
    """Whether (accuracy, seconds, MB) are nowhere worse, and not the same."""
    return one != other and one[0] >= other[0] and one[1] <= other[1] and one[2] <= other[2]


def values_at(measured, step, joint):
    """Value of each trial that reached the step: minus its accuracy, or its non-dominated rank by counting."""
    here = {number: each[step] for number, each in measured.items() if len(each) > step}
    if not joint:
        return {number: -accuracy for number, (accuracy, _, _) in here.items()}
    left, ranks, rank = dict(here), {}, 0
    while left:
        front = [n for n, mine in left.items() if not any(dominates(other, mine) for other in left.values())]
        for number in front:
            ranks[number] = float(rank)
            del left[number]
        rank += 1
    return ranks


@pytest.mark.parametrize("joint", [False, True])
def test_the_rule_decides_as_optuna_s_median_pruner(joint):
    """A new Optuna study for every decision."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rule, pruner = peers.MedianRule(joint=joint), optuna.pruners.MedianPruner()
    make, states = optuna.trial.create_trial, optuna.trial.TrialState
    measured, decisions = {}, []
    for number, curve in enumerate(curves(1)):
        measured[number] = []
        for step, (accuracy, seconds, size) in enumerate(curve[:-1]):
            measured[number].append((accuracy, seconds, size))
            table = [values_at(measured, each, joint) for each in range(6)]
            study = optuna.create_study(direction="minimize")
            for other in range(number):
                values = {each + 1: table[each][other] for each in range(6) if other in table[each]}
                study.add_trial(make(value=0.0, intermediate_values=values, state=states.COMPLETE))
            mine = {each + 1: table[each][number] for each in range(step + 1)}
            expected = pruner.prune(study, make(intermediate_values=mine, state=states.RUNNING))
            assert rule.prunes(number, EpochMeasurement(step + 1, accuracy, seconds, size)) == expected
            decisions.append(expected)
            if expected:
                break
        rule.ended(number, finished=True)
    assert 0.05 < np.mean(decisions) < 0.95


def test_losses_are_error_and_logarithms():
    assert peers.losses(EpochMeasurement(1, 0.75, math.e, math.e**2)) == pytest.approx((0.25, 1.0, 2.0))
