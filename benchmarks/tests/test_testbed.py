"""benchmarks/testbed.py and the problems that it draws."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import testbed
from cnn_lstm_hyperopt.pareto import dominates
from cnn_lstm_hyperopt.search import random_configuration
from problems import ProblemError
from problems.curves import MAX_EPOCHS, N_VAL, READ, SPACE, TIMED, Task, curve_task
from problems.family import Member, member

SEEDS = range(1, 13)


def drawn(space, count, seed=0):
    return [random_configuration(space, seed, number) for number in range(count)]


def test_the_family_covers_the_kinds_of_problems_that_it_promises():
    family = [Member(seed) for seed in range(1, 41)]
    sizes = [len(each.names) for each in family]
    assert 5 <= min(sizes) < 8 < 35 < max(sizes) <= 45
    assert min(each.relation for each in family) < -0.8 < 0.8 < max(each.relation for each in family)
    assert {each.collapses for each in family} == {True, False}
    assert any("when" in said for each in family for said in each.raw.values())
    for each in family:
        accuracy = np.array([each.truth(params)[0] for params in drawn(each.space, 20)])
        assert (accuracy >= each.chance).all()
        assert (accuracy <= each.chance + each.span).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_seed_draws_the_same_problem_and_measures_the_same(seed):
    one, again = Member(seed), Member(seed)
    for params in drawn(one.space, 3):
        assert one.truth(params) == again.truth(params)
        assert one.cost(params) == again.cost(params)
        curves = [list(each.evaluate(params, 7)) for each in (one, again)]
        assert curves[0] == curves[1] != list(one.evaluate(params, 8))
        assert [epoch for epoch, *_ in curves[0]] == list(range(1, one.max_epochs + 1))
        assert all(before[2] < after[2] for before, after in pairwise(curves[0]))


def test_measured_values_of_the_family_scatter_around_the_truth_and_costs_by_their_error():
    each = Member(5)
    errors, ratios = [], []
    for params in drawn(each.space, 60):
        accuracy, seconds, _ = each.truth(params)
        errors += [list(each.evaluate(params, seed))[-1][1] - accuracy for seed in range(10)]
        ratios.append(math.log(each.cost(params)[0] / seconds))
    assert abs(np.mean(errors)) < 0.005
    assert 0.2 < np.std(ratios) < 0.4


def test_the_reference_front_of_a_member_is_not_dominated_by_random_configurations():
    problem = member(11)
    front = problem.reference[:-1] * (-1, 1, 1)
    values = [np.multiply(problem.truth(params), (-1, 1, 1)) for params in drawn(problem.space, 200, 3)]
    beaten = sum(any(dominates(value, row) for value in values) for row in front)
    assert beaten <= 0.05 * len(front)
    assert not any(dominates(a, b) for a in front for b in front)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table like that of LCBench, whose accuracy and costs have formulas."""
    random = np.random.default_rng(3)
    unit = random.random((400, len(SPACE)))
    columns = {}
    for (name, said), u in zip(SPACE.items(), unit.T, strict=True):
        low, high = said["low"], said["high"]
        value = low * (high / low) ** u if said["log"] else low + (high - low) * u
        columns[name] = value.round().astype(int) if said["type"] == "int" else value
    final = 0.5 + 0.4 * unit[:, 1]
    curves = {f"accuracy_{epoch}": 0.3 + (final - 0.3) * epoch / MAX_EPOCHS for epoch in READ}
    seconds = {f"seconds_{epoch}": 100 * (1 + unit[:, 5]) * epoch / MAX_EPOCHS for epoch in TIMED}
    frame = pd.DataFrame({"task": "made", **columns, **curves, **seconds, "size_mb": 1 + unit[:, 5]})
    folder = tmp_path_factory.mktemp("curves")
    frame.to_parquet(folder / "lcbench_dev.parquet")
    return folder


def test_a_curve_task_interpolates_its_table_with_reading_noise(table):
    served = Task(pd.read_parquet(table / "lcbench_dev.parquet"), "made")
    assert min(served.r_squared()) > 0.8
    problem = curve_task("made", table)
    params = drawn(problem.space, 1)[0]
    accuracy, seconds, size_mb = problem.truth(params)
    ends = np.array([list(problem.evaluate(params, seed))[-1] for seed in range(300)])
    assert ends[:, 1].std() == pytest.approx(math.sqrt(accuracy * (1 - accuracy) / N_VAL), rel=0.2)
    assert abs(ends[:, 1].mean() - accuracy) < 0.003
    assert np.log(ends[:, 2] / seconds).std() == pytest.approx(0.05, rel=0.2)
    assert set(ends[:, 3]) == {size_mb}


def test_a_missing_table_or_task_is_one_clear_error(table, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("LEARNING_CURVES", raising=False)
    with pytest.raises(ProblemError, match="--curves"):
        curve_task("made", None)
    with pytest.raises(ProblemError, match="does not exist"):
        curve_task("made", tmp_path)
    with pytest.raises(ProblemError, match="'other'"):
        curve_task("other", table)
    assert testbed.main(["--members", "0", "--out", str(tmp_path / "runs")]) == 2
    assert "--curves" in capsys.readouterr().err


def test_the_interval_contains_the_mean_and_narrows_with_the_number_of_problems():
    mean, low, high = testbed.interval([0.1, -0.1] * 5)
    assert mean == pytest.approx(0.0)
    assert low < 0 < high
    _, lower, higher = testbed.interval([0.1, -0.1] * 50)
    assert low < lower < higher < high


def test_one_command_prints_differences_with_and_without_costs_and_keeps_its_runs(tmp_path, capsys):
    arguments = ["--half", "tune", "--members", "1", "--no-curves", "--n-trials", "15", "--out", str(tmp_path)]
    assert testbed.main(arguments) == 0
    first = capsys.readouterr()
    assert testbed.main(arguments) == 0
    again = capsys.readouterr()
    assert "15 trials in" in first.err
    assert "15 trials in" not in again.err
    rows = [line.strip("| ").split(" | ") for line in again.out.splitlines() if line.startswith("|")]
    assert [row[:2] for row in rows[2:]] == [
        ["family-1", "predicted"],
        ["**mean**", "predicted"],
        ["family-1", "not predicted"],
        ["**mean**", "not predicted"],
    ]


def test_other_searches_have_a_row_each_and_a_factor_of_trials(tmp_path, capsys):
    arguments = ["--members", "1", "--no-curves", "--n-trials", "12", "--out", str(tmp_path)]
    assert testbed.main([*arguments, "--costs", "none", "--rivals", "optuna-random*2", "optuna-nsga2"]) == 0
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    rivals = {row[0]: row for row in rows if row[0].startswith(("optuna", "gp"))}
    assert {"optuna-tpe", "optuna-tpe-mv", "optuna-random*2", "optuna-nsga2"} < set(rivals)
    assert len(rivals) == 6
    assert [len(list(tmp_path.rglob(f"*{name}+none*"))) for name in ("random", "nsga2")] == [1, 1]
    drawn = pd.read_csv(next(tmp_path.rglob("optuna-random+none*")))
    assert len(drawn) == 24
    assert 1 in {float(row[6]) for row in (rivals["optuna-tpe"], rivals["optuna-tpe-mv"])}


@pytest.mark.parametrize("wrong", ["random-search", "optuna-tpe*0", "smac*"])
def test_an_unknown_rival_is_one_line(wrong, tmp_path, capsys):
    assert testbed.main(["--out", str(tmp_path), "--rivals", wrong]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert wrong in error
    assert "optuna-gp" in error
