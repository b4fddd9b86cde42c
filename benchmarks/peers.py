"""Searches that are not ours, asked and told without this package, for the tables of ``benchmarks/search.py``.

All see (accuracy, ln seconds, ln MB) and have their own defaults. Samplers of Optuna run without pruning, but for two: *naive*
prunes by accuracy alone, with Optuna's ``MedianPruner``; *multimetric* does as OptunaHub's ``MultiMetricPruner`` is described
(that package is fetched from the network when it is used): at every epoch the trials that came that far are ranked by
non-domination in all three objectives, and ``MedianPruner``'s rule is put to the ranks. ``moasha`` is Syne Tune's (Schmucker et
al. 2021), ``smac`` is SMAC3 with ParEGO (Knowles 2006); both are in the extra ``benchmark``.

Pruners are asked at whole epochs.
"""

import abc
import heapq
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from cnn_lstm_hyperopt.config import Choices, Fixed, FloatRange, IntRange
from cnn_lstm_hyperopt.errors import InputError, StudyFailedError
from cnn_lstm_hyperopt.pareto import non_dominated_ranks
from cnn_lstm_hyperopt.search import EpochMeasurement, random_configuration
from cnn_lstm_hyperopt.utils.rng import stream_seed
from problems import Problem
from problems.runs import Row

MAX_FAILURES_IN_A_ROW = 10
STARTUP = 5
"""Trials that ``MedianPruner`` waits for by default."""

Losses = tuple[float, float, float]


def losses(measurement: EpochMeasurement) -> Losses:
    """What is to be small: error, ln seconds, ln MB."""
    return 1 - measurement.score, math.log(max(measurement.seconds, 1e-3)), math.log(measurement.size_mb)


class Peer(abc.ABC):
    """Asks for trials and hears of them. Numbers count from 0, in the order of asking."""

    @abc.abstractmethod
    def ask(self, number: int) -> dict[str, Any]:
        """The configuration of the next trial: every parameter that exists."""

    def prunes(self, number: int, measurement: EpochMeasurement) -> bool:
        """Whether the trial should end at this whole epoch, which is not its last."""
        return False

    @abc.abstractmethod
    def tell(self, number: int, state: TrialState, measurement: EpochMeasurement | None) -> None:
        """How the trial ended, and its last measurement; COMPLETE ones have one."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Lets go of what it holds."""


class OptunaPeer(Peer):
    """A sampler of Optuna, and a rule that prunes, if any."""

    def __init__(
        self, problem: Problem, sampler: optuna.samplers.BaseSampler, pruner: "MedianRule | None" = None
    ) -> None:
        self._problem, self._pruner = problem, pruner
        self._study = optuna.create_study(directions=["minimize"] * 3, sampler=sampler)
        self._trials: dict[int, optuna.Trial] = {}

    def ask(self, number: int) -> dict[str, Any]:
        """See the base class."""
        trial = self._trials[number] = self._study.ask()
        space, params = self._problem.space, dict[str, Any]()
        for name in space.active(params):
            match space.domains[name]:
                case Fixed(value):
                    params[name] = value
                case Choices(values):
                    params[name] = trial.suggest_categorical(name, values)
                case IntRange(low, high, log):
                    params[name] = trial.suggest_int(name, low, high, log=log)
                case FloatRange(low, high, log):
                    params[name] = trial.suggest_float(name, low, high, log=log)
            params[name] = space.legal(name, params[name], params)
        return params

    def prunes(self, number: int, measurement: EpochMeasurement) -> bool:
        """See the base class."""
        return self._pruner is not None and self._pruner.prunes(number, measurement)

    def tell(self, number: int, state: TrialState, measurement: EpochMeasurement | None) -> None:
        """See the base class."""
        trial = self._trials.pop(number)
        if self._pruner is not None:
            self._pruner.ended(number, finished=state is not TrialState.FAIL)
        if state is TrialState.COMPLETE and measurement is not None:
            self._study.tell(trial, losses(measurement))
        else:
            self._study.tell(trial, state=state)


