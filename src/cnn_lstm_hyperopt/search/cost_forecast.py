"""Forecast of a search: duration, memory, disk space, and the share of random configurations that are within the limits."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cnn_lstm_hyperopt.config import SearchSpace
from cnn_lstm_hyperopt.config.schema.training import SMALL_DATA
from cnn_lstm_hyperopt.search import (
    Cost,
    Limits,
    Proposal,
    Proposer,
    StudyPlan,
    TrialRecord,
    random_configuration,
    with_fixed,
)
from cnn_lstm_hyperopt.space.domains import Scalar

SAMPLED = 1000
"""Number of random configurations that represent the search space in a forecast."""
TRAIN_SHARES = (1.0, 0.5, 0.25, 0.125)
SMALL_DATA_SECONDS, SMALL_DATA_SHARE = 8.0, 0.1
"""Maximum predicted seconds of a trial on small data, and the minimum share of the search space that stays within the limit.

With 8 s a trial, 30 trials take 2 minutes on 2 cores. The limit is higher if fewer than a tenth of the search space meets it.
"""
MAX_PASSES = 1000
"""Maximum number of passes over the training windows in an epoch."""
TRIAL_SECONDS, WORKER_SECONDS = 0.3, 6.0
"""Seconds to propose, build and store a trial (without training), and seconds to start a worker."""
MEASURED_TRIALS = 5
"""Minimum number of trials from which the cost of later trials is estimated."""
BYTES_A_WINDOW, BYTES_A_TRIAL = 12, 8000
"""Bytes on disk for the validation prediction of one window, and for one trial in study.db and trials.csv."""


@dataclass(frozen=True)
class Forecast:
    """Forecast of a search.

    Attributes:
        trials: number of trials still to run.
        workers: number of workers.
        seconds: expected wall-clock seconds of the search if the pruner ends no trial.
        max_seconds: the same if the sampler does not prefer cheap configurations; equal to ``seconds`` if the study's own trials
            show how much the sampler prefers them.
        trial_seconds: 10 %, 50 % and 90 % quantiles of the training seconds of a trial that runs all epochs.
        memory_mb: sum of the peak memory of all workers, in MB.
        disk_mb: disk space that the search uses, in MB.
        share_left: share of random configurations that are predicted to be within all limits.
    """

    trials: int
    workers: int
    seconds: float
    max_seconds: float
    trial_seconds: tuple[float, float, float]
    memory_mb: float
    disk_mb: float
    share_left: float


@dataclass(frozen=True)
class FinalForecast:
    """Forecast of the trainings after the search, for a configuration of mean cost.

    Attributes:
        confirmations, retrainings: number of confirmation trainings, and number of retrainings.
        confirmation_seconds, retraining_seconds: upper bounds of the seconds of all confirmations and of all retrainings, if
            trainings run one after the other and none stops early.
        refit_seconds: upper bound of the seconds of the final refit, which no time limit bounds; 0 without a refit.
    """

    confirmations: int
    confirmation_seconds: float
    retrainings: int
    retraining_seconds: float
    refit_seconds: float = 0.0


Priced = tuple[dict[str, Scalar], Cost]
"""A configuration and its predicted cost."""


class SampledSpace:
    """A random sample of a search space's configurations; the same seed gives the same sample."""

    def __init__(self, space: SearchSpace) -> None:
        self.configurations = [random_configuration(space, 0, number) for number in range(SAMPLED)]

    def within(self, limits: Limits, cost: Callable[[dict[str, Scalar]], Cost]) -> list[Priced]:
        """Return the sampled configurations within the limits, each with its predicted cost."""
        priced = [(params, cost(params)) for params in self.configurations]
        return [(params, price) for params, price in priced if limits.allow(price)]


