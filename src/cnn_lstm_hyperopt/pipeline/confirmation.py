"""Confirmation: the best trials are trained again with fresh seeds, because the best scores of a search are too high."""

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
"""Difference between the first seed numbers of two consecutive trials; larger than the maximum number of seeds."""
RANKED_BY = "log_loss"
"""Metric whose mean over fresh seeds ranks the candidates, for every metric of the study.

The log loss uses each window's probability. An accuracy counts only which side of a threshold the probability is on, so
differences between good candidates are within its noise.
"""
CONFIRMATION_SHARE = 0.5
"""Share of ``limits.retrain_seconds`` that the confirmation may use; the retraining gets the rest."""
TIME_IS_UP = "limits.retrain_seconds"
"""Reason of the end of a training that the time limit stopped."""


@dataclass(frozen=True)
class Candidate:
    """Trial that the confirmation trains again.

    Attributes:
        rank: rank of the trial in the front of the search, from 1; None: the trial is not on the front.
        params: the full configuration.
        score: the study's metric on the validation windows, measured in the search.
    """

    rank: int | None
    trial_number: int
    params: dict[str, Scalar]
    score: float


class Measurement(NamedTuple):
    """Validation result of one fresh training at its best epoch, with the study's metric and the log loss in nats."""

    score: float
    loss: float


@dataclass(frozen=True)
class Divergence:
    """Failure of a fresh training whose loss became NaN or infinite; the same seed would diverge again."""

    seed: int
    reason: str

    @property
    def text(self) -> str:
        """Failure of the candidate as a sentence."""
        return f"fresh seed {self.seed}: {self.reason}"


@dataclass(frozen=True)
class Confirmation:
    """Validation scores of a candidate that was trained with fresh seeds.

    Attributes:
        scores: the study's metric on validation for each fresh seed. The score of the search is not included: it is biased.
        failure: reason of a failed training; None if no training failed.
        losses: log loss on validation (nats) for each fresh seed.
    """

    candidate: Candidate
    scores: tuple[float, ...]
    failure: str | None = None
    losses: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        """Mean of the scores with fresh seeds; NaN without scores."""
        return float(np.mean(self.scores)) if self.scores else math.nan

    @property
    def mean_loss(self) -> float:
        """Mean of the log losses with fresh seeds; NaN without losses."""
        return float(np.mean(self.losses)) if self.losses else math.nan

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the scores with fresh seeds; None with fewer than two scores."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else None


@dataclass(frozen=True)
class Confirmed:
    """Result of the confirmation.

    Attributes:
        ranked: candidates, best first, by lower mean log loss with fresh seeds, then by higher mean score. In the order of
            the search if no round was completed.
        dropped: candidates whose training with a fresh seed failed.
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
    """Train each candidate as in the search, but with fresh seeds; a round trains every candidate once.

    Args:
        candidates: candidates in the order of the search.
        runner: trains the candidates.
        seeds: number of fresh trainings of each candidate.
        known: measurements from an interrupted confirmation, by trial number. These trainings are not repeated.
        diverged: divergences from an interrupted confirmation, by trial number. Trainings with other failures (such as a lack
            of memory) are repeated.
        checkpoints: folder of the checkpoints; interrupted trainings continue from these.
        on_report: creates the progress listener of a candidate and seed number (from 1).
        on_measurement: called with all measurements of a candidate after each training of the candidate.
        on_divergence: called when a candidate diverges.
        seconds_left: time limit in seconds; None: no limit. Measurements of an incomplete round are ignored.

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
        found = _fresh_training(runner, candidate, seed, listener, place)
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


def _fresh_training(
    runner: TrialRunner, candidate: Candidate, seed: int, listener: OnReport, place: Path
) -> Measurement | Divergence | Decision | str:
    """Train once; return the measurement, a divergence, the decision that ended it, or the reason of another failure."""
    number = SEEDS_APART * candidate.trial_number + seed
    try:
        outcome = runner.confirm(number, candidate.params, listener, checkpoint=place).outcome
    except NonFiniteLossError as error:
        return Divergence(seed, one_line(error, 300))
    except (RuntimeError, MemoryError) as error:
        return f"fresh seed {seed}: {one_line(error, 300)}"
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
    """Rank the candidates by their mean log loss over the rounds that all candidates completed, see :data:`RANKED_BY`.

    Of equal log losses, the higher mean score of the study's metric ranks first, then the order of the search decides.
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
    """Wrap a listener so that its training ends at ``deadline`` (``time.monotonic``; None: no deadline)."""
    if deadline is None:
        return on_report

    def decide(report: ProgressReport) -> Decision:
        decision = on_report(report)
        if decision.action is Action.CONTINUE and not report.last and time.monotonic() > deadline:
            return Decision(Action.STOP, TIME_IS_UP)
        return decision

    return decide
