"""The best of the front once more, with fresh seeds: of a thousand single readings the highest are the luckiest, too."""

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
"""Between the numbers that seed two trials' fresh trainings; more than anybody asks for of one trial."""
CONFIRMED_FROM_FRONT = 3
"""Candidates for each model that is to be retrained."""
CONFIRMATION_SHARE = 0.5
"""Of ``limits.retrain_seconds``, for the confirmation; the rest is the retraining's."""
TIME_IS_UP = "limits.retrain_seconds"
"""Reason with which a training ends whose part of the time is over."""


@dataclass(frozen=True)
class Candidate:
    """A trial of the front, and what the search read of it once.

    Attributes:
        rank: in the search's front.
        params: the whole configuration.
        score: the study's metric on validation, as read in the search.
    """

    rank: int
    trial_number: int
    params: dict[str, Scalar]
    score: float


class Reading(NamedTuple):
    """What validation says of one fresh training: the study's metric and the log loss in nats, at its best epoch."""

    score: float
    loss: float


@dataclass(frozen=True)
class Divergence:
    """A fresh training whose loss was no number any more: the same seed would give it again."""

    seed: int
    reason: str

    @property
    def text(self) -> str:
        """As a failure of the candidate."""
        return f"fresh seed {self.seed}: {self.reason}"


@dataclass(frozen=True)
class Confirmation:
    """What fresh seeds say of a candidate.

    Attributes:
        scores: the study's metric on validation, a fresh seed each; the search's own reading is not among them, since it was
            chosen for being high.
        failure: why a fresh training could not be finished; None if none failed.
        losses: log loss on validation, one for each score.
    """

    candidate: Candidate
    scores: tuple[float, ...]
    failure: str | None = None
    losses: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        """Of the fresh scores; NaN without any."""
        return float(np.mean(self.scores)) if self.scores else math.nan

    @property
    def mean_loss(self) -> float:
        """Mean of the fresh log losses; NaN without any."""
        return float(np.mean(self.losses)) if self.losses else math.nan

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the fresh scores; None with fewer than two."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else None


@dataclass(frozen=True)
class Confirmed:
    """What became of the candidates.

    Attributes:
        ranked: best first, by mean fresh score, then lower mean fresh log loss; as the search ranked
            them where there was no time for a single seed of each.
        dropped: candidates that failed with a fresh seed.
        ended: what ended the work before all seeds were done, None otherwise.
    """

    ranked: list[Confirmation]
    dropped: list[Confirmation]
    ended: Decision | None


def confirm(
    candidates: Sequence[Candidate],
    runner: TrialRunner,
    *,
    seeds: int,
    known: Mapping[int, Sequence[Reading]],
    diverged: Mapping[int, Divergence],
    checkpoints: Path,
    on_report: Callable[[Candidate, int], OnReport],
    on_reading: Callable[[Candidate, list[Reading]], None],
    on_divergence: Callable[[Candidate, Divergence], None],
    seconds_left: float | None = None,
) -> Confirmed:
    """Trains each candidate again as its trial was trained, with fresh seeds, one round of all candidates after the other.

    Args:
        candidates: in the search's order.
        runner: that trains them.
        seeds: fresh trainings of each.
        known: fresh readings that an earlier, interrupted confirmation got, by trial number; they are not made again.
        diverged: trials that diverged in it, as they would again; what failed otherwise (for lack of memory, say) is tried again.
        checkpoints: folder of the trainings' states: one that was interrupted goes on from there.
        on_report: makes, for a candidate and the number of the seed (from 1), what hears of its progress.
        on_reading: called with a candidate's fresh scores after each of its trainings.
        on_divergence: told of a candidate that diverged.
        seconds_left: after which no more is trained; rounds that were not finished do not count. None: no limit.

    Raises:
        OSError: a training's state can't be kept.
    """
    deadline = None if seconds_left is None else time.monotonic() + seconds_left
    readings = {each.trial_number: list(known.get(each.trial_number, ()))[:seeds] for each in candidates}
    failures = {number: told.text for number, told in diverged.items() if told.seed <= seeds}
    ended: Decision | None = None
    for candidate, seed in ((candidate, seed) for seed in range(1, seeds + 1) for candidate in candidates):
        number = candidate.trial_number
        if number in failures or len(readings[number]) >= seed:
            continue
        if deadline is not None and time.monotonic() > deadline:
            ended = Decision(Action.STOP, TIME_IS_UP)
            break
        place = checkpoints / f"confirmation_{number:05d}_{seed}.pt"
        hear = until(deadline, on_report(candidate, seed))
        found = _fresh_training(runner, candidate, seed, hear, place)
        match found:
            case Reading():
                readings[number].append(found)
                on_reading(candidate, readings[number])
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
    return _ranked(candidates, readings, failures, ended)


def _fresh_training(
    runner: TrialRunner, candidate: Candidate, seed: int, hear: OnReport, place: Path
) -> Reading | Divergence | Decision | str:
    """What a fresh training found; or what ended it; or why it failed, where trying again may help."""
    number = SEEDS_APART * candidate.trial_number + seed
    try:
        outcome = runner.confirm(number, candidate.params, hear, checkpoint=place).outcome
    except NonFiniteLossError as error:
        return Divergence(seed, one_line(error, 300))
    except (RuntimeError, MemoryError) as error:
        return f"fresh seed {seed}: {one_line(error, 300)}"
    if outcome.decision.action is not Action.CONTINUE:
        return outcome.decision
    if outcome.best is None:
        raise RuntimeError("a training that ran to its end has an evaluation")
    return Reading(outcome.best.score, outcome.best.loss)


def _ranked(
    candidates: Sequence[Candidate],
    readings: Mapping[int, Sequence[Reading]],
    failures: Mapping[int, str],
    ended: Decision | None,
) -> Confirmed:
    """Rank by the mean over the rounds that all candidates have.

    With few validation windows mean scores are often equal: then the lower mean log loss ranks first, then the search's order.
    """

    def confirmation(candidate: Candidate, rounds: int | None, failure: str | None = None) -> Confirmation:
        own = readings[candidate.trial_number][:rounds]
        return Confirmation(candidate, tuple(r.score for r in own), failure, tuple(r.loss for r in own))

    left = [each for each in candidates if each.trial_number not in failures]
    rounds = min((len(readings[each.trial_number]) for each in left), default=0)
    confirmations = [confirmation(each, rounds) for each in left]
    if rounds:
        confirmations.sort(key=lambda each: (-each.mean, each.mean_loss))
    dropped = [
        confirmation(each, None, failures[each.trial_number]) for each in candidates if each.trial_number in failures
    ]
    return Confirmed(confirmations, dropped, ended)


def until(deadline: float | None, on_report: OnReport) -> OnReport:
    """Ends a training at ``deadline`` (of ``time.monotonic``); its best epoch so far is what it leaves. None: never."""
    if deadline is None:
        return on_report

    def decide(report: ProgressReport) -> Decision:
        decision = on_report(report)
        if decision.action is Action.CONTINUE and not report.last and time.monotonic() > deadline:
            return Decision(Action.STOP, TIME_IS_UP)
        return decision

    return decide