def choose_train_share(sampled: SampledSpace, seconds_limit: float | None, cost: Callable[..., Cost]) -> float:
    """Return the largest of :data:`TRAIN_SHARES` with which at least half of the configurations are within the limit of seconds.

    If no share meets this condition, return the smallest of :data:`TRAIN_SHARES`.

    Args:
        sampled: random configurations of the search space.
        seconds_limit: maximum training seconds of a trial; None if there is no limit and trials use all training windows.
        cost: function that returns the predicted cost of a configuration that trains on ``train_share`` of the windows.
    """
    if seconds_limit is None:
        return TRAIN_SHARES[0]
    on_all = np.array([cost(params, train_share=1.0).seconds for params in sampled.configurations])
    for share in TRAIN_SHARES:
        if np.mean(share * on_all <= seconds_limit) >= 0.5:
            return share
    return TRAIN_SHARES[-1]


def small_data_seconds(sampled: SampledSpace, n_windows: int, cost: Callable[..., Cost]) -> float | None:
    """Return the maximum predicted seconds of a proposal on small data; None from :data:`SMALL_DATA` windows on.

    Large networks take most of the time of a search on small data, and small networks are as accurate there.

    Args:
        sampled: random configurations of the search space.
        n_windows: number of training and validation windows.
        cost: function that returns the predicted cost of a configuration.
    """
    if n_windows >= SMALL_DATA:
        return None
    seconds = [cost(params).seconds for params in sampled.configurations]
    return max(SMALL_DATA_SECONDS, float(np.quantile(seconds, SMALL_DATA_SHARE)))


def affordable_passes(
    sampled: SampledSpace, n_windows: int | None, seconds_limit: float | None, cost: Callable[..., Cost]
) -> int:
    """Return the largest number of passes in an epoch that leaves enough of the search space within the limits; at least 1.

    On small data, a tenth of the space stays within :data:`SMALL_DATA_SECONDS`. Otherwise, half of the space stays within
    ``seconds_limit``.

    Args:
        sampled: random configurations of the search space.
        n_windows: number of training and validation windows; None: the user chose the limit of seconds.
        seconds_limit: maximum seconds of a trial; None: no limit.
        cost: function that returns the predicted cost of a configuration with one pass.
    """
    small = n_windows is not None and n_windows < SMALL_DATA
    limit, share = (SMALL_DATA_SECONDS, SMALL_DATA_SHARE) if small else (seconds_limit, 0.5)
    if limit is None:
        return MAX_PASSES
    seconds = [cost(params).seconds for params in sampled.configurations]
    return int(min(max(1.0, limit / float(np.quantile(seconds, share))), MAX_PASSES))


def expected_epoch_share(max_epochs: int, min_patience: int) -> float:
    """Return the share of ``max_epochs`` that a trial is expected to run, for a study without trials.

    The estimate is the middle between the share at which patience can end a trial at the earliest, and 1 (all epochs).
    """
    return (min(max_epochs, min_patience + 1) + max_epochs) / (2 * max_epochs)


def measured_cost_share(plan: StudyPlan, within: Sequence[Priced], records: Sequence[TrialRecord]) -> float | None:
    """Return the mean predicted seconds of the trials that a model proposed, as a share of those of random configurations.

    Return None if a model has proposed fewer than :data:`MEASURED_TRIALS` of the finished trials.

    Args:
        plan: plan of the study.
        within: sampled configurations within the limits, at least one.
        records: trials of the study.
    """
    by_model = Proposer(plan).uses_model
    seconds = [
        float(record.attributes["estimated_seconds"])
        for record in records
        if record.finished and by_model(record.number) and "estimated_seconds" in record.attributes
    ]
    if len(seconds) < MEASURED_TRIALS:
        return None
    return float(np.mean(seconds) / np.mean([cost.seconds for _, cost in within]))


