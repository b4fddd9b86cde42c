"""The verdict on labels that nothing can predict and on a known signal; benchmarks/evaluation.py does it with 20 seeds."""

from collections.abc import Callable
from functools import cache
from types import ModuleType

import numpy as np
import pytest

from cnn_lstm_hyperopt.data.windows import Windows

pytestmark = pytest.mark.slow
SEEDS = range(3)


@pytest.fixture(scope="module")
def evaluation(imported: Callable[[str], ModuleType]) -> ModuleType:
    evaluation = imported("evaluation")
    evaluation.PROFILE["study"]["time_objective"] = "estimated"  # so that it is the same runs each time
    return evaluation


@pytest.fixture(scope="module")
def run(evaluation, tmp_path_factory):
    """A whole run of a kind with a seed, made once."""

    @cache
    def made(kind: str, seed: int):
        return evaluation.run(kind, seed, tmp_path_factory.mktemp(kind) / "results")

    return made


@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("seed", SEEDS)
def test_shuffled_labels_never_show_skill(run, seed):
    noise = run("noise", seed)
    assert not noise.skill
    assert noise.sentence.startswith(("Model 1 has an accuracy of ", "None of "))


@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_signal_shows_skill_each_time(run, seed):
    planted = run("planted", seed)
    assert planted.skill
    assert "better than every baseline" in planted.sentence
    assert planted.coverage > 0.85  # of 66 intervals of 95 %: a standard deviation is 0.027


@pytest.mark.thorough
def test_overfitting_is_as_likely_as_not_where_there_is_nothing_and_intervals_cover(run):
    # Three readings, each with a standard deviation of about 0.2.
    assert 0.1 < np.mean([run("noise", seed).pbo for seed in SEEDS]) < 0.9
    # Of the periods that it was tested on, three are too few to tell; these are 198.
    assert np.mean([run("planted", seed).coverage for seed in SEEDS]) > 0.9


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
