"""What a round has decided and done, as the next run reads it."""

from typing import Any

import pytest

from builders.finalists import candidate
from cnn_lstm_hyperopt.config import Settings, load_settings
from cnn_lstm_hyperopt.pipeline.confirmation import Divergence, Reading
from cnn_lstm_hyperopt.pipeline.resume_state import RoundRecord, end_round
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, Given
from cnn_lstm_hyperopt.search import StudyStorage

FINALIST = Finalist(1, 7, {})
NAN = "the loss became nan in epoch 1"


@pytest.fixture
def storage() -> StudyStorage:
    return StudyStorage.in_memory("study")


def settings_of(limit: float | None = None, full_epochs: int = 200, **retrain: Any) -> Settings:
    given = {"retrain": {"full_epochs": full_epochs, **retrain}, "limits": {"retrain_seconds": limit}}
    return load_settings(given, environment={})


def record_of(storage: StudyStorage, *candidates: int, **chosen: Any) -> RoundRecord:
    return RoundRecord(storage, settings_of(**chosen), list(candidates) or [7, 3])


def test_a_new_study_has_nothing(storage):
    record = record_of(storage)
    assert (record.readings, record.diverged, record.given) == ({}, {}, {})
    assert (record.seconds, record.confirmation_ended) == (0.0, False)


def test_readings_and_divergences_hold_whatever_is_asked_later(storage):
    record = record_of(storage)
    record.read(candidate(1, 7), [Reading(0.5, 0.9)])
    record.read(candidate(2, 3), [Reading(0.6, 0.8)])
    record.read(candidate(1, 7), [Reading(0.5, 0.9), Reading(0.7, 0.4)])
    record.diverge(candidate(3, 4), Divergence(2, NAN))
    end_round(storage)
    again = record_of(storage, 1, 2, full_epochs=3, limit=5.0)
    assert again.readings == {7: [Reading(0.5, 0.9), Reading(0.7, 0.4)], 3: [Reading(0.6, 0.8)]}
    assert again.diverged == {4: Divergence(2, NAN)}


@pytest.mark.parametrize(
    ("given", "limit", "full_epochs", "holds"),
    [
        (Given(50), 100.0, 200, True),
        (Given(50), 200.0, 200, False),  # with more time it would have more epochs
        (Given(50), None, 200, False),
        (Given(50), 100.0, 50, False),  # they were its share of other epochs
        (Given(200), 100.0, 200, True),
        (Given(200), 50.0, 200, True),  # it has all epochs, whatever the limit
        (Given(200), None, 200, True),
        (Given(200), None, 300, False),
        (Given(200, cut_short=True), 100.0, 200, True),
        (Given(200, cut_short=True), None, 200, False),  # with more time it would not be cut
        (Given(200, failure=NAN), None, 200, True),
        (Given(200, cut_short=True, failure="no epoch was finished"), 200.0, 200, False),
    ],
)
def test_a_retraining_holds_as_long_as_it_would_be_decided_like_that(storage, given, limit, full_epochs, holds):
    """It was decided with a limit of 100 s, of 200 epochs."""
    record_of(storage, limit=100.0).give(FINALIST, 2, given)
    found = record_of(storage, limit=limit, full_epochs=full_epochs).given
    assert found == ({(7, 2): given} if holds else {})


def test_the_last_word_on_a_retraining_counts(storage):
    record = record_of(storage)
    for given in (Given(200), Given(200, failure=NAN)):
        record.give(FINALIST, 1, given)
        assert record.given == record_of(storage).given == {(7, 1): given}


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [((7, 3, 1), {}), ((3, 7), {}), ((7, 3), {"seeds": 4}), ((7, 3), {"confirm_seeds": 9}), ((7, 3), {"limit": 90.0})],
)
def test_time_is_used_up_of_one_round_and_of_no_other(storage, candidates, chosen):
    record = record_of(storage, limit=100.0)
    record.spend(70.0)
    record.spend(40.0, confirmation_ended=True)
    record.spend(30.0)
    same, other = record_of(storage, limit=100.0), record_of(storage, *candidates, **{"limit": 100.0, **chosen})
    assert (same.seconds, same.confirmation_ended) == (70.0, True)
    assert (other.seconds, other.confirmation_ended) == (0.0, False)


def test_without_a_limit_no_time_is_stored(storage):
    record = record_of(storage)
    record.spend(None)
    assert (storage.attribute("final_round"), record.seconds) == (None, 0.0)


def test_a_round_that_is_over_leaves_no_retraining_and_all_the_time(storage):
    """That its confirmation was ended by time stays: who asks for the same again gets the same."""
    record = record_of(storage, limit=100.0)
    record.give(FINALIST, 1, Given(200))
    record.spend(10.0, confirmation_ended=True)
    end_round(storage)
    again = record_of(storage, limit=100.0)
    assert (again.given, again.seconds, again.confirmation_ended) == ({}, 0.0, True)


def test_a_round_that_left_nothing_can_be_over_too(storage):
    end_round(storage)
    assert (storage.attribute("retrainings"), storage.attribute("final_round")) == (None, None)
