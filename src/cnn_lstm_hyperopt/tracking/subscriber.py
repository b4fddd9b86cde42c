"""Subscriber of a run that exports the study to the chosen trackers."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.search import Study
from cnn_lstm_hyperopt.tracking.process import tracked
from cnn_lstm_hyperopt.tracking.trackers import TRACKERS


class TrackerExport(RunEvents):
    """Subscriber that exports a study to all chosen trackers while its context is open.

    Args:
        say: shows the parts of the study that a tracker has.
        warn: shows the parts that a tracker lacks.
    """

    def __init__(self, say: Callable[[str], None], warn: Callable[[str], None]) -> None:
        self._say, self._warn = say, warn
        self._open = contextlib.ExitStack()

    def on_settings(self, settings: Settings) -> None:
        for tracker in TRACKERS.values():
            if tracker.chosen(settings):
                tracker.check(settings)

    def on_study(self, settings: Settings, study: Study, earlier: Mapping[str, Any]) -> None:
        for tracker in reversed(TRACKERS.values()):  # the first tracker reports first
            self._open.enter_context(
                tracked(settings, tracker, say=self._say_lines, warn=self._warn, on_wait=self._say)
            )

    def _say_lines(self, text: str) -> None:
        for line in text.splitlines():
            self._say(line)

    def on_study_end(self, error: BaseException | None) -> None:
        self._open.__exit__(None if error is None else type(error), error, None)
