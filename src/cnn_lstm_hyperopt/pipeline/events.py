"""Events of a run for subscribers such as console, report and MLflow. Every event does nothing by default."""

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
    """Events of a run in their order; events of trials come between start and stop of the search."""

    def on_warning(self, text: str) -> None:
        """A warning for the user, at any time."""

    # ------------------------------------------------------------------ before the search

    def on_settings(self, settings: Settings) -> None:
        """The settings are known; the data are not yet read.

        Raises:
            InputError: the subscriber can't use these settings.
        """

    def on_benchmark_start(self) -> None:
        """The measurement of this machine's speed begins; it takes about 12 seconds."""

    def on_setup(self, setup: Setup) -> None:
        """Data, search space and costs are known."""

    def on_forecast(self, setup: Setup, search: Forecast, final: FinalForecast | None) -> None:
        """Forecast of the missing trials and of the final phase; ``final`` None: no final phase."""

    def on_dry_run(self) -> None:
        """The dry run ends here."""

    def on_study(self, settings: Settings, study: Study, earlier: Mapping[str, Any]) -> None:
        """The study is open; ``earlier`` has the results of an earlier final phase."""

    def on_study_end(self, error: BaseException | None) -> None:
        """The study is about to be closed; ``error`` is the error that ended the run."""

    def on_cut_off_trials(self, numbers: Sequence[int]) -> None:
        """Interrupted trials of an earlier run will continue from their checkpoints."""

    # ------------------------------------------------------------------ the search

    def on_search_plan(self, setup: Setup, study: Study) -> None:
        """The plan of the search is known; its forecast follows."""

    def on_search_start(self, study: Study, search: Forecast, seconds_left: Callable[[], float | None]) -> None:
        """Trials are about to run; ``seconds_left`` gives the time until ``study.timeout``, None without one."""

    def on_workers(self, count: int) -> None:
        """The search runs in ``count`` processes."""

    def on_activity(self, activities: Sequence[Activity]) -> None:
        """Current activity of each process, about once a second."""

    def on_search_stop(self) -> None:
        """No more trials will run, also after an error."""

    def on_search_end(self, study: Study, ended_by: str) -> None:
        """The search ended without an error; ``ended_by`` is ``FINISHED`` or the reason of an early end."""

    def on_selection_bias(self, bias: SelectionBias | None) -> None:
        """Selection bias of the trials, from their validation predictions; None: unknown."""

    # ------------------------------------------------------------------ after the search

    def on_confirmation_start(self, candidates: Sequence[Candidate], seeds: int, trainings: int) -> None:
        """The confirmation begins with ``seeds`` fresh seeds for each candidate; ``trainings`` of them are missing."""

    def on_confirmation_end(self, confirmed: Confirmed, metric: str) -> None:
        """The candidates are ranked by their fresh seeds."""

    def on_confirmation_interrupted(self, reason: str) -> None:
        """Confirmation was interrupted; nothing is retrained or tested."""

    def on_fewer_finalists(self, count: int, wanted: int) -> None:
        """There are fewer candidates than models to retrain."""

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
            continues: whether an earlier run began this training.
        """

    def on_retraining_interrupted(self, reason: str) -> None:
        """Retraining was interrupted or failed; nothing is tested."""

    def on_trainings_start(self, title: str) -> None:
        """Trainings after the search begin; ``title`` names the step."""

    def on_training(self, which: str, report: ProgressReport, epochs: int) -> None:
        """Progress of a training after the search with at most ``epochs`` epochs."""

    def on_trainings_stop(self) -> None:
        """These trainings have ended, also after an error."""

    def on_results_kept(self, verdict: Mapping[str, Any]) -> None:
        """An earlier run tested these finalists; its ``verdict`` is kept."""

    def on_test(self, verdict: Verdict, retrained: Sequence[Retrained], openings: int) -> None:
        """The finalists were tested; ``openings`` is the number of evaluations on the test set so far."""

    # ------------------------------------------------------------------ results

    def on_results(self, study: Study, results: Mapping[str, Any]) -> None:
        """``results.json`` and ``trials.csv`` were written; the study is about to be backed up."""

    def on_report_due(self, save_dir: Path) -> None:
        """All results are written; the report is due."""

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
    """Forwards each event to all subscribers, in order."""

    def __init__(self, subscribers: Sequence[RunEvents]) -> None:
        self.subscribers = subscribers


for _name, _ in inspect.getmembers(RunEvents, inspect.isfunction):
    if _name.startswith("on_"):
        setattr(_Subscribers, _name, _forwarding(_name))


def to_all(subscribers: Sequence[RunEvents]) -> RunEvents:
    """Return a receiver that forwards each event to all ``subscribers``, in order."""
    return _Subscribers(subscribers)


@contextlib.contextmanager
def trainings(events: RunEvents, title: str) -> Iterator[None]:
    """Emit :meth:`RunEvents.on_trainings_start`, then :meth:`RunEvents.on_trainings_stop` at the end."""
    events.on_trainings_start(title)
    try:
        yield
    finally:
        events.on_trainings_stop()
