"""Limits on proposals, and first proposals known beforehand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_lstm_hyperopt.search import Cost, Limits, NoTrial, Proposer, State, Values, with_fixed
from cnn_lstm_hyperopt.search.samplers import SAMPLERS

KINDS = {name: {"type": name, "n_startup_trials": 4} for name in SAMPLERS}
KINDS["tpe-multivariate"] = {**KINDS["tpe"], "multivariate": True}


def cost(params):
    """Seconds, MB and memory that grow with the network, each by its own measure."""
    hidden, layers, filters = (int(params[n]) for n in ("lstm.hidden_dim", "lstm.num_layers", "cnn.num_filters"))
    return Cost(hidden * layers / 10, filters / 10, 100.0 + hidden + filters)


bounds = st.none() | st.floats(0, 10)
amounts = st.floats(0, 10)


@given(limits=st.builds(Limits, bounds, bounds, bounds, bounds), cost=st.builds(Cost, amounts, amounts, amounts))
def test_a_cost_is_allowed_when_no_limit_is_below_it(limits, cost):
    largest = (limits.seconds, limits.size_mb, limits.memory_mb, limits.proposal_seconds)
    beyond = (
        limit is not None and amount > limit for amount, limit in zip((*cost, cost.seconds), largest, strict=True)
    )
    assert limits.allow(cost) == (not any(beyond))
    assert limits.none == (set(largest) == {None})


ALL = Limits(51.2, 12.8, 400.0)


def assert_made(study, foreseen):
    for expected in foreseen:
        assignment = study.next_assignment()
        assert assignment.params == with_fixed(study.plan.space, expected.params)
        study.finish(assignment, State.COMPLETE, Values(0.6, 1.0, 1.0), {"seconds": 1.0})
    assert [dict(record.params) for record in study.records()] == [each.params for each in foreseen]


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_proposals_are_those_that_a_study_then_makes(make_study, kind):
    study = make_study(sampler=KINDS[kind], limits=ALL, cost=cost)
    foreseen = Proposer(study.plan).first(100)
    assert len(foreseen) == 4  # later ones depend on the results of trials
    assert_made(study, foreseen)
    assert Proposer(study.plan).first(2) == foreseen[:2]


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize("kind", SAMPLERS)
def test_a_finite_space_is_tried_within_its_limits(make_study, kind):
    """Three of six configurations have one layer."""
    sampler = {"type": kind, "n_startup_trials": 20}
    assert make_study(sampler=sampler, limits=Limits(seconds=6.3), cost=cost).next_assignment() is NoTrial.SPACE_USED_UP
    study = make_study("tiny", file="tiny", sampler=sampler, limits=Limits(seconds=0.8), cost=cost)
    foreseen = Proposer(study.plan).first(20)
    assert len(foreseen) == 3
    assert_made(study, foreseen)
    assert study.next_assignment() is NoTrial.SPACE_USED_UP
