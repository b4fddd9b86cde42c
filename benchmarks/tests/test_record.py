"""benchmarks/record.py: neighbours are configurations of the space; a second run adds rows and keeps the first ones."""

import subprocess
import sys

import pandas as pd
import pytest

import record
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.search import random_configuration


def test_neighbours_are_other_configurations_of_the_space_and_deterministic():
    space = load_settings(None, environment={}).search_space
    differing = []
    for number in range(200):
        centre = random_configuration(space, 1, number)
        found = record.neighbour(space, centre, number)
        assert set(found) == set(space.active(found))
        assert all(space.domains[name].contains(value) for name, value in found.items())
        assert found == record.neighbour(space, centre, number)
        differing.append(sum(found[name] != centre[name] for name in found.keys() & centre.keys()))
    assert min(differing) == 0  # a choice may be drawn again
    assert 0 < sum(differing) / len(differing) < 4
    assert max(differing) <= 4


@pytest.mark.slow
@pytest.mark.thorough
def test_a_second_run_keeps_and_extends_the_recorded_curves(tmp_path):
    def run():
        command = [sys.executable, record.__file__, "--out", str(tmp_path), "--workers", "1", "--minutes", "0.05"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [pd.read_parquet(tmp_path / f"volatility_{name}.parquet") for name in ("configurations", "curves")]

    rows, curves = run()
    more_rows, more_curves = run()
    assert 1 <= len(rows) < len(more_rows)
    pd.testing.assert_frame_equal(more_rows.head(len(rows)), rows)
    pd.testing.assert_frame_equal(more_curves.head(len(curves)), curves)
    for number, curve in curves.groupby("number"):
        assert list(curve["epoch"]) == [0.25, 0.5, 0.75, *range(1, 17)], number
        assert curve["seconds"].is_monotonic_increasing
