"""Selection of inputs before the confirmation: the importance of groups of inputs for the best trials, against shadow inputs.

The best trials are trained again with all groups and with shadows (permuted copies of the inputs). Groups that are more important
on validation than every shadow are recommended. Then the same trials are trained with all groups and with the recommended groups.
Unless the recommended groups are worse on validation by more than one standard error, all candidates get the recommended groups.
The test set is not used.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.permutations import Units, exchanged, units_of, with_shadows
from cnn_lstm_hyperopt.data.splits import spread_positions
from cnn_lstm_hyperopt.data.trial_data import TrialData
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation.input_selection import (
    MIN_UNITS,
    N_TRIALS,
    GroupImportance,
    best_shadow,
    importances,
    mean_intervals,
)
from cnn_lstm_hyperopt.metrics.proportions import CONFIDENCE
from cnn_lstm_hyperopt.models.inputs import flag_of
from cnn_lstm_hyperopt.pipeline.confirmation import SEEDS_APART, TIME_IS_UP, Candidate, until
from cnn_lstm_hyperopt.pipeline.events import trainings
from cnn_lstm_hyperopt.pipeline.session import Session
from cnn_lstm_hyperopt.progress import Action, Decision, OnReport
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.training import NonFiniteLossError, delete_checkpoint
from cnn_lstm_hyperopt.training.input_importance import loss_increases
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork, TrialRunner
from cnn_lstm_hyperopt.utils.rng import stream
from cnn_lstm_hyperopt.utils.text import one_line

FEATURE_SELECTION = "feature_selection"
"""Key of the result in ``results.json``, and of the study attribute with the result, which is never deleted."""
BUILT_IN = "built_in"
"""Name of the inputs that all configurations use."""
PERMUTATIONS = 5
MAX_WINDOWS = 4_000
"""Maximum number of validation windows of all folds for the importances."""
SELECTION_SHARE = 0.25
"""Share of ``limits.retrain_seconds`` that the selection may use."""
_WITH_SHADOWS, _PAIRED = 901, 902
"""Seed numbers of trainings, which the confirmation does not use."""

Floats = NDArray[np.float64]
Listener = Callable[[str], OnReport]


def optional_groups(session: Session) -> dict[str, tuple[int, ...]]:
    """Return the channels of each group of inputs whose flag the study searches."""
    searched = session.study.plan.space.searched()
    return {group: places for group, places in session.runner.data.columns.items() if flag_of(group) in searched}


def with_recommended(candidate: Candidate, result: Mapping[str, Any]) -> Candidate:
    """Return a candidate that uses exactly the recommended groups, if the recommendation is applied."""
    if not result["applied"]:
        return candidate
    flags: dict[str, Scalar] = {flag_of(each["group"]): each["kept"] for each in result["groups"] if each["optional"]}
    return replace(candidate, params={**candidate.params, **flags})


def with_selected_inputs(
    session: Session,
    chosen: tuple[int, dict[str, Scalar]],
    checkpoints: Path,
    listener: Listener,
    seconds_left: float | None,
) -> dict[str, Scalar]:
    """Return the configuration of a trial with the recommended groups of inputs, without a confirmation of candidates.

    Only networks of this trial are examined. After an interruption, the configuration is unchanged. ``chosen`` has the number and
    the full configuration of the trial. The other arguments are those of :class:`Selection`.
    """
    number, params = chosen
    candidate, groups = Candidate(None, number, params, 0.0), optional_groups(session)
    if not groups:
        return params
    session.events.on_feature_selection_start(len(groups))
    with trainings(session.events, "Selection of inputs"):
        found = Selection(session, [candidate], checkpoints, listener, seconds_left).run()
    if isinstance(found, Decision):
        return params
    session.final[FEATURE_SELECTION] = found
    session.events.on_feature_selection(found)
    return with_recommended(candidate, found).params


@dataclass(frozen=True)
class Selection:
    """Selection of inputs of one study.

    Attributes:
        session: session of the study.
        candidates: candidates of the confirmation. The best :data:`N_TRIALS` by score are examined.
        checkpoints: folder of the checkpoints. Interrupted trainings are resumed from them.
        listener: function that creates the progress listener of a training from its description.
        seconds_left: time limit in seconds; None: no limit.
    """

    session: Session
    candidates: Sequence[Candidate]
    checkpoints: Path
    listener: Listener
    seconds_left: float | None = None

    def run(self) -> dict[str, Any] | Decision:
        """Select inputs and return the entry for ``results.json``, or the decision that interrupted the selection.

        Raises:
            OSError: a checkpoint can't be stored.
        """
        trials = sorted(self.candidates, key=lambda each: -each.score)[:N_TRIALS]
        deadline = None if self.seconds_left is None else time.monotonic() + self.seconds_left
        trainer = _Trainer(self.session, self.checkpoints, self.listener, deadline)
        found = self._examined(trials, trainer)
        if isinstance(found, Decision):
            return _unless_time_is_up(found)
        compared = self._compared([each for each in trials if each.trial_number in found["trials"]], found, trainer)
        if isinstance(compared, Decision):
            return _unless_time_is_up(compared)
        trainer.delete_checkpoints()
        return compared

    def _examined(self, trials: Sequence[Candidate], trainer: "_Trainer") -> dict[str, Any] | Decision:
        """Return the importances of all groups, as a mean over the networks of the trials."""
        session, groups = self.session, optional_groups(self.session)
        data = session.runner.data
        if (n_units := _pooled([fold.validation for fold in data.folds]).number) < MIN_UNITS:
            return _nothing(f"{n_units} validation dates or groups are too few; {MIN_UNITS} are needed")
        shadowed = with_shadows(data, groups, stream(session.settings.study.seed, 0, "shadow inputs"))
        runner = _runner_on(session, shadowed.data)
        parts = [_sample(fold.validation, len(data.folds)) for fold in shadowed.data.folds]
        units = _pooled(parts)
        always = _always(session, groups)
        channels = {**({BUILT_IN: always} if always else {}), **groups}
        shadows = {f"shadow {group}": places for group, places in shadowed.shadows.items()}
        sums: dict[str, Floats] = {name: np.zeros(len(units.of_window)) for name in (*channels, *shadows)}
        done: list[int] = []
        for candidate in trials:
            params = {**candidate.params, **{flag_of(group): True for group in groups}}
            trained = trainer.train(runner, candidate, params, _WITH_SHADOWS, "all inputs and shadows")
            if isinstance(trained, Decision):
                return trained
            if trained is None:
                continue
            for name, values in self._increases(trained, parts, {**channels, **shadows}).items():
                sums[name] += values
            done.append(candidate.trial_number)
        if not done:
            return _nothing("no trial could be trained with shadow inputs")
        means = {name: total / len(done) for name, total in sums.items()}
        found = importances(
            {name: means[name] for name in channels},
            {group: means[f"shadow {group}"] for group in groups},
            units.of_window,
            in_time=units.in_time,
        )
        return {
            **_nothing(None),
            "trials": done,
            "windows": len(units.of_window),
            "best_shadow": best_shadow(each.shadow for each in found.values() if each.shadow is not None),
            "groups": [self._entry(group, each, channels[group]) for group, each in found.items()],
        }

    def _increases(
        self, trained: TrainedNetwork, parts: Sequence[Windows], groups: Mapping[str, tuple[int, ...]]
    ) -> dict[str, Floats]:
        """Return the increases of the log loss for the validation windows of all folds, one fold after the other."""
        random = stream(self.session.settings.study.seed, 0, "permuted inputs")  # the same for all networks
        found = []
        for network, windows in zip(trained.networks, parts, strict=True):
            sources = np.stack([exchanged(windows, random) for _ in range(PERMUTATIONS)])
            here = windows.to(self.session.runner.device)
            found.append(loss_increases(network, here, groups, sources, trained.precision))
        return {name: np.concatenate([each[name] for each in found]) for name in groups}

    def _entry(self, group: str, found: GroupImportance, channels: Sequence[int]) -> dict[str, Any]:
        names = self.session.dataset.feature_names
        return {
            "group": group,
            "inputs": [names[place] for place in channels],
            "optional": found.shadow is not None,
            "kept": found.kept,
            "importance": found.mean,
            "low": found.interval.low,
            "high": found.interval.high,
            "shadow": found.shadow,
        }

    def _compared(
        self, trials: Sequence[Candidate], found: dict[str, Any], trainer: "_Trainer"
    ) -> dict[str, Any] | Decision:
        """Compare networks with the recommended groups to networks with all groups, and decide whether to apply them."""
        optional = [each for each in found["groups"] if each["optional"]]
        kept = [each["group"] for each in optional if each["kept"]]
        if not trials or len(kept) == len(optional):
            return {**found, "applied": bool(trials)}
        if not kept and len(optional) == len(found["groups"]):
            return {**found, "reason": "no group of inputs beats the best shadow, and a network needs an input"}
        differences, of_all, of_kept = [], [], []
        for candidate in trials:
            pair = []
            for names, title in ((None, "all inputs"), (kept, "recommended inputs")):
                flags = {flag_of(each["group"]): names is None or each["group"] in names for each in optional}
                trained = trainer.train(self.session.runner, candidate, {**candidate.params, **flags}, _PAIRED, title)
                if isinstance(trained, Decision):
                    return trained
                pair.append(trained)
            if pair[0] is None or pair[1] is None:
                continue
            losses = [_losses(self.session.runner, each) for each in pair if each is not None]
            differences.append(losses[1] - losses[0])
            of_all.append(float(losses[0].mean()))
            of_kept.append(float(losses[1].mean()))
        if not differences:
            return {**found, "reason": "no trial could be trained with the recommended inputs"}
        units = _pooled([fold.validation for fold in self.session.runner.data.folds])
        difference = np.mean(differences, axis=0)
        interval = mean_intervals({"": difference}, units.of_window, in_time=units.in_time)[""]
        standard_error = (interval.high - interval.low) / (2 * NormalDist().inv_cdf((1 + CONFIDENCE) / 2))
        worse = float(difference.mean()) > standard_error  # the one-standard-error rule (Breiman et al. 1984, CART)
        return {
            **found,
            "applied": not worse,
            "reason": "the log loss on validation is more than one standard error higher without the other inputs"
            if worse
            else None,
            "log_loss": {
                "all": float(np.mean(of_all)),
                "recommended": float(np.mean(of_kept)),
                "difference": float(difference.mean()),
                "low": interval.low,
                "high": interval.high,
            },
        }


@dataclass(frozen=True)
class _Trainer:
    """Trainer of the selection; failures of single trainings are warnings."""

    session: Session
    checkpoints: Path
    listener: Listener
    deadline: float | None

    def train(
        self, runner: TrialRunner, candidate: Candidate, params: dict[str, Scalar], seed: int, title: str
    ) -> TrainedNetwork | Decision | None:
        """Train a trial; return the networks, the decision that ended the training, or None if it failed."""
        which = f"trial {candidate.trial_number}, {title}"
        if self.deadline is not None and time.monotonic() > self.deadline:
            return Decision(Action.STOP, TIME_IS_UP)
        number = SEEDS_APART * candidate.trial_number + seed
        place = self.checkpoints / f"{FEATURE_SELECTION}_{candidate.trial_number:05d}_{title.replace(' ', '_')}.pt"
        try:
            trained = runner.confirm(number, params, until(self.deadline, self.listener(which)), checkpoint=place)
        except (NonFiniteLossError, RuntimeError, MemoryError) as error:
            self.session.events.on_warning(f"selection of inputs: {which}: {one_line(error, 300)}")
            return None
        return trained if trained.outcome.decision.action is Action.CONTINUE else trained.outcome.decision

    def delete_checkpoints(self) -> None:
        for place in self.checkpoints.glob(f"{FEATURE_SELECTION}_*.pt"):
            delete_checkpoint(place)


def _runner_on(session: Session, data: TrialData) -> TrialRunner:
    """Return a trainer with the settings of the study's trainer on other data."""
    settings, runner = session.settings, session.runner
    return TrialRunner(
        data,
        settings.training,
        seed=settings.study.seed,
        device=runner.device,
        speeds=runner.speeds,
        metric=settings.study.metric,
        memory_mb=session.study.plan.limits.memory_mb,
        passes=runner.costs.passes,
    )


