"""Terminal output about the final refit."""

from cnn_lstm_hyperopt.inference.refit import Refit
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.utils.text import counted


class RefitConsole(RunEvents):
    """Subscriber that prints the events of the final refit to ``terminal``."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal

    def on_refit_start(self, model_rank: int, facts: Refit, seeds: int) -> None:
        self.terminal.say(
            f"Final refit: training model {model_rank} again on training and validation windows"
            f" ({counted(facts.epochs, 'epoch')}, {counted(seeds, 'seed')}) …"
        )

    def on_refit_interrupted(self, reason: str) -> None:
        self.terminal.say(f"Final refit ended by {reason}. A resumed run completes it.", style="yellow")

    def on_refit_end(self, facts: Refit) -> None:
        self.terminal.say(facts.sentence)
