"""The problems with a learned constraint: costs as the family's, and a bound that the stated share keeps."""

import numpy as np
import pytest

from cnn_lstm_hyperopt.search import random_configuration
from constraints import Constrained


@pytest.mark.parametrize("seed", [3, 4, 6])
def test_costs_are_those_of_the_member_and_the_bound_keeps_the_share(seed):
    problem = Constrained(seed, 0.3)
    params = [random_configuration(problem.member.space, 0, number) for number in range(400)]
    for each in params[:40]:
        assert problem.cost(each) == pytest.approx((*problem.member.cost(each), 0.0))
    latencies = [float(problem._latency(problem.member._position(each))[0]) for each in params]
    assert np.mean(np.array(latencies) <= problem.bound) == pytest.approx(0.3, abs=0.12)