class MedianRule:
    """``optuna.pruners.MedianPruner`` with its defaults, put to one number a trial and epoch, small ones are good.

    Args:
        joint: whether the number is the non-dominated rank in all three objectives at that epoch among all trials that came so
            far, worked out anew at each question; otherwise it is the error.
    """

    def __init__(self, *, joint: bool) -> None:
        self._joint = joint
        self._measurements: dict[int, dict[int, Losses]] = {}
        self._ended: set[int] = set()

    def prunes(self, number: int, measurement: EpochMeasurement) -> bool:
        """Notes the measurement; whether the trial should end here."""
        epoch = round(measurement.epoch)
        self._measurements.setdefault(epoch, {})[number] = losses(measurement)
        if len(self._ended) < STARTUP:
            return False
        here = self._numbers(epoch)
        others = [value for other, value in here.items() if other in self._ended]
        if not others:
            return False
        epochs = [each for each in self._measurements if number in self._measurements[each]]
        best = min(self._numbers(each)[number] for each in epochs)
        return bool(best > np.median(others))

    def ended(self, number: int, *, finished: bool) -> None:
        """The trial is one that others are held against from now on, or its readings are forgotten."""
        if finished:
            self._ended.add(number)
        else:
            for readings in self._measurements.values():
                readings.pop(number, None)

    def _numbers(self, epoch: int) -> dict[int, float]:
        readings = self._measurements[epoch]
        if not self._joint:
            return {number: each[0] for number, each in readings.items()}
        ranks = non_dominated_ranks(list(readings.values()))
        return dict(zip(readings, map(float, ranks), strict=True))


class MoashaPeer(Peer):
    """Random configurations and the scheduler ``MOASHA`` of Syne Tune: reduction factor 3, from the first epoch on."""

    _METRICS = ("error", "ln_seconds", "ln_mb")

    def __init__(self, problem: Problem, seed: int) -> None:
        try:
            from syne_tune.backend.trial_status import Trial
            from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA
        except ImportError as error:
            raise InputError(f"moasha needs syne-tune ({error}): pip install -e '.[benchmark]'") from error
        self._problem, self._seed, self._make = problem, seed, Trial
        self._scheduler = MOASHA(
            config_space={}, metrics=list(self._METRICS), time_attr="epoch", max_t=problem.max_epochs, random_seed=seed
        )
        self._trials: dict[int, Any] = {}

    def ask(self, number: int) -> dict[str, Any]:
        """See the base class."""
        trial = self._trials[number] = self._make(number, {}, datetime(2000, 1, 1, tzinfo=UTC))
        self._scheduler.on_trial_add(trial)
        return random_configuration(self._problem.space, self._seed, number)

    def prunes(self, number: int, measurement: EpochMeasurement) -> bool:
        """See the base class."""
        decision = self._scheduler.on_trial_result(self._trials[number], self._result(measurement))
        return bool(decision == "STOP")

    def tell(self, number: int, state: TrialState, measurement: EpochMeasurement | None) -> None:
        """See the base class."""
        trial = self._trials.pop(number)
        if state is TrialState.COMPLETE and measurement is not None:
            self._scheduler.on_trial_complete(trial, self._result(measurement))
        else:
            self._scheduler.on_trial_remove(trial)

    def _result(self, measurement: EpochMeasurement) -> dict[str, float]:
        return {"epoch": round(measurement.epoch), **dict(zip(self._METRICS, losses(measurement), strict=True))}


