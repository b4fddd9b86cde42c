"""Events of a run, which subscribers such as the console, the report and MLflow receive."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.execution import TrialEvents
from cnn_lstm_hyperopt.inference.refit import Refit
from cnn_lstm_hyperopt.pipeline.confirmation import Candidate, Confirmed
from cnn_lstm_hyperopt.pipeline.results.selection import SelectionBias
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, Retrained
from cnn_lstm_hyperopt.pipeline.setup import Setup
from cnn_lstm_hyperopt.pipeline.test_evaluation import Verdict
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.run_dir.activity import Activity
from cnn_lstm_hyperopt.search import Study
from cnn_lstm_hyperopt.search.cost_forecast import FinalForecast, Forecast


class RunEvents(TrialEvents):
    """Base class of subscribers, with a method for each event of a run in order of time.

    A subscriber overrides methods. The methods of this class do nothing.
    """

    def on_warning(self, text: str) -> None:
        """Called at any time if the run has a warning for the user."""

    # ------------------------------------------------------------------ before the search

    def on_settings(self, settings: Settings) -> None:
        """Called when the settings are known, before the data are read.

        Raises:
            InputError: the subscriber can't use these settings.
        """

    def on_benchmark_start(self) -> None:
        """Called when the measurement of this machine's speed begins. The measurement takes about 20 seconds."""

    def on_setup(self, setup: Setup) -> None:
        """Called when the data, the search space and the costs of trials are known."""

    def on_forecast(self, setup: Setup, search: Forecast, final: FinalForecast | None) -> None:
        """Called with the forecasts of the cost of the remaining trials and of the final phase.

        ``final`` is None if there is no final phase.
        """

    def on_dry_run(self) -> None:
        """Called at the end of a dry run."""

    def on_study(self, settings: Settings, study: Study, earlier: Mapping[str, Any]) -> None:
        """Called when the study is open. ``earlier`` has the results of an earlier final phase."""

    def on_study_end(self, error: BaseException | None) -> None:
        """Called before the study is closed. ``error`` is the error that ended the run, or None."""

    def on_cut_off_trials(self, numbers: Sequence[int]) -> None:
        """Called if interrupted trials of an earlier run will be resumed from their checkpoints."""

    # ------------------------------------------------------------------ the search

    def on_search_plan(self, setup: Setup, study: Study) -> None:
        """Called when the plan of the search is known. The event with the forecast follows."""

    def on_search_start(self, study: Study, search: Forecast, seconds_left: Callable[[], float | None]) -> None:
        """Called before trials run. ``seconds_left`` returns the seconds until ``study.timeout``; None without a timeout."""

    def on_workers(self, count: int) -> None:
        """Called when the search starts to run in ``count`` processes."""

    def on_activity(self, activities: Sequence[Activity]) -> None:
        """Called about once a second with the current activity of each process."""

    def on_search_stop(self) -> None:
        """Called when no more trials will run, also after an error."""

    def on_search_end(self, study: Study, ended_by: str) -> None:
        """Called when the search ended without an error. ``ended_by`` is ``FINISHED`` or the reason of an early end."""

    def on_selection_bias(self, bias: SelectionBias | None) -> None:
        """Called when the selection bias was estimated from the validation predictions of the trials.

        ``bias`` is None if it is unknown.
        """

    # ------------------------------------------------------------------ after the search

    def on_feature_selection_start(self, groups: int) -> None:
        """Called when the selection of inputs begins. ``groups`` is the number of groups that can be left out."""

    def on_feature_selection(self, result: Mapping[str, Any]) -> None:
        """Called when inputs were selected. ``result`` is the entry ``feature_selection`` of ``results.json``."""

    def on_feature_selection_interrupted(self, reason: str) -> None:
        """Called if the selection of inputs was interrupted, so no model is retrained or tested."""

    def on_confirmation_start(self, candidates: Sequence[Candidate], seeds: int, trainings: int) -> None:
        """Called when the confirmation begins.

        Each candidate gets ``seeds`` new seeds; ``trainings`` trainings are still to run.
        """

    def on_confirmation_end(self, confirmed: Confirmed, metric: str) -> None:
        """Called when the candidates were ranked by their results with new seeds."""

    def on_confirmation_interrupted(self, reason: str) -> None:
        """Called if the confirmation was interrupted, so no model is retrained or tested."""

    def on_fewer_finalists(self, count: int, wanted: int) -> None:
        """Called if only ``count`` candidates can be retrained, fewer than the ``wanted`` number of models."""

    def on_retraining_start(
        self, finalist: Finalist, seed: int, seeds: int, epochs: int, *, fewer: bool, continues: bool
    ) -> None:
        """Called when a training of a finalist on all training windows begins.

        Args:
            finalist: the finalist that is trained.
            seed: seed number, from 1.
            seeds: number of seeds of each finalist.
            epochs: maximum number of epochs.
            fewer: True if ``limits.retrain_seconds`` reduced the epochs below ``retrain.full_epochs``.
            continues: True if this training began in an earlier run and is resumed.
        """

    def on_period_start(self, number: int, of: int) -> None:
        """Called before the finalists are trained again for period ``number`` (from 2) of the ``of`` periods of the test set."""

    def on_walk_forward_interrupted(self, reason: str) -> None:
        """Called if the walk-forward test was interrupted. A resumed run completes the evaluation on the test set."""

    def on_retraining_interrupted(self, reason: str) -> None:
        """Called if the retraining was interrupted or failed, so no model is tested."""

    def on_trainings_start(self, title: str) -> None:
        """Called when trainings after the search begin. ``title`` names the step: confirmation or retraining."""

    def on_training(self, which: str, report: ProgressReport, epochs: int) -> None:
        """Called with each progress report of a training after the search, which has at most ``epochs`` epochs."""

    def on_trainings_stop(self) -> None:
        """Called when the trainings after the search have ended, also after an error."""

    def on_results_kept(self, verdict: Mapping[str, Any]) -> None:
        """Called if an earlier run tested the same finalists. The ``verdict`` of the earlier run stays valid."""

    def on_verdict_again(self, changes: Sequence[str]) -> None:
        """Called if an earlier run tested the same finalists with other settings of the evaluation.

        ``changes`` describes the changed settings. The event :meth:`on_test` with the new verdict follows.
        """

    def on_test(self, verdict: Verdict, retrained: Sequence[Retrained], openings: int) -> None:
        """Called when the finalists were tested. ``openings`` is the number of evaluations on the test set so far."""

    def on_refit_start(self, model_rank: int, facts: Refit, seeds: int) -> None:
        """Called before the tested model is trained again with each seed on training and validation windows."""

    def on_refit_interrupted(self, reason: str) -> None:
        """Called if the final refit was interrupted. A resumed run completes it."""

    def on_refit_end(self, facts: Refit) -> None:
        """Called when the final refit was saved."""

    # ------------------------------------------------------------------ results

    def on_results(self, study: Study, results: Mapping[str, Any]) -> None:
        """Called when ``results.json`` and ``trials.csv`` were written. The backup of the study follows."""

    def on_report_due(self, save_dir: Path) -> None:
        """Called when all results are written, so a subscriber can write the report."""

    def on_run_end(self, save_dir: Path, results: Mapping[str, Any]) -> None:
        """Called when all files of the run are written."""

    def on_finished(self) -> None:
        """Called when the run ended without an error and the study is closed."""


def _forwarding(name: str) -> Callable[..., None]:
    def forward(self: "_Subscribers", *args: Any, **named: Any) -> None:
        for subscriber in self.subscribers:
            getattr(subscriber, name)(*args, **named)

    return forward


class _Subscribers(RunEvents):
    """Receiver of events that forwards each event to all subscribers in the order of a list."""

    def __init__(self, subscribers: Sequence[RunEvents]) -> None:
        self.subscribers = subscribers


for _name, _ in inspect.getmembers(RunEvents, inspect.isfunction):
    if _name.startswith("on_"):
        setattr(_Subscribers, _name, _forwarding(_name))


def to_all(subscribers: Sequence[RunEvents]) -> RunEvents:
    """Return a receiver of events that forwards each event to all ``subscribers`` in the order of the list."""
    return _Subscribers(subscribers)


@contextlib.contextmanager
def trainings(events: RunEvents, title: str) -> Iterator[None]:
    """Context that emits :meth:`RunEvents.on_trainings_start` on entry and :meth:`RunEvents.on_trainings_stop` on exit."""
    events.on_trainings_start(title)
    try:
        yield
    finally:
        events.on_trainings_stop()
