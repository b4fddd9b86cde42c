"""The folder of TensorBoard's event files."""

import shlex
from dataclasses import dataclass

from cnn_lstm_hyperopt.tracking.target import Target
from cnn_lstm_hyperopt.utils.secrets import masked
from cnn_lstm_hyperopt.utils.text import printable


@dataclass(frozen=True)
class TensorBoardTarget(Target):
    """Folder of the event files.

    Attributes:
        folder: the folder, with a folder for each trial and each retrained model, and one for the study.
    """

    folder: str

    @property
    def shown(self) -> str:
        """The folder."""
        return self.folder

    def how_to_look(self, experiment_id: str) -> str:
        """Return the command that shows the event files."""
        return f"tensorboard --logdir {shlex.quote(self.folder)}"

    def error_text(self, error: BaseException) -> str:
        """Return the type and the text of the error."""
        return f"{type(error).__name__}: {printable(self.without_secrets(str(error)), 300)}"

    def without_secrets(self, text: str) -> str:
        """Return the text with passwords masked."""
        return masked(text)
