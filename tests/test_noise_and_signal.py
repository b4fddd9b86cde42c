"""The verdict on unpredictable labels and on a known signal; benchmarks/evaluation.py does it with 20 seeds."""

from functools import cache

import numpy as np
import pytest

pytestmark = pytest.mark.slow
SEEDS = range(3)


@pytest.fixture(scope="module")
def evaluation(imported):
    evaluation = imported("evaluation")
    evaluation.PROFILE["study"]["time_objective"] = "estimated"  # so that runs repeat
    return evaluation


@pytest.fixture(scope="module")
def run(evaluation, tmp_path_factory):
    """A whole run of a kind with a seed, made once."""
    return cache(lambda kind, seed: evaluation.run(kind, seed, tmp_path_factory.mktemp(kind) / "results"))


@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("seed", SEEDS)
def test_shuffled_labels_never_show_skill(run, seed):
    assert not run("noise", seed).skill


@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_signal_shows_skill_each_time(run, seed):
    planted = run("planted", seed)
    assert planted.skill
    assert planted.coverage > 0.85  # of 66 intervals of 95 %: a standard deviation is 0.027


@pytest.mark.thorough
def test_overfitting_is_as_likely_as_not_on_noise_and_intervals_cover(run):
    assert 0.1 < np.mean([run("noise", seed).pbo for seed in SEEDS]) < 0.9  # each has a standard deviation of about 0.2
    assert np.mean([run("planted", seed).coverage for seed in SEEDS]) > 0.9  # of 198 intervals
