"""The example programs for arrays and for a DataFrame of bars run to their end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "printed"),
    [
        ("classify_windows.py", ("ms_per_prediction", "accuracy on new windows")),
        ("search_data_loaders.py", ("Verdict", "test accuracy")),
        ("own_network.py", ("ms_per_prediction", "accuracy on new windows")),
        ("search_frame_of_bars.py", ("'balanced'", "test windows")),
    ],
)
def test_an_example_runs_and_prints_its_result(program, printed, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / program)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(text in done.stdout for text in printed)
    assert list(tmp_path.iterdir()) == []
