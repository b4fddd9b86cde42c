"""Every sampler on spaces of any make."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.rehearsal import SPACES, assert_legal, plan_of, simulate
from cnn_lstm_hyperopt.search import ProposalRequest
from cnn_lstm_hyperopt.search.samplers import SAMPLERS


def losses(params):
    values = [float(hash(value) % 97) for value in params.values()]
    return -0.6 - 0.003 * sum(values) / max(len(values), 1), sum(values) / 50, max(values, default=0.0) / 50


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] if kind in ("gp", "tpe") else []) for kind in SAMPLERS]
)
@settings(max_examples=40, deadline=None)
@given(space=SPACES, seed=st.integers(0, 9))
def test_any_space_is_searched_and_a_sampler_built_anew_goes_on_alike(kind, space, seed):
    plan = plan_of(space, kind, seed=seed, startup=4)
    sampler = SAMPLERS[kind](plan)
    rows = simulate(sampler, 40, losses)
    for row in rows:
        assert_legal(space, row.params)
        assert set(row.params) == set(space.searched())
    assert SAMPLERS[kind](plan).propose(ProposalRequest(40, rows)) == sampler.propose(ProposalRequest(40, rows))
