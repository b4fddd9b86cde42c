"""Confirmation, in which the best trials are trained again with new seeds.

The confirmation is needed because the best scores of a search are too high on average.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnn_lstm_hyperopt.progress import Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.training import NonFiniteLossError, delete_checkpoint
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner
from cnn_lstm_hyperopt.utils.text import one_line

SEEDS_APART = 1000
"""Difference between the first seed numbers of two consecutive trials.

The difference is larger than the maximum number of seeds.
"""
RANKED_BY = "log_loss"
"""Metric that ranks the candidates by its mean over new seeds.

The same metric ranks the candidates for every metric of the study.

The log loss uses the probability of each window. An accuracy uses only the side of the threshold on which a probability is.
So differences in accuracy between good candidates are smaller than the noise of the accuracy.
"""
CONFIRMATION_SHARE = 0.5
"""Share of ``limits.retrain_seconds`` that the confirmation may use. The retraining gets the remaining time."""
TIME_IS_UP = "limits.retrain_seconds"
"""Recorded reason for the end of a training that the time limit stopped."""


@dataclass(frozen=True)
class Candidate:
    """Candidate for retraining: a trial that is trained again in the confirmation.

    Attributes:
        rank: rank of the trial in the Pareto front of the search, from 1; None: the trial is not on the front.
        params: the full configuration.
        score: the study's metric on the validation windows, measured in the search.
    """

    rank: int | None
    trial_number: int
    params: dict[str, Scalar]
    score: float


class Measurement(NamedTuple):
    """Validation result of a training with a new seed at its best epoch: the study's metric, and the log loss in nats."""

    score: float
    loss: float


@dataclass(frozen=True)
class Divergence:
    """Failure of a training with a new seed whose loss became NaN or infinite.

    A repetition with the same seed would also diverge.
    """

    seed: int
    reason: str

    @property
    def text(self) -> str:
        """Sentence that describes the failure of the candidate."""
        return f"new seed {self.seed}: {self.reason}"


@dataclass(frozen=True)
class Confirmation:
    """Validation scores of a candidate that was trained with new seeds.

    Attributes:
        scores: the study's metric on validation for each new seed. The score in the search is not included, because it is
            biased.
        failure: reason of a failed training; None if no training failed.
        losses: log loss on validation (nats) for each new seed.
    """

    candidate: Candidate
    scores: tuple[float, ...]
    failure: str | None = None
    losses: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        """Mean of the candidate's scores with new seeds; NaN without scores."""
        return float(np.mean(self.scores)) if self.scores else math.nan

    @property
    def mean_loss(self) -> float:
        """Mean of the candidate's log losses with new seeds; NaN without losses."""
        return float(np.mean(self.losses)) if self.losses else math.nan

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the candidate's scores with new seeds; None with fewer than two scores."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else None


@dataclass(frozen=True)
class Confirmed:
    """Result of the confirmation of all candidates.

    Attributes:
        ranked: candidates, the best first. A lower mean log loss with new seeds is better, then a higher mean score. If no
            round was completed, the order of the search is kept.
        dropped: candidates for which a training with a new seed failed.
        ended: decision that ended the confirmation early; None if the confirmation is complete.
    """

    ranked: list[Confirmation]
    dropped: list[Confirmation]
    ended: Decision | None


