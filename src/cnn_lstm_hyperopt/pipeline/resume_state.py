"""State of the final phase that is stored with the study, so that a resumed run makes the same decisions."""

from dataclasses import asdict
from typing import Any

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.pipeline.confirmation import Candidate, Divergence, Measurement
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, SeedState
from cnn_lstm_hyperopt.search import StudyStorage

MEASUREMENTS, DIVERGENCES = "confirmation_readings", "confirmation_divergences"
"""Keys of attributes of the study that are never deleted."""
ROUND, SEED_STATES = "final_round", "retrainings"
"""Keys of attributes of the study that belong to one final phase. The seed states are deleted when its results are written."""


class ResumeState:
    """State from which one round of the final phase can be resumed. A round has fixed candidates and settings.

    Every change is stored immediately.

    Args:
        storage: storage of the study.
        settings: settings of the run. ``retrain.full_epochs`` and ``limits.retrain_seconds`` determine which stored seed
            states are still valid.
        candidates: trial numbers of the candidates.

    Attributes:
        measurements: measurements of each candidate with new seeds, by trial number.
        diverged: divergence of a candidate's training with a new seed, by trial number.
        seconds: seconds of ``limits.retrain_seconds`` that all runs of the round have used so far.
        confirmation_ended: True if the confirmation has used its part of ``limits.retrain_seconds``.
        seed_states: states of the retrainings, by trial number, seed and period of the test set.
    """

    def __init__(self, storage: StudyStorage, settings: Settings, candidates: list[int]) -> None:
        self._storage = storage
        self._limit, self._full_epochs = settings.limits.retrain_seconds, settings.retrain.full_epochs
        self._periods = settings.evaluation.test_periods
        # The refit and the ensemble come later; rounds of earlier versions lack ``also``.
        excluded = {"refit", "ensemble", *(() if settings.retrain.also else ("also",))}
        self._round = {
            "candidates": candidates,
            "retrain": settings.retrain.model_dump(mode="json", exclude=excluded),
            "retrain_seconds": self._limit,
            **({"test_periods": self._periods} if self._periods > 1 else {}),
        }
        stored = {name: storage.attribute(name) or {} for name in (MEASUREMENTS, DIVERGENCES, ROUND, SEED_STATES)}
        self.measurements: dict[int, list[Measurement]] = {
            int(number): [Measurement(*pair) for pair in pairs] for number, pairs in stored[MEASUREMENTS].items()
        }
        self.diverged = {int(number): Divergence(**entry) for number, entry in stored[DIVERGENCES].items()}
        same = stored[ROUND].get("of") == self._round
        self.seconds: float = stored[ROUND]["seconds"] if same else 0.0
        self.confirmation_ended: bool = same and stored[ROUND]["confirmation_ended"]
        self._stored_states: dict[str, dict[str, Any]] = stored[SEED_STATES]
        self.seed_states = {
            place: SeedState(entry["epochs"], entry["cut_short"], entry["failure"])
            for place, entry in ((_numbers(name), entry) for name, entry in self._stored_states.items())
            if self._is_valid(entry, place[2])
        }

    def _is_valid(self, entry: dict[str, Any], period: int) -> bool:
        """Return True if a stored seed state is valid for the settings.

        A training of all epochs does not depend on the time limit.
        """
        same_periods = entry.get("test_periods", 1) == self._periods
        whole = entry["epochs"] == self._full_epochs and not entry["cut_short"] and (period == 1 or same_periods)
        same_limit = entry["retrain_seconds"] == self._limit and same_periods
        return bool(entry["full_epochs"] == self._full_epochs and (whole or same_limit))

    def save_measurements(self, candidate: Candidate, measurements: list[Measurement]) -> None:
        """Store the measurements of a candidate with new seeds."""
        self.measurements[candidate.trial_number] = list(measurements)
        self._storage.set_attribute(MEASUREMENTS, {str(number): pairs for number, pairs in self.measurements.items()})

    def save_divergence(self, candidate: Candidate, divergence: Divergence) -> None:
        """Store the divergence of a candidate's training."""
        self.diverged[candidate.trial_number] = divergence
        self._storage.set_attribute(DIVERGENCES, {str(number): asdict(each) for number, each in self.diverged.items()})

    def save_seed_state(self, finalist: Finalist, seed: int, state: SeedState, *, period: int = 1) -> None:
        """Store the state of the retraining of a finalist with one seed, for the test set or for one of its periods."""
        place = (finalist.trial_number, seed, period)
        self.seed_states[place] = state
        asked = {"full_epochs": self._full_epochs, "retrain_seconds": self._limit, "test_periods": self._periods}
        self._stored_states["_".join(map(str, place if period > 1 else place[:2]))] = {**asdict(state), **asked}
        self._storage.set_attribute(SEED_STATES, self._stored_states)

    def save_time(self, seconds_left: float | None, *, confirmation_ended: bool = False) -> None:
        """Store the used seconds of ``limits.retrain_seconds``. Store nothing if there is no limit."""
        if self._limit is None or seconds_left is None:
            return
        self.seconds = self._limit - seconds_left
        self.confirmation_ended = self.confirmation_ended or confirmation_ended
        facts = {"of": self._round, "seconds": self.seconds, "confirmation_ended": self.confirmation_ended}
        self._storage.set_attribute(ROUND, facts)


def end_round(storage: StudyStorage) -> None:
    """Delete the seed states and reset the used time of a round. Call this after the results are written."""
    if storage.attribute(SEED_STATES):
        storage.set_attribute(SEED_STATES, {})
    if ended := storage.attribute(ROUND):
        storage.set_attribute(ROUND, {**ended, "seconds": 0.0})


def _numbers(name: str) -> tuple[int, int, int]:
    """Return the trial number, the seed and the period of a stored seed state. If no period is stored, the period is 1."""
    trial, seed, *period = name.split("_")
    return int(trial), int(seed), int(period[0]) if period else 1