def forecast(
    plan: StudyPlan,
    within: Sequence[Priced],
    *,
    validation_seconds: Callable[[dict[str, Scalar], float], float],
    n_validation: int,
    trials: int,
    new: bool,
    workers: int,
    epoch_share: float,
    cost_share: float | None = None,
) -> Forecast:
    """Return the forecast of a search.

    Args:
        plan: plan of the study.
        within: sampled configurations within the limits, at least one.
        validation_seconds: function that returns the seconds of all evaluations of a configuration in a number of epochs.
        n_validation: number of validation windows.
        trials: number of trials still to run.
        new: True if the study has no trial yet. In this case, the first configurations of the study are known exactly.
        workers: number of workers.
        epoch_share: mean share of ``max_epochs`` that a trial runs.
        cost_share: see :func:`measured_cost_share`; None: the share that is usual for the study's sampler.
    """
    proposer = Proposer(plan)
    expected, highest = (proposer.cost_share, 1.0) if cost_share is None else (cost_share, cost_share)

    def wall(params: dict[str, Scalar], cost: Cost, share: float = epoch_share) -> float:
        return TRIAL_SECONDS + share * cost.seconds + validation_seconds(params, share * plan.max_epochs)

    def first_wall(proposal: Proposal) -> float:
        params = with_fixed(plan.space, proposal.params)
        return wall(params, plan.cost(params))

    first = [first_wall(proposal) for proposal in proposer.first(trials)] if new else []
    mean = float(np.mean([wall(params, cost) for params, cost in within]))

    def search_seconds(share: float) -> float:
        later = TRIAL_SECONDS + share * (mean - TRIAL_SECONDS)
        durations = first + [later] * (trials - len(first))
        return makespan(durations, workers) + (WORKER_SECONDS if workers > 1 else 0.0)

    costs = [cost for _, cost in within]
    low, median, high = (float(q) for q in np.quantile([cost.seconds for cost in costs], (0.1, 0.5, 0.9)))
    return Forecast(
        trials=trials,
        workers=workers,
        seconds=search_seconds(expected),
        max_seconds=search_seconds(highest),
        trial_seconds=(low, median, high),
        memory_mb=workers * max(cost.memory_mb for cost in costs),
        disk_mb=trials * (BYTES_A_TRIAL + BYTES_A_WINDOW * n_validation) / 1e6,
        share_left=len(within) / SAMPLED,
    )


def final_forecast(
    plan: StudyPlan,
    within: Sequence[Priced],
    *,
    validation_seconds: Callable[[dict[str, Scalar], float], float],
    evaluation_seconds: Callable[[dict[str, Scalar]], float],
    confirmations: int,
    retrainings: int,
    periods: Sequence[float] = (1.0,),
    refit: float = 0.0,
    full_epochs: int,
    train_share: float,
    seconds_limit: float | None,
) -> FinalForecast:
    """Return upper bounds of the seconds for confirmations and retrainings after a search.

    Args:
        plan, within, validation_seconds: the same arguments as in :func:`forecast`.
        evaluation_seconds: function that returns the seconds of one evaluation of a configuration on all validation windows.
        confirmations: number of confirmations, which are trainings with the same settings as trials.
        retrainings: number of retrainings, which are trainings of ``full_epochs`` epochs on all windows, for each period
            of the test set.
        periods: number of training windows of each period, as a multiple of the first period's.
        refit: number of windows of all trainings of the final refit, as a multiple of the first period's training windows.
        full_epochs: number of epochs of a retraining.
        train_share: share of the training windows that trials use.
        seconds_limit: value of the setting ``limits.retrain_seconds``, which limits each confirmation and retraining; None
            without a limit.
    """
    steps = float(np.mean([cost.seconds for _, cost in within])) / plan.max_epochs
    evaluation = float(np.mean([evaluation_seconds(params) for params, _ in within]))
    evaluations = float(np.mean([validation_seconds(params, plan.max_epochs) for params, _ in within]))
    confirming = confirmations * (plan.max_epochs * steps + evaluations)
    retraining = sum(retrainings * full_epochs * (size * steps / train_share + evaluation) for size in periods)
    if seconds_limit is not None and confirming + retraining > seconds_limit:
        share = seconds_limit / (confirming + retraining)
        confirming, retraining = share * confirming, share * retraining
    refitting = refit * full_epochs * steps / train_share
    return FinalForecast(confirmations, confirming, retrainings * len(periods), retraining, refitting)


def makespan(durations: Sequence[float], workers: int) -> float:
    """Return the seconds until all jobs have ended if each job starts on the first free worker (list scheduling, Graham 1966)."""
    free = [0.0] * workers
    for duration in durations:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)
