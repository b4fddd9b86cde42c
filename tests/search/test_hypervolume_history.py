"""History of the hypervolume: by brute force over all beginnings of a study, and milestones."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.records import make_record
from cnn_lstm_hyperopt.pareto import hypervolume
from cnn_lstm_hyperopt.search import SkillThreshold, State, finish_order, front_hypervolume, hypervolume_history
from cnn_lstm_hyperopt.search.observations import losses
from cnn_lstm_hyperopt.search.pareto_front import Milestone, milestone_at

SKILL = SkillThreshold(0.5, 100)  # needs 0.60

triples = st.tuples(
    st.integers(55, 70).map(lambda k: k / 100), st.integers(1, 5).map(float), st.integers(1, 5).map(float)
)


def complete(number, accuracy, seconds, size_mb, *, order=None, **fields):
    attributes = {"finish_order": number if order is None else order, **fields.pop("attributes", {})}
    return make_record(
        number, values=(accuracy, seconds, size_mb), seconds=seconds, size_mb=size_mb, attributes=attributes, **fields
    )


@settings(deadline=None, max_examples=60)
@given(values=st.lists(triples, max_size=10), data=st.data())
def test_history_is_the_hypervolume_of_every_beginning_at_the_final_reference(values, data):
    orders = data.draw(st.permutations(range(len(values))))
    records = [complete(i, *v, order=o) for i, (v, o) in enumerate(zip(values, orders, strict=True))]
    history = hypervolume_history(records, SKILL)
    total, reference = front_hypervolume(records, SKILL)
    corner = [loss + 1e-9 for loss in losses(*reference.values())] if reference else []
    expected, reached = [], 0.0
    for n in range(1, len(values) + 1):
        begun = finish_order(records)[:n]
        rows = [losses(*r.values) for r in begun if r.values.score > 0.6]
        volume = hypervolume(rows, corner) if rows else 0.0
        if volume > reached * (1 + 1e-12):
            expected.append((n, sum(r.seconds for r in begun), volume))
            reached = volume
    assert [step[:2] for step in history] == [step[:2] for step in expected]
    assert [step.hypervolume for step in history] == pytest.approx([step[2] for step in expected])
    assert (history[-1].hypervolume if history else 0.0) == pytest.approx(total)


def test_trials_are_finished_ones_and_seconds_those_of_all():
    records = [
        make_record(0, state=State.PRUNED, seconds=3.0, reason="median: x", attributes={"finish_order": 0}),
        make_record(1, state=State.FAIL, seconds=5.0, attributes={"finish_order": 1}),
        make_record(2, state=State.RUNNING, seconds=100.0),
        complete(3, 0.7, 10.0, 1.0),
    ]
    assert [step[:2] for step in hypervolume_history(records, SKILL)] == [(2, 18.0)]


HISTORY = [Milestone(1, 5.0, 0.1), Milestone(4, 9.0, 0.899), Milestone(5, 12.0, 0.9), Milestone(30, 80.0, 1.0)]


@pytest.mark.parametrize(("share", "trials"), [(0.0, 1), (0.1, 1), (0.5, 4), (0.9, 5), (0.95, 30), (1.0, 30)])
def test_a_share_is_reached_at_the_first_milestone_that_has_it(share, trials):
    step = milestone_at(HISTORY, share)
    assert (step is not None and step.trials, milestone_at([], share)) == (trials, None)