def confirm(
    candidates: Sequence[Candidate],
    runner: TrialRunner,
    *,
    seeds: int,
    known: Mapping[int, Sequence[Measurement]],
    diverged: Mapping[int, Divergence],
    checkpoints: Path,
    on_report: Callable[[Candidate, int], OnReport],
    on_measurement: Callable[[Candidate, list[Measurement]], None],
    on_divergence: Callable[[Candidate, Divergence], None],
    seconds_left: float | None = None,
) -> Confirmed:
    """Train each candidate as in the search, but with new seeds. In each round every candidate is trained once.

    Args:
        candidates: candidates in the order of the search.
        runner: trains the candidates.
        seeds: number of new seeds for each candidate, which is the number of rounds.
        known: measurements from an interrupted confirmation, by trial number. These trainings are not repeated.
        diverged: divergences from an interrupted confirmation, by trial number. Trainings with other failures (such as a lack
            of memory) are repeated.
        checkpoints: folder of the checkpoints. Interrupted trainings are resumed from them.
        on_report: function that creates the progress listener for a candidate and a seed number (from 1).
        on_measurement: called with all measurements of a candidate after each training of the candidate.
        on_divergence: called when a candidate diverges.
        seconds_left: time limit in seconds; None: no limit. Measurements of a round that the limit ends are ignored.

    Raises:
        OSError: a checkpoint can't be stored.
    """
    deadline = None if seconds_left is None else time.monotonic() + seconds_left
    measurements = {each.trial_number: list(known.get(each.trial_number, ()))[:seeds] for each in candidates}
    failures = {number: each.text for number, each in diverged.items() if each.seed <= seeds}
    ended: Decision | None = None
    for candidate, seed in ((candidate, seed) for seed in range(1, seeds + 1) for candidate in candidates):
        number = candidate.trial_number
        if number in failures or len(measurements[number]) >= seed:
            continue
        if deadline is not None and time.monotonic() > deadline:
            ended = Decision(Action.STOP, TIME_IS_UP)
            break
        place = checkpoints / f"confirmation_{number:05d}_{seed}.pt"
        listener = until(deadline, on_report(candidate, seed))
        found = _new_training(runner, candidate, seed, listener, place)
        match found:
            case Measurement():
                measurements[number].append(found)
                on_measurement(candidate, measurements[number])
            case Divergence():
                failures[number] = found.text
                on_divergence(candidate, found)
            case Decision():
                ended = found
                break
            case _:
                failures[number] = found
                continue
        delete_checkpoint(place)
    return _ranked(candidates, measurements, failures, ended)


def _new_training(
    runner: TrialRunner, candidate: Candidate, seed: int, listener: OnReport, place: Path
) -> Measurement | Divergence | Decision | str:
    """Train a candidate with one new seed.

    Return the measurement, a divergence, the decision that ended the training, or the reason of another failure.
    """
    number = SEEDS_APART * candidate.trial_number + seed
    try:
        outcome = runner.confirm(number, candidate.params, listener, checkpoint=place).outcome
    except NonFiniteLossError as error:
        return Divergence(seed, one_line(error, 300))
    except (RuntimeError, MemoryError) as error:
        return f"new seed {seed}: {one_line(error, 300)}"
    if outcome.decision.action is not Action.CONTINUE:
        return outcome.decision
    if outcome.best is None:
        raise RuntimeError("a complete training has an evaluation")
    return Measurement(outcome.best.score, outcome.best.loss)


def _ranked(
    candidates: Sequence[Candidate],
    measurements: Mapping[int, Sequence[Measurement]],
    failures: Mapping[int, str],
    ended: Decision | None,
) -> Confirmed:
    """Rank the candidates by their mean log loss in the rounds that all candidates completed; see :data:`RANKED_BY`.

    If log losses are equal, the higher mean score of the study's metric ranks first. If the mean scores are also equal, the
    order of the search decides.
    """

    def confirmation(candidate: Candidate, rounds: int | None, failure: str | None = None) -> Confirmation:
        own = measurements[candidate.trial_number][:rounds]
        return Confirmation(candidate, tuple(r.score for r in own), failure, tuple(r.loss for r in own))

    left = [each for each in candidates if each.trial_number not in failures]
    rounds = min((len(measurements[each.trial_number]) for each in left), default=0)
    confirmations = [confirmation(each, rounds) for each in left]
    if rounds:
        confirmations.sort(key=lambda each: (each.mean_loss, -each.mean))
    dropped = [
        confirmation(each, None, failures[each.trial_number]) for each in candidates if each.trial_number in failures
    ]
    return Confirmed(confirmations, dropped, ended)


def until(deadline: float | None, on_report: OnReport) -> OnReport:
    """Return a progress listener that forwards to another listener and ends the training at ``deadline``.

    The deadline is a time of the clock ``time.monotonic``; None: no deadline.
    """
    if deadline is None:
        return on_report

    def decide(report: ProgressReport) -> Decision:
        decision = on_report(report)
        if decision.action is Action.CONTINUE and not report.last and time.monotonic() > deadline:
            return Decision(Action.STOP, TIME_IS_UP)
        return decision

    return decide