class SmacPeer(Peer):
    """SMAC3's facade for hyperparameters (a random forest) with ParEGO; one seed a configuration."""

    def __init__(self, problem: Problem, seed: int) -> None:
        try:
            import ConfigSpace
            import smac
            from smac.multi_objective.parego import ParEGO
            from smac.runhistory import TrialValue
            from smac.runhistory.enumerations import StatusType
        except ImportError as error:
            raise InputError(f"smac needs SMAC3 ({error}): pip install -e '.[benchmark]'") from error
        self._problem, self._value, self._status = problem, TrialValue, StatusType
        self._folder = tempfile.TemporaryDirectory()
        facade = smac.HyperparameterOptimizationFacade
        scenario = smac.Scenario(
            self._space(ConfigSpace),
            objectives=["error", "ln_seconds", "ln_mb"],
            deterministic=True,
            n_trials=10_000,
            seed=seed,
            output_directory=self._folder.name,
        )
        self._smac = facade(
            scenario,
            lambda configuration, seed: [0.0] * 3,
            initial_design=facade.get_initial_design(scenario, n_configs=20),
            multi_objective_algorithm=ParEGO(scenario),
            logging_level=False,
            overwrite=True,
        )
        self._infos: dict[int, Any] = {}

    def _space(self, library: Any) -> Any:
        found = library.ConfigurationSpace(seed=0)
        axes: dict[str, Any] = {}
        for name, domain in self._problem.space.searched().items():
            match domain:
                case Choices(values):
                    axis: Any = library.CategoricalHyperparameter(name, [str(place) for place in range(len(values))])
                case IntRange(low, high, log):
                    axis = library.UniformIntegerHyperparameter(name, low, high, log=log)
                case FloatRange(low, high, log):
                    axis = library.UniformFloatHyperparameter(name, low, high, log=log)
            axes[name] = axis
            found.add(axis)
        for name, axis in axes.items():
            conditions = []
            for parent, values in self._problem.space.specs[name].when.items():
                if parent not in axes:
                    continue
                domain = self._problem.space.domains[parent]
                known = [
                    str(domain.values.index(value)) if isinstance(domain, Choices) else value
                    for value in values
                    if domain.contains(value)
                ]
                conditions.append(library.InCondition(axis, axes[parent], known))
            if conditions:
                found.add(conditions[0] if len(conditions) == 1 else library.AndConjunction(*conditions))
        return found

    def ask(self, number: int) -> dict[str, Any]:
        """See the base class."""
        info = self._infos[number] = self._smac.ask()
        space, params = self._problem.space, dict[str, Any]()
        for name in space.active(params):
            domain = space.domains[name]
            if isinstance(domain, Fixed):
                params[name] = domain.value
                continue
            value = info.config[name]
            params[name] = domain.values[int(value)] if isinstance(domain, Choices) else value
            if isinstance(domain, IntRange):
                params[name] = int(params[name])
            elif isinstance(domain, FloatRange):
                params[name] = float(params[name])
            params[name] = space.legal(name, params[name], params)
        return params

    def tell(self, number: int, state: TrialState, measurement: EpochMeasurement | None) -> None:
        """See the base class."""
        info = self._infos.pop(number)
        if state is TrialState.COMPLETE and measurement is not None:
            self._smac.tell(info, self._value(cost=list(losses(measurement)), time=measurement.seconds))
        else:
            worst = [1.0, 20.0, 20.0]
            self._smac.tell(info, self._value(cost=worst, status=self._status.CRASHED))

    def close(self) -> None:
        """See the base class."""
        self._folder.cleanup()


PEERS: dict[str, Callable[[Problem, int], Peer]] = {
    "optuna-tpe": lambda problem, seed: OptunaPeer(problem, optuna.samplers.TPESampler(seed=seed)),
    "optuna-tpe-mv": lambda problem, seed: OptunaPeer(
        problem, optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
    ),
    "optuna-gp": lambda problem, seed: OptunaPeer(problem, optuna.samplers.GPSampler(seed=seed)),
    "optuna-nsga2": lambda problem, seed: OptunaPeer(problem, optuna.samplers.NSGAIISampler(seed=seed)),
    "optuna-random": lambda problem, seed: OptunaPeer(problem, optuna.samplers.RandomSampler(seed=seed)),
    "optuna-tpe+naive": lambda problem, seed: OptunaPeer(
        problem, optuna.samplers.TPESampler(seed=seed), MedianRule(joint=False)
    ),
    "optuna-tpe+multimetric": lambda problem, seed: OptunaPeer(
        problem, optuna.samplers.TPESampler(seed=seed), MedianRule(joint=True)
    ),
    "moasha": MoashaPeer,
    "smac": SmacPeer,
}
"""By name: (problem, seed) → peer."""
TO_BEAT = ("optuna-tpe", "optuna-tpe-mv")
"""A comparison measures seconds against the better of these, seed by seed."""


