"""Fit of an estimator: search on arrays, choice of a trial of the front, and final training of the chosen configuration."""

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cnn_lstm_hyperopt.api.estimators.input_table import input_table
from cnn_lstm_hyperopt.api.estimators.leaderboard import CHOSEN, TRIAL, Choose, Objectives, choose_trial, leaderboard
from cnn_lstm_hyperopt.config import RetrainSettings, Settings
from cnn_lstm_hyperopt.data.dataloaders.arrays import ArrayData
from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.errors import EmptyFrontError, RunError
from cnn_lstm_hyperopt.execution import TIMEOUT, StopSignal
from cnn_lstm_hyperopt.inference.ensemble import mean_of
from cnn_lstm_hyperopt.inference.model import SavedModel
from cnn_lstm_hyperopt.inference.temperature import scaled
from cnn_lstm_hyperopt.pipeline.advice import Interface
from cnn_lstm_hyperopt.pipeline.calibration import held_out, temperature_on
from cnn_lstm_hyperopt.pipeline.events import RunEvents, trainings
from cnn_lstm_hyperopt.pipeline.feature_selection import FEATURE_SELECTION, SELECTION_SHARE, with_selected_inputs
from cnn_lstm_hyperopt.pipeline.final_phase import checkpoint_folder, delete_final_phase_state
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, Retrained, SeedState, retrain
from cnn_lstm_hyperopt.pipeline.search_phase import search_and_write
from cnn_lstm_hyperopt.pipeline.session import Session, open_session
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.run_dir.paths import CHECKPOINTS
from cnn_lstm_hyperopt.search import State, Study, TrialRecord, above_chance, with_fixed
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.training import Predictions

