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
from cnn_lstm_hyperopt.search import remaining_candidates
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
        ranked: candidates, the best first. Candidates that remained for more rounds are better. With equal rounds, a lower
            mean log loss with new seeds is better, then a higher mean score. If no round was completed, the order of the search
            is kept.
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
    keep: int,
    known: Mapping[int, Sequence[Measurement]],
    diverged: Mapping[int, Divergence],
    checkpoints: Path,
    on_report: Callable[[Candidate, int], OnReport],
    on_measurement: Callable[[Candidate, list[Measurement]], None],
    on_divergence: Callable[[Candidate, Divergence], None],
    seconds_left: float | None = None,
) -> Confirmed:
    """Train the candidates as in the search, but with new seeds. In each round every remaining candidate is trained once.

    The better half of the candidates remains for the next round (sequential halving, Karnin, Koren & Somekh 2013).

    Args:
        candidates: candidates in the order of the search.
        runner: trains the candidates.
        seeds: number of rounds, which is the number of new seeds of the candidates that remain to the end.
        keep: minimum number of candidates that remain, which is the number of models to be retrained.
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
    rounds = _Rounds(
        {each.trial_number: list(known.get(each.trial_number, ()))[:seeds] for each in candidates},
        {number: (each.seed, each.text) for number, each in diverged.items() if each.seed <= seeds},
        None if seconds_left is None else time.monotonic() + seconds_left,
        runner,
        checkpoints,
        on_report,
        on_measurement,
        on_divergence,
    )
    completed = dict.fromkeys(rounds.measurements, 0)
    left, ended = list(candidates), None
    for seed in range(1, seeds + 1):
        ended = next(filter(None, (rounds.train(candidate, seed) for candidate in left)), None)
        if ended is not None:
            break
        left = [each for each in left if not rounds.failed(each, seed)]
        completed.update((each.trial_number, seed) for each in left)
        best = sorted(left, key=lambda each: _order(rounds.measurements[each.trial_number][:seed]))
        left = [each for each in left if each in best[: remaining_candidates(len(best), keep)]]
    failures = {
        each.trial_number: rounds.failures[each.trial_number][1] for each in candidates if rounds.failed(each, seeds)
    }
    return _ranked(candidates, rounds.measurements, failures, completed, ended)


@dataclass(frozen=True)
class _Rounds:
    """Trainings of a confirmation; the attributes without description are those of :func:`confirm`.

    Attributes:
        measurements: measurements by trial number; each training adds one.
        failures: seed and reason of failed trainings by trial number.
        deadline: time of the clock ``time.monotonic`` at which the confirmation ends; None: no limit.
    """

    measurements: dict[int, list[Measurement]]
    failures: dict[int, tuple[int, str]]
    deadline: float | None
    runner: TrialRunner
    checkpoints: Path
    on_report: Callable[[Candidate, int], OnReport]
    on_measurement: Callable[[Candidate, list[Measurement]], None]
    on_divergence: Callable[[Candidate, Divergence], None]

    def failed(self, candidate: Candidate, seed: int) -> bool:
        """Return whether a training of the candidate with this seed or an earlier seed failed."""
        return candidate.trial_number in self.failures and self.failures[candidate.trial_number][0] <= seed

    def train(self, candidate: Candidate, seed: int) -> Decision | None:
        """Train a candidate with one new seed, unless the result is known.

        Return the decision that ends the confirmation, or None.
        """
        number = candidate.trial_number
        if self.failed(candidate, seed) or len(self.measurements[number]) >= seed:
            return None
        if self.deadline is not None and time.monotonic() > self.deadline:
            return Decision(Action.STOP, TIME_IS_UP)
        place = self.checkpoints / f"confirmation_{number:05d}_{seed}.pt"
        listener = until(self.deadline, self.on_report(candidate, seed))
        found = _new_training(self.runner, candidate, seed, listener, place)
        match found:
            case Measurement():
                self.measurements[number].append(found)
                self.on_measurement(candidate, self.measurements[number])
            case Divergence():
                self.failures[number] = seed, found.text
                self.on_divergence(candidate, found)
            case Decision():
                return found
            case _:
                self.failures[number] = seed, found
                return None
        delete_checkpoint(place)
        return None


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


def _order(measured: Sequence[Measurement]) -> tuple[float, float]:
    """Return the sort key of a candidate: its mean log loss, then its negated mean score."""
    return float(np.mean([each.loss for each in measured])), -float(np.mean([each.score for each in measured]))


def _ranked(
    candidates: Sequence[Candidate],
    measurements: Mapping[int, Sequence[Measurement]],
    failures: Mapping[int, str],
    completed: Mapping[int, int],
    ended: Decision | None,
) -> Confirmed:
    """Rank the candidates, first by the number of completed rounds and then by their mean log loss; see :data:`RANKED_BY`.

    If log losses are equal, the higher mean score of the study's metric ranks first. If the mean scores are also equal, the
    order of the search decides.

    Args:
        completed: for each trial number, the number of rounds that the candidate and all others of these rounds completed.
            Measurements of an incomplete round are ignored.
    """

    def confirmation(candidate: Candidate, failure: str | None = None) -> Confirmation:
        own = measurements[candidate.trial_number]
        own = own if failure is not None else own[: completed[candidate.trial_number]]
        return Confirmation(candidate, tuple(r.score for r in own), failure, tuple(r.loss for r in own))

    left = [each for each in candidates if each.trial_number not in failures]
    confirmations = [confirmation(each) for each in left]
    if any(each.scores for each in confirmations):
        confirmations.sort(key=lambda each: (-len(each.scores), each.mean_loss, -each.mean))
    dropped = [confirmation(each, failures[each.trial_number]) for each in candidates if each.trial_number in failures]
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
