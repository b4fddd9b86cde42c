"""What samplers are told: a test a kind, the order, and that what is expected of a trial is near what becomes of it."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.search import Point, SkillThreshold, State, StudyStorage, Values
from cnn_lstm_hyperopt.search.learning_curves import MIN_CURVES, FinishedCurves
from cnn_lstm_hyperopt.search.observations import Kind, ObservationCache, losses, observations

SKILL = SkillThreshold(0.5, 100)
EPOCHS = 12


def test_losses_are_minus_accuracy_and_logarithms():
    assert losses(0.7, math.e, math.e**2) == pytest.approx((-0.7, 1.0, 2.0))
    assert losses(0.7, 0.0, 1.0) == (-0.7, math.log(1e-3), 0.0)


@pytest.fixture(scope="session")
def synthetic(make_record):
    """Trials of known heights: accuracy rises to them, early speed and first accuracy say how high; without noise."""

    def make(number, *, state=State.COMPLETE, epochs=EPOCHS, noise=0.0, **fields):
        generator = np.random.default_rng(number)
        height, size, patience = generator.uniform([0.05, 0.5, 1.5], [0.4, 9.0, 5.0])
        curve = []
        for epoch in range(1, epochs + 1):
            accuracy = 0.5 + height * (1 - math.exp(-epoch / patience)) + noise * generator.normal()
            curve.append(Point(float(epoch), accuracy, 1.0 - accuracy, 2.0 * size * (epoch + 0.7)))
        values = (curve[-1].score, curve[-1].seconds, size) if state is State.COMPLETE else None
        return make_record(
            number, state=state, curve=curve, values=values, size_mb=size, params={"x": number}, **fields
        )

    return make


def finishing(records):
    """The same, as having finished in the order given."""
    for place, record in enumerate(records):
        record.attributes["finish_order"] = place
    return records


@pytest.fixture
def complete(synthetic):
    """So many finished ones."""

    def make(n):
        return finishing([synthetic(number, attributes={}) for number in range(n)])

    return make


# ---------------------------------------------------------------------- COMPLETE


def test_a_complete_trial_is_told_with_its_seconds_and_size(make_record):
    record = make_record(3, values=(0.7, 10, 2), params={"a": 1}, curve=[0.7], projected_seconds=99)
    (row,) = observations([record], SKILL, 1)
    assert (row.number, row.params, row.kind, row.variance, row.note) == (3, {"a": 1}, Kind.COMPLETE, 0.0, None)
    assert row.losses == pytest.approx((-0.7, math.log(10), math.log(2)))


def test_a_complete_trial_is_told_with_its_settled_accuracy(make_record):
    """One lucky reading, at the epoch of the lowest loss, draws nobody: it counts with the quarter before it."""
    curve = [0.5] * 5 + [0.6, 0.6, 0.9, 0.6]
    record = make_record(0, values=(0.9, 9, 1), curve=curve)
    assert observations([record], SKILL, 9)[0].losses[0] == pytest.approx(-(0.6 + 0.9) / 2)


def test_a_complete_trial_without_a_curve_is_told_with_its_value(make_record):
    assert observations([make_record(0, values=(0.7, 9, 1))], SKILL, 9)[0].losses[0] == -0.7


def test_a_log_loss_beyond_all_measure_is_told_as_twice_as_bad_as_chance(make_record):
    """Or one model that is sure of what is wrong would set the scale for all."""
    skill = SkillThreshold.on("log_loss", [np.arange(1000) % 2])
    ends = {-9.0: -2 * math.log(2), -0.6: -0.6}
    for score, expected in ends.items():
        complete = make_record(0, values=(score, 9, 1), curve=[Point(1, score, -score, 9)])
        pruned = make_record(1, state=State.PRUNED, curve=[Point(1, score, -score, 9)])
        assert [-row.losses[0] for row in observations([complete, pruned], skill, 9)] == pytest.approx(
            [expected, expected]
        )


# ---------------------------------------------------------------------- PRUNED


def test_as_long_as_few_are_complete_a_pruned_trial_is_told_with_what_it_had_and_was_heading_for(make_record):
    """The accuracy of its lowest loss, with the error of a reading."""
    curve = (Point(1, 0.50, 0.70, 1), Point(2, 0.60, 0.60, 2), Point(3, 0.65, 0.65, 3))
    record = make_record(1, state=State.PRUNED, curve=curve, size_mb=4, projected_seconds=20.0)
    (row,) = observations([record], SKILL, 9)
    assert row.losses == pytest.approx((-0.60, math.log(20), math.log(4)))
    assert (row.kind, row.variance) == (Kind.PRUNED, pytest.approx(0.6 * 0.4 / 100))


def test_a_pruned_trial_without_a_projection_is_told_with_its_own_seconds(make_record):
    record = make_record(1, state=State.PRUNED, curve=[0.55, 0.6], size_mb=4)
    assert observations([record], SKILL, 9)[0].losses == pytest.approx((-0.6, math.log(2), math.log(4)))


def test_a_trial_pruned_before_its_first_validation_is_told_as_one_at_chance_of_which_nothing_is_known(
    make_record, complete
):
    record = make_record(99, state=State.PRUNED, size_mb=4, projected_seconds=900.0, attributes={"finish_order": 99})
    for others in ([], complete(20)):
        row = observations([*others, record], SKILL, EPOCHS)[-1]
        assert row.losses == pytest.approx((-0.5, math.log(900), math.log(4)))
        assert (row.kind, row.variance) == (Kind.PRUNED, math.inf)


def test_a_pruned_trial_is_told_with_what_is_expected_of_it(complete, synthetic):
    others = complete(12)
    record = synthetic(99, state=State.PRUNED, epochs=4, attributes={"finish_order": 12})
    (*_, row) = observations([*others, record], SKILL, EPOCHS)
    expected = FinishedCurves(others, 4.0, EPOCHS).outcomes(record.curve, record.size_mb)
    assert row.losses == losses(expected.score, expected.seconds, record.size_mb)
    assert row.variance == expected.variance > 0


def test_what_is_expected_of_a_pruned_trial_is_near_what_becomes_of_it(synthetic):
    """In a quarter of its epochs; the accuracy that it had then is far from it."""
    others = [synthetic(number, noise=0.005) for number in range(60)]
    expected, had, truth = [], [], []
    for number in range(100, 150):
        whole = synthetic(number, noise=0.005)
        pruned = synthetic(number, state=State.PRUNED, epochs=3, noise=0.005, attributes={"finish_order": 999})
        (*_, row) = observations([*others, pruned], SKILL, EPOCHS)
        expected.append(row.losses)
        had.append(-pruned.curve[-1].score)
        truth.append(losses(*whole.values))
    expected, truth = np.array(expected), np.array(truth)
    error = np.abs(expected - truth).mean(axis=0)
    assert error[0] < 0.025 < 0.08 < np.abs(np.array(had) - truth[:, 0]).mean()
    assert error[1] < 0.01  # the first epoch took 1.7 times as long as the others
    assert error[2] == 0.0
    assert abs((expected - truth)[:, 0].mean()) < 0.01  # neither under- nor overrated
    best = truth[:, 0] < np.quantile(truth[:, 0], 0.2)
    assert abs((expected - truth)[best, 0].mean()) < 0.03


def test_what_is_told_of_a_pruned_trial_changes_in_steps(complete, synthetic):
    """The curves that it is compared with are the first 10, 12, 14, 16, 19, …: so most answers stay as they were."""
    pruned = synthetic(99, state=State.PRUNED, epochs=4, attributes={"finish_order": 3.5})
    values = [observations([*complete(n), pruned], SKILL, EPOCHS)[min(n, 4)].losses for n in range(4, 23)]
    changes = [n for n, (a, b) in enumerate(itertools.pairwise(values), start=5) if a != b]
    assert changes == [MIN_CURVES, 12, 14, 16, 19, 22]


# ---------------------------------------------------------------------- failures and those that run


def test_a_diverged_trial_is_told_as_one_at_chance_and_as_slow_as_the_slowest_before_it(make_record):
    before = [make_record(0, values=(0.7, 10, 2)), make_record(1, values=(0.7, 30, 2))]
    diverged = make_record(2, state=State.FAIL, curve=[0.9], size_mb=4, attributes={"diverged": True}, params={"a": 1})
    after = make_record(3, values=(0.7, 99, 2))
    finishing([*before, diverged, after])
    rows = observations([*before, diverged, after], SKILL, 9)
    assert [row.number for row in rows] == [0, 1, 2, 3]
    assert (rows[2].params, rows[2].kind) == ({"a": 1}, Kind.DIVERGED)
    assert rows[2].losses == pytest.approx((-0.5, math.log(30), math.log(4)))
    assert observations([*before, diverged], SKILL, 9) == rows[:3]  # told alike however many follow


def test_a_diverged_trial_with_none_before_it_is_told_all_the_same(make_record):
    diverged = make_record(0, state=State.FAIL, size_mb=4, attributes={"diverged": True})
    assert observations([diverged], SKILL, 9)[0].losses == pytest.approx((-0.5, 0.0, math.log(4)))


def test_failed_and_running_trials_are_not_told(make_record):
    records = [
        make_record(0, values=(0.7, 1, 1)),
        make_record(1, state=State.FAIL, curve=[0.9]),
        make_record(2, state=State.PRUNED, curve=[0.5]),
        make_record(3, state=State.RUNNING, curve=[0.9]),
        make_record(4, values=(0.6, 1, 1)),
    ]
    assert [row.number for row in observations(records, SKILL, 9)] == [0, 2, 4]
    assert observations([], SKILL, 9) == []


# ---------------------------------------------------------------------- the order, and what is kept


def test_rows_are_in_the_order_in_which_trials_ended(make_record):
    records = [make_record(n, values=(0.7, 1, 1), attributes={"finish_order": o}) for n, o in enumerate([2, 0, 3, 1])]
    assert [row.number for row in observations(records, SKILL, 9)] == [1, 3, 0, 2]
    assert observations(reversed(records), SKILL, 9) == observations(records, SKILL, 9)


def test_trials_that_were_cut_off_come_first_by_number(make_record):
    """Nobody was there to say when they ended."""
    records = [make_record(n, values=(0.7, 1, 1), attributes={"finish_order": 0} if n == 0 else {}) for n in range(3)]
    assert [row.number for row in observations(records, SKILL, 9)] == [1, 2, 0]


def test_what_a_sampler_noted_comes_back(make_record):
    note = {"size": 3, "list": [1.5, None]}
    for state, values in ((State.COMPLETE, (0.7, 1, 1)), (State.PRUNED, None)):
        record = make_record(0, state=state, values=values, curve=[0.7], attributes={"note": note})
        assert observations([record], SKILL, 9)[0].note == note


@pytest.fixture(scope="session")
def mixed(synthetic, make_record):
    """A study of all kinds, in an order of finishing that is not that of numbers."""
    records = []
    for number in range(60):
        attributes = {"finish_order": (number * 7) % 60}
        match number % 6:
            case 0 | 1 | 2:
                records.append(synthetic(number, noise=0.01, attributes=attributes))
            case 3:
                state = State.PRUNED
                records.append(synthetic(number, state=state, epochs=1 + number % 9, noise=0.01, attributes=attributes))
            case 4:
                records.append(synthetic(number, state=State.PRUNED, epochs=1, attributes=attributes))
            case _:
                attributes |= {"diverged": number % 12 == 5}
                records.append(make_record(number, state=State.FAIL, size_mb=2.0, attributes=attributes))
    return records


def as_of(records, finished):
    """The study when so many had ended; the others ran, of whom nothing is told."""
    return [record for record in records if record.finish_order[0] < finished]


def test_what_is_kept_changes_no_answer(mixed):
    memory = ObservationCache()
    for finished in range(61):
        known = as_of(mixed, finished)
        assert observations(known, SKILL, EPOCHS, memory) == observations(known, SKILL, EPOCHS)


@settings(deadline=None, max_examples=30)
@given(visits=st.lists(st.integers(0, 60), max_size=8).map(sorted))
def test_what_is_kept_changes_no_answer_however_often_it_was_asked(mixed, visits):
    memory = ObservationCache()
    for finished in visits:
        observations(as_of(mixed, finished), SKILL, EPOCHS, memory)
    assert observations(mixed, SKILL, EPOCHS, memory) == observations(mixed, SKILL, EPOCHS)


def test_a_history_that_is_read_back_tells_the_same(mixed, tmp_path):
    path = tmp_path / "study.db"
    storage = StudyStorage(path, create="x")
    for record in mixed:
        trial_id, _ = storage.start({}, {}, {"size_mb": record.size_mb})
        if record.curve:
            storage.record_curve(trial_id, record.curve)
        values = None if record.values is None else Values(*record.values)
        storage.finish(
            trial_id, record.state, values, {**record.attributes, "seconds": record.seconds, "reason": record.reason}
        )
    storage.close()
    storage = StudyStorage(path)
    again = observations(storage.records(), SKILL, EPOCHS)
    storage.close()
    expected = [row._replace(params={}) for row in observations(mixed, SKILL, EPOCHS)]
    assert again == expected