def _nothing(reason: str | None) -> dict[str, Any]:
    """Return an entry without a recommendation."""
    return {
        "applied": False,
        "reason": reason,
        "trials": [],
        "windows": 0,
        "best_shadow": None,
        "groups": [],
        "log_loss": None,
    }


def _unless_time_is_up(decision: Decision) -> dict[str, Any] | Decision:
    return _nothing(f"{TIME_IS_UP} left too little time") if decision.reason == TIME_IS_UP else decision


def _always(session: Session, groups: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the channels that every configuration of the study uses."""
    space, data = session.study.plan.space, session.runner.data
    of_groups = {place for places in data.columns.values() for place in places}
    fixed = {
        place
        for group, places in data.columns.items()
        if group not in groups and space.domains[flag_of(group)].contains(True)
        for place in places
    }
    every = range(data.folds[0].train.input_dim)
    return tuple(place for place in every if place not in of_groups or place in fixed)


def _sample(windows: Windows, folds: int) -> Windows:
    """Return evenly spread windows, so that all folds together have at most :data:`MAX_WINDOWS` windows."""
    return windows.subset(spread_positions(len(windows), max(1, MAX_WINDOWS // folds)))


def _pooled(parts: Sequence[Windows]) -> Units:
    """Return the units of the windows of several folds, one fold after the other. Parts of the same date are one unit."""
    if len(parts) == 1:
        return units_of(parts[0])
    if all(part.groups is None and not part.dated for part in parts):  # numbers of windows begin again in each fold
        return Units(np.arange(sum(map(len, parts))), in_time=False)
    marks = [part.dates if part.groups is None else part.groups for part in parts]
    numbers = np.unique(np.concatenate(marks), return_inverse=True)[1].reshape(-1).astype(np.int64)
    return Units(numbers, in_time=all(part.groups is None for part in parts))


def _losses(runner: TrialRunner, trained: TrainedNetwork) -> Floats:
    """Return the log loss of each validation window of all folds at the best epoch, in nats."""
    if trained.outcome.best is None:
        raise RuntimeError("a complete training has an evaluation")
    labels = np.concatenate([fold.validation.labels.cpu().numpy() for fold in runner.data.folds])
    probabilities = trained.outcome.best.predictions.probabilities[np.arange(len(labels)), labels].astype(np.float64)
    losses: Floats = -np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    return losses
