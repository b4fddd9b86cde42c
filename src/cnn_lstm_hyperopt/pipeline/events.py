"""What a run tells those who subscribe: the console, the report, MLflow. Every event does nothing by default."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.execution import TrialEvents
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
    """Events of a run, in the order in which they come; those of trials come between start and stop of the search."""

    def on_warning(self, text: str) -> None:
        """Something that the user should know; at any time."""

    # ------------------------------------------------------------------ before the search

    def on_settings(self, settings: Settings) -> None:
        """The settings of the run, before the data are read.

        Raises:
            InputError: the subscriber can't work with them.
        """

    def on_benchmark_start(self) -> None:
        """This machine's speed is measured, which takes a dozen seconds."""

    def on_setup(self, setup: Setup) -> None:
        """Data, search space and costs are known."""

    def on_forecast(self, setup: Setup, search: Forecast, final: FinalForecast | None) -> None:
        """What the missing trials will take, and the work after the search; ``final`` None: none was asked for."""

    def on_dry_run(self) -> None:
        """All was described; nothing is started."""

    def on_study(self, settings: Settings, study: Study, earlier: Mapping[str, Any]) -> None:
        """The study is open; ``earlier`` is what ``results.json`` holds of an earlier retraining."""

    def on_study_end(self, error: BaseException | None) -> None:
        """The study is about to be closed; ``error`` ended the run, if there is one."""

    def on_cut_off_trials(self, numbers: Sequence[int]) -> None:
        """Trials of an earlier run that will continue from their checkpoints."""

    # ------------------------------------------------------------------ the search

    def on_search_plan(self, setup: Setup, study: Study) -> None:
        """What the search will do; its forecast follows."""

    def on_search_start(self, study: Study, search: Forecast, seconds_left: Callable[[], float | None]) -> None:
        """Trials are about to run; ``seconds_left`` gives the time until ``study.timeout``, None without one."""

    def on_workers(self, count: int) -> None:
        """The search runs in so many processes."""

    def on_activity(self, activities: Sequence[Activity]) -> None:
        """What each process trains now; about once a second."""

    def on_search_stop(self) -> None:
        """No more trials will run, whatever the reason, an error included."""

    def on_search_end(self, study: Study, ended_by: str) -> None:
        """The search has ended without an error: ``FINISHED``, or what ended it before it had all its trials."""

    def on_selection_bias(self, bias: SelectionBias | None) -> None:
        """What choosing among all trials does, by their predictions on validation; None: not known."""

    # ------------------------------------------------------------------ after the search

    def on_confirmation_start(self, candidates: Sequence[Candidate], seeds: int, trainings: int) -> None:
        """The candidates are about to be trained with ``seeds`` fresh seeds each; ``trainings`` of these are missing."""

    def on_confirmation_end(self, confirmed: Confirmed, metric: str) -> None:
        """The candidates are ranked by their fresh seeds."""

    def on_confirmation_interrupted(self, reason: str) -> None:
        """Confirmation ended before it was done; nothing is retrained or tested."""

    def on_fewer_finalists(self, count: int, wanted: int) -> None:
        """The front and its confirmation left fewer candidates than were to be retrained."""

    def on_retraining_start(
        self, finalist: Finalist, seed: int, seeds: int, epochs: int, *, fewer: bool, continues: bool
    ) -> None:
        """A finalist is trained on all training windows, with seed number ``seed``.

        Args:
            finalist: who.
            seed: its number, from 1.
            seeds: of each finalist.
            epochs: at most.
            fewer: whether these are fewer than ``retrain.full_epochs``, because of ``limits.retrain_seconds``.
            continues: whether an earlier run began it.
        """

    def on_retraining_interrupted(self, reason: str) -> None:
        """Retraining ended before it was done, or failed; nothing is tested."""

    def on_trainings_start(self, title: str) -> None:
        """Trainings after the search begin: ``title`` says which."""

    def on_training(self, which: str, report: ProgressReport, epochs: int) -> None:
        """A training after the search has got further; it has at most ``epochs``."""

    def on_trainings_stop(self) -> None:
        """These trainings have ended, whatever the reason."""

    def on_results_kept(self, verdict: Mapping[str, Any]) -> None:
        """An earlier run has retrained and tested these finalists: its ``verdict`` of ``results.json`` stays."""

    def on_test(self, verdict: Verdict, retrained: Sequence[Retrained], openings: int) -> None:
        """The finalists were tested; the test period was opened for the ``openings``-th time."""

    # ------------------------------------------------------------------ results

    def on_results(self, study: Study, results: Mapping[str, Any]) -> None:
        """``results.json`` and ``trials.csv`` were written; the study is about to be backed up."""

    def on_report_due(self, save_dir: Path) -> None:
        """All results are written; it is time for the report."""

    def on_run_end(self, save_dir: Path, results: Mapping[str, Any]) -> None:
        """All files of the run are written."""

    def on_finished(self) -> None:
        """The run has ended well, and the study is closed."""


def _forwarding(name: str) -> Callable[..., None]:
    def forward(self: "_Subscribers", *args: Any, **named: Any) -> None:
        for subscriber in self.subscribers:
            getattr(subscriber, name)(*args, **named)

    return forward


class _Subscribers(RunEvents):
    """Passes each event on to all subscribers, in order."""

    def __init__(self, subscribers: Sequence[RunEvents]) -> None:
        self.subscribers = subscribers


for _name, _ in inspect.getmembers(RunEvents, inspect.isfunction):
    if _name.startswith("on_"):
        setattr(_Subscribers, _name, _forwarding(_name))


def to_all(subscribers: Sequence[RunEvents]) -> RunEvents:
    """One receiver of events that passes each on to all ``subscribers``, in order."""
    return _Subscribers(subscribers)


@contextlib.contextmanager
def trainings(events: RunEvents, title: str) -> Iterator[None]:
    """A context between :meth:`RunEvents.on_trainings_start` and :meth:`RunEvents.on_trainings_stop`."""
    events.on_trainings_start(title)
    try:
        yield
    finally:
        events.on_trainings_stop()
