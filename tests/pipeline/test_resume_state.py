"""Resume state of the final phase, as the next run reads it."""

import pytest

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.pipeline.resume_state import ResumeState
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, SeedState
from cnn_lstm_hyperopt.search import StudyStorage

FINALIST = Finalist(1, 7, {})
NAN = "the loss became nan in epoch 1"


@pytest.fixture
def state_of():
    """``state_of(7, 3, limit=…, full_epochs=…, …)`` reads the state of one study."""
    storage = StudyStorage.in_memory("study")

    def read(*candidates, limit=None, full_epochs=200, periods=1, **retrain):
        config = {"retrain": {"full_epochs": full_epochs, **retrain}, "limits": {"retrain_seconds": limit}}
        config["evaluation"] = {"test_periods": periods}
        return ResumeState(storage, load_settings(config, environment={}), list(candidates) or [7, 3])

    read.storage = storage
    return read


@pytest.mark.parametrize(
    ("seed_state", "limit", "full_epochs", "valid"),
    [
        (SeedState(50), 100.0, 200, True),
        (SeedState(50), 200.0, 200, False),  # more epochs fit into more time
        (SeedState(50), None, 200, False),
        (SeedState(50), 100.0, 50, False),
        (SeedState(200), 100.0, 200, True),
        (SeedState(200), 50.0, 200, True),  # it has all epochs
        (SeedState(200), None, 200, True),
        (SeedState(200), None, 300, False),
        (SeedState(200, cut_short=True), 100.0, 200, True),
        (SeedState(200, cut_short=True), None, 200, False),
        (SeedState(200, failure=NAN), None, 200, True),
        (SeedState(200, cut_short=True, failure="no epoch"), 200.0, 200, False),
    ],
)
def test_a_seed_state_is_valid_as_long_as_it_would_be_decided_again(state_of, seed_state, limit, full_epochs, valid):
    """It was stored with a limit of 100 s and 200 epochs; the last state of a seed counts."""
    state = state_of(limit=100.0)
    state.save_seed_state(FINALIST, 2, SeedState(1))
    state.save_seed_state(FINALIST, 2, seed_state)
    assert state.seed_states == {(7, 2, 1): seed_state}
    assert state_of(limit=limit, full_epochs=full_epochs).seed_states == ({(7, 2, 1): seed_state} if valid else {})


def test_a_seed_state_of_a_later_period_is_valid_for_the_same_periods(state_of):
    state_of(periods=4).save_seed_state(FINALIST, 2, SeedState(200), period=3)
    state_of(periods=4).save_seed_state(FINALIST, 2, SeedState(200))
    assert set(state_of(periods=4).seed_states) == {(7, 2, 1), (7, 2, 3)}
    assert set(state_of(periods=3).seed_states) == {(7, 2, 1)}


@pytest.mark.parametrize(
    ("candidates", "changed"),
    [((7, 3, 1), {}), ((3, 7), {}), ((7, 3), {"seeds": 4}), ((7, 3), {"confirm_seeds": 9}), ((7, 3), {"limit": 90.0})],
)
def test_the_used_time_is_that_of_one_round(state_of, candidates, changed):
    state = state_of(limit=100.0)
    state.save_time(70.0)
    state.save_time(40.0, confirmation_ended=True)
    state.save_time(30.0)
    same, other = state_of(limit=100.0), state_of(*candidates, **{"limit": 100.0, **changed})
    assert (same.seconds, same.confirmation_ended) == (70.0, True)
    assert (other.seconds, other.confirmation_ended) == (0.0, False)
