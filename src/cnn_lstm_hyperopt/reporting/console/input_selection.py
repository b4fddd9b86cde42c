"""Terminal output about the selection of inputs."""

from collections.abc import Mapping
from typing import Any

from cnn_lstm_hyperopt.evaluation.input_selection import TRAININGS
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.results.input_selection import selection_lines
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.utils.text import counted


class InputSelectionConsole(RunEvents):
    """Subscriber that prints the selection of inputs."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal

    def on_feature_selection_start(self, groups: int) -> None:
        self.terminal.say(f"Selecting inputs: {counted(groups, 'group')}, up to {counted(TRAININGS, 'training')} …")

    def on_feature_selection(self, result: Mapping[str, Any]) -> None:
        for line in selection_lines(result):
            self.terminal.say(line)

    def on_feature_selection_interrupted(self, reason: str) -> None:
        self.terminal.say(f"Selection of inputs ended by {reason}. The test set stays locked.", style="yellow")
