"""Events of a run for subscribers such as console, report and MLflow."""

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
    """Events of a run in the order of time. A subscriber overrides methods; the methods of this class do nothing."""

    def on_warning(self, text: str) -> None:
        """The run has a warning for the user; this can happen at any time."""

    # ------------------------------------------------------------------ before the search

    def on_settings(self, settings: Settings) -> None:
        """The settings are known, but the data are not yet read.

        Raises:
            InputError: the subscriber can't use these settings.
        """

    def on_benchmark_start(self) -> None:
        """The measurement of this machine's speed begins; the measurement takes about 12 seconds."""

    def on_setup(self, setup: Setup) -> None:
        """The data, the search space and the costs of trials are known."""

    def on_forecast(self, setup: Setup, search: Forecast, final: FinalForecast | None) -> None:
        """The cost of the missing trials and of the final phase was forecast; ``final`` None: there is no final phase."""

    def on_dry_run(self) -> None:
        """The dry run ends."""

    def on_study(self, settings: Settings, study: Study, earlier: Mapping[str, Any]) -> None:
        """The study was opened; ``earlier`` has the results of an earlier final phase."""

    def on_study_end(self, error: BaseException | None) -> None:
        """The study is about to be closed; ``error`` is the error that ended the run, or None."""

    def on_cut_off_trials(self, numbers: Sequence[int]) -> None:
        """Interrupted trials of an earlier run will continue from their checkpoints."""

    # ------------------------------------------------------------------ the search

    def on_search_plan(self, setup: Setup, study: Study) -> None:
        """The plan of the search is known; the event of its forecast follows."""

    def on_search_start(self, study: Study, search: Forecast, seconds_left: Callable[[], float | None]) -> None:
        """Trials are about to run; ``seconds_left`` returns the seconds until ``study.timeout``, None without a timeout."""

    def on_workers(self, count: int) -> None:
        """The search runs in ``count`` processes."""

    def on_activity(self, activities: Sequence[Activity]) -> None:
        """Report the current activity of each process, about once a second."""

    def on_search_stop(self) -> None:
        """No more trials will run; this event also comes after an error."""

    def on_search_end(self, study: Study, ended_by: str) -> None:
        """The search ended without an error; ``ended_by`` is ``FINISHED`` or the reason of an early end."""

    def on_selection_bias(self, bias: SelectionBias | None) -> None:
        """The selection bias was estimated from the validation predictions of the trials; ``bias`` None: unknown."""

    # ------------------------------------------------------------------ after the search

    def on_confirmation_start(self, candidates: Sequence[Candidate], seeds: int, trainings: int) -> None:
        """The confirmation begins: ``seeds`` fresh seeds for each candidate, of which ``trainings`` trainings are missing."""

    def on_confirmation_end(self, confirmed: Confirmed, metric: str) -> None:
        """The candidates were ranked by their scores with fresh seeds."""

    def on_confirmation_interrupted(self, reason: str) -> None:
        """The confirmation was interrupted; no model is retrained or tested."""

    def on_fewer_finalists(self, count: int, wanted: int) -> None:
        """Only ``count`` candidates are left, fewer than the ``wanted`` number of models to retrain."""

    def on_retraining_start(
        self, finalist: Finalist, seed: int, seeds: int, epochs: int, *, fewer: bool, continues: bool
    ) -> None:
        """A training of a finalist on all training windows begins.

        Args:
            finalist: the finalist.
            seed: seed number, from 1.
            seeds: number of seeds of each finalist.
            epochs: maximum number of epochs.
            fewer: whether ``limits.retrain_seconds`` reduced the epochs below ``retrain.full_epochs``.
            continues: whether this training continues from an earlier run.
        """

    def on_retraining_interrupted(self, reason: str) -> None:
        """The retraining was interrupted or failed; no model is tested."""

    def on_trainings_start(self, title: str) -> None:
        """Trainings after the search begin; ``title`` names the step."""

    def on_training(self, which: str, report: ProgressReport, epochs: int) -> None:
        """A training after the search, of at most ``epochs`` epochs, reports its progress."""

    def on_trainings_stop(self) -> None:
        """The trainings after the search have ended; this event also comes after an error."""

    def on_results_kept(self, verdict: Mapping[str, Any]) -> None:
        """An earlier run tested these finalists; the ``verdict`` of that run stays valid."""

    def on_test(self, verdict: Verdict, retrained: Sequence[Retrained], openings: int) -> None:
        """The finalists were tested; ``openings`` is the number of evaluations on the test set so far."""

    # ------------------------------------------------------------------ results

    def on_results(self, study: Study, results: Mapping[str, Any]) -> None:
        """``results.json`` and ``trials.csv`` were written; the backup of the study follows."""

    def on_report_due(self, save_dir: Path) -> None:
        """All results are written, so the subscriber can write the report."""

    def on_run_end(self, save_dir: Path, results: Mapping[str, Any]) -> None:
        """All files of the run are written."""

    def on_finished(self) -> None:
        """The run ended without an error, and the study is closed."""


def _forwarding(name: str) -> Callable[..., None]:
    def forward(self: "_Subscribers", *args: Any, **named: Any) -> None:
        for subscriber in self.subscribers:
            getattr(subscriber, name)(*args, **named)

    return forward


class _Subscribers(RunEvents):
    """Receiver that forwards each event to all subscribers, in the order of their list."""

    def __init__(self, subscribers: Sequence[RunEvents]) -> None:
        self.subscribers = subscribers


for _name, _ in inspect.getmembers(RunEvents, inspect.isfunction):
    if _name.startswith("on_"):
        setattr(_Subscribers, _name, _forwarding(_name))


def to_all(subscribers: Sequence[RunEvents]) -> RunEvents:
    """Return a receiver that forwards each event to all ``subscribers``, in the order of the list."""
    return _Subscribers(subscribers)


@contextlib.contextmanager
def trainings(events: RunEvents, title: str) -> Iterator[None]:
    """Emit :meth:`RunEvents.on_trainings_start` on entry and :meth:`RunEvents.on_trainings_stop` on exit."""
    events.on_trainings_start(title)
    try:
        yield
    finally:
        events.on_trainings_stop()
