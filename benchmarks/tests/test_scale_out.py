"""benchmarks/scale_out.py: lost workers, wall time of a fleet, and a small table."""

import pytest

import scale_out
from cnn_lstm_hyperopt.search import WorkerLostError, random_configuration
from problems.family import member
from problems.runs import Row


def row(number, seconds):
    return Row(0, number, "COMPLETE", "", 1.0, 0.7, seconds, 1.0, 0.0, 0.0, {})


def test_a_fleet_starts_each_trial_on_the_first_free_worker():
    """By hand: worker one runs 0 (0 to 5) and 3 (5 to 6), worker two runs 1 (0 to 2) and 2 (2 to 9)."""
    rows = [row(1, 2.0), row(0, 5.0), row(3, 1.0), row(2, 7.0)]
    assert scale_out.wall_ends(rows, 2).tolist() == [2.0, 5.0, 6.0, 9.0]
    assert scale_out.wall_ends(rows, 1).tolist() == [7.0, 5.0, 15.0, 14.0]


def test_a_share_of_the_trials_loses_its_worker_once():
    problem = member(2)
    losing, lost = scale_out.losing(problem, 0.3), 0
    for number in range(100):
        params = random_configuration(problem.space, 1, number)
        whole, seen = list(problem.evaluate(params, number)), []
        try:
            seen.extend(losing.evaluate(params, number))
        except WorkerLostError:
            lost += 1
            assert list(losing.evaluate(params, number)) == whole
        else:
            assert seen == whole
    assert 15 <= lost <= 45


def test_the_table_compares_with_the_first_number_of_workers(capsys):
    few = ["--trials", "30", "--problems", "2", "--sampler", "random", "--lost", "0.2"]
    assert scale_out.main([*few, "--workers", "1,4"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 2 | 1 |")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[2] for row in cells] == ["1", "4"]
    assert cells[0][3:6] == ["1.000"] * 3
    assert int(cells[0][9]) > 0
    assert float(cells[1][7]) <= float(cells[0][7])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_none_or_all_trials_lose_their_worker(share):
    problem = member(2)
    params = random_configuration(problem.space, 1, 0)
    losing = scale_out.losing(problem, share)
    if share:
        with pytest.raises(WorkerLostError):
            list(losing.evaluate(params, 0))
    assert list(losing.evaluate(params, 0)) == list(problem.evaluate(params, 0))
