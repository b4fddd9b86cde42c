"""The verdict on labels that nothing can predict and on a known signal; benchmarks/evaluation.py does it with 20 seeds."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cnn_lstm_hyperopt.data.windows import Windows

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

pytestmark = pytest.mark.slow
SEEDS = range(3)


@pytest.fixture(scope="module")
def evaluation() -> ModuleType:
    import evaluation

    evaluation.PROFILE["study"]["time_objective"] = "estimated"  # so that it is the same runs each time
    return evaluation


def test_shuffled_labels_never_show_skill(evaluation, tmp_path):
    runs = [evaluation.run("noise", seed, tmp_path / str(seed)) for seed in SEEDS]
    assert not any(run.skill for run in runs)
    assert all(run.sentence.startswith("No skill") for run in runs)
    assert (
        0.1 < np.mean([run.pbo for run in runs]) < 0.9
    )  # of three readings, each with a standard deviation of about 0.2


def test_a_planted_signal_shows_skill_each_time(evaluation, tmp_path):
    runs = [evaluation.run("planted", seed, tmp_path / str(seed)) for seed in SEEDS]
    assert all(run.skill for run in runs)
    assert all(run.sentence.startswith("Skill") for run in runs)
    # Of the periods that it was tested on, three are too few to tell; these are 198.
    assert np.mean([run.coverage for run in runs]) > 0.9


def test_shuffling_keeps_the_labels_and_their_runs_but_not_their_meaning(evaluation):
    """One order of blocks for both symbols; every label occurs as often as before (but for the shorter last block)."""
    dataset = evaluation.noise(0)
    original = evaluation.real_bars()
    before = [original.train, original.validation, original.test.open()]
    after = [dataset.train, dataset.validation, dataset.test.open()]
    symbols = np.concatenate([part.symbols for part in before])

    def labels(parts: list[Windows]) -> np.ndarray:
        return np.concatenate([part.labels.numpy() for part in parts])

    for symbol in ("AAPL", "IBM"):
        mine = symbols == symbol
        assert abs(int(labels(after)[mine].sum()) - int(labels(before)[mine].sum())) <= 40
    assert 0.4 < (labels(after) == labels(before)).mean() < 0.6
    changes = [np.mean(np.diff(labels(parts)[symbols == "IBM"]) != 0) for parts in (before, after)]
    assert changes[1] == pytest.approx(changes[0], abs=0.04)
