"""What the work after the search has decided and done so far; with the study, so that a run that goes on decides the same."""

from dataclasses import asdict
from typing import Any

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.pipeline.confirmation import Candidate, Divergence, Reading
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, Given
from cnn_lstm_hyperopt.search import StudyStorage

READINGS, DIVERGENCES, ROUND, GIVEN = "confirmation_readings", "confirmation_divergences", "final_round", "retrainings"
"""Attributes of the study: the first two for its whole life, the third for one round, the last until its results are written."""


class RoundRecord:
    """Of one round: these candidates, with these settings of what follows. Every change is stored at once.

    Args:
        storage: of the study.
        settings: full epochs and ``limits.retrain_seconds`` say which trainings are still as they would be decided now.
        candidates: trial numbers.

    Attributes:
        readings: score and log loss of fresh seeds, by trial number.
        diverged: with a fresh seed, by trial number.
        seconds: of ``limits.retrain_seconds`` that are used up, by all runs that have worked on the round.
        confirmation_ended: whether the confirmation's part of them is.
        given: retrainings, by trial number and seed.
    """

    def __init__(self, storage: StudyStorage, settings: Settings, candidates: list[int]) -> None:
        self._storage = storage
        self._limit, self._full_epochs = settings.limits.retrain_seconds, settings.retrain.full_epochs
        self._of = {
            "candidates": candidates,
            "retrain": settings.retrain.model_dump(mode="json"),
            "retrain_seconds": self._limit,
        }
        stored = {name: storage.attribute(name) or {} for name in (READINGS, DIVERGENCES, ROUND, GIVEN)}
        self.readings: dict[int, list[Reading]] = {
            int(number): [Reading(*pair) for pair in pairs] for number, pairs in stored[READINGS].items()
        }
        self.diverged = {int(number): Divergence(**told) for number, told in stored[DIVERGENCES].items()}
        same = stored[ROUND].get("of") == self._of
        self.seconds: float = stored[ROUND]["seconds"] if same else 0.0
        self.confirmation_ended: bool = same and stored[ROUND]["confirmation_ended"]
        self._given: dict[str, dict[str, Any]] = stored[GIVEN]
        self.given = {
            _numbers(name): Given(entry["epochs"], entry["cut_short"], entry["failure"])
            for name, entry in self._given.items()
            if self._still_holds(entry)
        }

    def _still_holds(self, entry: dict[str, Any]) -> bool:
        """Whether it would be decided like that now; a training that has all its epochs asks for no limit."""
        whole = entry["epochs"] == self._full_epochs and not entry["cut_short"]
        return bool(entry["full_epochs"] == self._full_epochs and (whole or entry["retrain_seconds"] == self._limit))

    def read(self, candidate: Candidate, readings: list[Reading]) -> None:
        """Store the candidate's readings with fresh seeds."""
        self.readings[candidate.trial_number] = list(readings)
        self._storage.set_attribute(READINGS, {str(number): pairs for number, pairs in self.readings.items()})

    def diverge(self, candidate: Candidate, divergence: Divergence) -> None:
        """The candidate has diverged."""
        self.diverged[candidate.trial_number] = divergence
        self._storage.set_attribute(DIVERGENCES, {str(number): asdict(told) for number, told in self.diverged.items()})

    def give(self, finalist: Finalist, seed: int, given: Given) -> None:
        """Something about a retraining is decided."""
        self.given[finalist.trial_number, seed] = given
        asked = {"full_epochs": self._full_epochs, "retrain_seconds": self._limit}
        self._given[f"{finalist.trial_number}_{seed}"] = {**asdict(given), **asked}
        self._storage.set_attribute(GIVEN, self._given)

    def spend(self, seconds_left: float | None, *, confirmation_ended: bool = False) -> None:
        """So much of ``limits.retrain_seconds`` is left; nothing is stored where there is no limit."""
        if self._limit is None or seconds_left is None:
            return
        self.seconds = self._limit - seconds_left
        self.confirmation_ended = self.confirmation_ended or confirmation_ended
        facts = {"of": self._of, "seconds": self.seconds, "confirmation_ended": self.confirmation_ended}
        self._storage.set_attribute(ROUND, facts)


def end_round(storage: StudyStorage) -> None:
    """The results are written: what comes later gets all its time, and nothing goes on from trainings of this round."""
    if storage.attribute(GIVEN):
        storage.set_attribute(GIVEN, {})
    if ended := storage.attribute(ROUND):
        storage.set_attribute(ROUND, {**ended, "seconds": 0.0})


def _numbers(name: str) -> tuple[int, int]:
    trial, seed = name.split("_")
    return int(trial), int(seed)