ASK_SECONDS = 1.0
"""Time between two readings of the study while a fit waits for its first complete trial."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """Trained networks of the chosen configuration, and the leaderboard of the search.

    Attributes:
        models: a model for each seed; the prediction is their mean.
        scalers: for each model, the scaler of the windows on which it was trained.
        temperature: temperature of the mean probabilities; 1: no scaling.
        board: leaderboard, with the column ``chosen``.
        best_trial: number of the chosen trial.
        above_chance: whether the trials of the front beat chance.
        inputs: importance of the inputs, see :func:`.input_table`; None: they were not selected.
    """

    models: tuple[SavedModel, ...]
    scalers: tuple[Scaler, ...]
    temperature: float
    board: pd.DataFrame
    best_trial: int
    above_chance: bool
    inputs: pd.DataFrame | None = None

    def predict(self, x: NDArray[np.float32]) -> Predictions:
        """Return predictions for unscaled windows ``(windows, time, features)``."""
        found = [
            model.predict_windows(_windows(x, scaler)) for model, scaler in zip(self.models, self.scalers, strict=True)
        ]
        return scaled(mean_of(found, [1 / len(found)] * len(found)), self.temperature)

    @property
    def params(self) -> dict[str, Scalar]:
        """Full configuration of the chosen trial."""
        return dict(self.models[0].description.params)


class _FinalTraining(NamedTuple):
    """Size of the final training.

    Attributes:
        seeds: number of networks.
        epochs: maximum number of epochs of a network.
        limited: False if the time limit does not count.
    """

    seeds: int
    epochs: int
    limited: bool

    @classmethod
    def within(cls, seconds: float | None, trial: TrialRecord, folds: int, chosen: RetrainSettings) -> "_FinalTraining":
        """Return as many networks as have time for the epochs of the trial; at least one, even if the time is too short.

        Args:
            seconds: seconds left; None: no limit.
            trial: the chosen trial, which trained a network for each of ``folds`` folds.
            chosen: settings of the final training without a limit.
        """
        if seconds is None:
            return cls(chosen.seeds, chosen.full_epochs, limited=False)
        of_network = trial.attributes["measured_seconds"] / folds
        fitting = sum(number * of_network <= seconds for number in range(1, chosen.seeds + 1))
        if not fitting:
            return cls(1, math.ceil(trial.attributes["epochs"]), limited=False)
        return cls(fitting, chosen.full_epochs, limited=True)


class FirstTrialStop(StopSignal):
    """Stop signal whose timeout does not count before a trial of a study is complete.

    A fit that is too short for one trial would have no model.
    """

    _front: Callable[[], bool] | None = None

    def wait_for(self, study: Study) -> None:
        """From now on, wait for a complete trial of ``study``."""
        self._front = lambda: any(record.state is State.COMPLETE for record in study.records())
        self._asked = -math.inf

    @property
    def reason(self) -> str | None:
        """Reason to end the run; None to continue. After the timeout, the study is read at most once a second."""
        reason = super().reason
        if reason != TIMEOUT or self._front is None:
            return reason
        if time.monotonic() - self._asked < ASK_SECONDS:
            return None
        self._asked = time.monotonic()
        if not self._front():
            return None
        self._front = None
        return reason


def fit_study(
    settings: Settings,
    data: ArrayData,
    objectives: Objectives,
    choose: Choose,
    events: RunEvents,
    *,
    budget: float | None,
    tempers: bool,
) -> Fitted:
    """Search, choose a trial, and train its configuration with the seeds of ``retrain.seeds``.

    Args:
        settings: settings of the study.
        data: windows of the study.
        objectives: objectives of the front.
        choose: choice of a trial of the front.
        events: receives the events of the search.
        budget: seconds for search and training; ``study.timeout`` is the part for the search. The search continues until one
            trial is complete, and the training trains at least one network for the epochs of its trial. None: no limit.
        tempers: True to scale the probabilities by a temperature that is fitted on held-out windows.

    Raises:
        EmptyFrontError: no trial is complete and feasible.
        RunError: the final training failed with all seeds.
        KeyboardInterrupt: Ctrl-C ended the search or the training.
    """
    begun = time.monotonic()
    stop = FirstTrialStop(settings.study.timeout)
    with stop.listening():
        dataset = data.dataset.with_own_groups() if settings.features.select else data.dataset
        opened = open_session(settings, dataset, resume=False, events=events, interface=Interface.LOADERS)
        with opened as session:
            front = _search(session, stop)
            board = leaderboard(session, objectives)
            number = choose_trial(board, choose, objectives)
            board[CHOSEN] = board[TRIAL] == number
            stop.set_deadline(None)
            if budget is not None and (searched := time.monotonic() - begun) >= budget:
                events.on_warning(
                    f"one trial must be complete, so the search took {searched:.1f} s of a budget of {budget:g} s; give a larger"
                    " budget to compare more configurations"
                )
            retrained = _train(
                session, number, stop, lambda: None if budget is None else max(0.0, budget - time.monotonic() + begun)
            )
            _delete_checkpoints(session)
            if settings.report:
                events.on_report_due(settings.save_dir)
            runs = retrained.in_order
            return Fitted(
                models=tuple(replace(run.model, seed=run.seed) for run in runs),
                scalers=tuple(data.scaler if run.fold is None else data.fold_scalers[run.fold] for run in runs),
                temperature=_temperature(retrained, session) if tempers else 1.0,
                board=board,
                best_trial=number,
                above_chance=above_chance(front[0], session.study.plan.skill),
                inputs=input_table(session.final.get(FEATURE_SELECTION), runs[0].model.description.params),
            )


def _search(session: Session, stop: FirstTrialStop) -> list[TrialRecord]:
    """Search and return the front."""
    stop.wait_for(session.study)
    search_and_write(session, stop)
    if stop.interrupted:
        raise KeyboardInterrupt
    front = session.study.front()
    if not front:
        raise EmptyFrontError(session.empty_front_text(), code="empty-front")
    return front


def _delete_checkpoints(session: Session) -> None:
    delete_final_phase_state(session.save_dir, session.study.storage)
    with contextlib.suppress(OSError):  # the folder is not empty: it has checkpoints of interrupted trials
        (session.save_dir / CHECKPOINTS).rmdir()


def _train(session: Session, number: int, stop: StopSignal, seconds_left: Callable[[], float | None]) -> Retrained:
    record = next(each for each in session.study.records() if each.number == number)
    checkpoints = checkpoint_folder(session.save_dir)
    checkpoints.mkdir(parents=True, exist_ok=True)
    chosen = session.settings.retrain

    def listener(which: str, epochs: int) -> OnReport:
        def decide(report: ProgressReport) -> Decision:
            session.events.on_training(which, report, epochs)
            if stop.interrupted and not report.last:
                return Decision(Action.STOP, str(stop.reason))
            return CONTINUE

        return decide

    def on_report(finalist: Finalist, seed: int, epochs: int) -> OnReport:
        return listener(f"trial {finalist.trial_number}, seed {seed}", epochs)

    params = with_fixed(session.study.plan.space, record.params)
    if session.settings.features.select:
        left = seconds_left()
        params = with_selected_inputs(
            session,
            (number, params),
            checkpoints,
            lambda which: listener(which, session.study.plan.max_epochs),
            None if left is None else SELECTION_SHARE * left,
        )
        if stop.interrupted:
            raise KeyboardInterrupt
    finalist = Finalist(1, number, params)

    def ignore(finalist: Finalist, seed: int, state: SeedState) -> None:
        """A fit that is interrupted begins again."""

    plan = _FinalTraining.within(seconds_left(), record, len(session.runner.data.folds), chosen)
    with trainings(session.events, "Final training"):
        outcome = retrain(
            [finalist],
            session.runner,
            session.dataset,
            full_epochs=plan.epochs,
            max_gap_days=session.settings.data.max_gap_days,
            checkpoints=checkpoints,
            known={},
            on_report=on_report,
            on_seed_state=ignore,
            seeds=plan.seeds,
            seconds_left=seconds_left if plan.limited else lambda: None,
        )
    if stop.interrupted:
        raise KeyboardInterrupt
    if not outcome.done:
        why = "; ".join(reason for _, reason in outcome.failures)
        text = (
            f"the configuration of trial {number} could not be trained: {why}; give a larger budget, or another choose"
        )
        raise RunError(text, code="final-training-failed")
    return outcome.done[0]


def _temperature(retrained: Retrained, session: Session) -> float:
    """Return the temperature of the mean of all seeds, fitted on windows that the predicting networks did not train on."""
    held = held_out([retrained], session.dataset)
    predictions = held.of_runs[0]
    mean = mean_of(predictions, [1 / len(predictions)] * len(predictions))
    return temperature_on(held.windows, mean, session.dataset.horizon)


def _windows(x: NDArray[np.float32], scaler: Scaler) -> Windows:
    n, time_steps, features = x.shape
    rows = scaler.transform_to_float32(x.reshape(n * time_steps, features).astype(np.float64))
    return Windows(
        series=torch.from_numpy(rows),
        starts=torch.arange(n) * time_steps,
        lookback=time_steps,
        labels=torch.zeros(n, dtype=torch.int64),
        values=None,
        dates=np.arange(n),
        symbols=np.full(n, ""),
        dated=False,
    )