@dataclass
class _Running:
    """A trial on a worker; ``measurement`` is the one that it has reached, None when there is none."""

    number: int
    params: dict[str, Any]
    readings: Iterator[tuple[float, float, float, float]]
    sampler_ms: float
    started: float
    pruner_ms: float = 0.0
    measurement: EpochMeasurement | None = None
    reason: str = ""
    decisions: int = 0

    def advance(self) -> bool:
        """Takes the next measurement; false when there is none, for whatever reason."""
        try:
            raw = next(self.readings, None)
        except Exception as error:  # noqa: BLE001 - whatever the problem raises is its trial's failure, as in our engine
            self.reason = f"{type(error).__name__}: {error}"
            return False
        if raw is None:
            self.reason = "" if self.measurement is not None else "the function yielded nothing"
            return False
        if not all(map(math.isfinite, raw)):
            self.reason = f"the measurement of epoch {raw[0]:g} is not finite: {tuple(raw)}"
            return False
        self.measurement = EpochMeasurement(*raw)
        return True


def run_peer(
    problem: Problem, name: str, seed: int, *, n_trials: int, workers: int, advance: Callable[[int], None]
) -> tuple[list[Row], dict[int, int]]:
    """A whole search of a peer, its workers in simulated time: rows as trials ended, and decisions of its pruner by trial.

    Args:
        advance: told how many trials have begun.

    Raises:
        InputError: the peer's package is not installed.
        StudyFailedError: ten trials in a row failed.
    """
    with closing(PEERS[name](problem, seed)) as peer:
        return _run(problem, peer, seed, n_trials, workers, advance)


def _run(
    problem: Problem, peer: Peer, seed: int, n_trials: int, workers: int, advance: Callable[[int], None]
) -> tuple[list[Row], dict[int, int]]:
    events: list[tuple[float, int, _Running]] = []
    rows: list[Row] = []
    decisions: dict[int, int] = {}
    clock, begun, finished, failures = 0.0, 0, 0, 0

    def end(trial: _Running, state: TrialState) -> None:
        nonlocal finished, failures
        started = time.perf_counter()
        peer.tell(trial.number, state, trial.measurement)
        trial.sampler_ms += 1000 * (time.perf_counter() - started)
        decisions[trial.number] = trial.decisions
        rows.append(_row(seed, trial, state))
        failed = state is TrialState.FAIL
        finished, failures = finished + (not failed), failures + 1 if failed else 0
        if failures >= MAX_FAILURES_IN_A_ROW:
            raise StudyFailedError(f"{failures} trials failed in a row, the last with: {trial.reason}")

    while True:
        while len(events) < min(workers, n_trials - finished):
            started = time.perf_counter()
            params = peer.ask(begun)
            took = 1000 * (time.perf_counter() - started)
            readings = iter(problem.evaluate(params, stream_seed(seed, begun, "evaluation") % 2**31))
            trial = _Running(begun, params, readings, took, clock)
            begun += 1
            advance(begun)
            if trial.advance() and trial.measurement is not None:
                heapq.heappush(events, (clock + trial.measurement.seconds, trial.number, trial))
            else:
                end(trial, TrialState.FAIL)
        if not events:
            return rows, decisions
        clock, _, trial = heapq.heappop(events)
        measurement = trial.measurement
        if measurement is None:
            raise RuntimeError(f"trial {trial.number} has nothing to report")
        if measurement.epoch >= problem.max_epochs:
            end(trial, TrialState.COMPLETE)
            continue
        if measurement.epoch == round(measurement.epoch):
            started = time.perf_counter()
            pruned = peer.prunes(trial.number, measurement)
            trial.pruner_ms += 1000 * (time.perf_counter() - started)
            trial.decisions += 1
            if pruned:
                trial.reason = "pruned"
                end(trial, TrialState.PRUNED)
                continue
        if trial.advance():
            heapq.heappush(events, (trial.started + trial.measurement.seconds, trial.number, trial))
        else:
            end(trial, TrialState.FAIL if trial.reason else TrialState.COMPLETE)


def _row(seed: int, trial: _Running, state: TrialState) -> Row:
    last = trial.measurement
    return Row(
        seed=seed,
        number=trial.number,
        state=state.name,
        reason=trial.reason,
        epochs=last.epoch if last else 0.0,
        accuracy=last.score if last else None,
        seconds=last.seconds if last else 0.0,
        size_mb=last.size_mb if last else math.nan,
        sampler_ms=trial.sampler_ms,
        pruner_ms=trial.pruner_ms,
        params=trial.params,
    )
