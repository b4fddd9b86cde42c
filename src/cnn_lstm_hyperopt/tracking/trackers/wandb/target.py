"""The folder of runs of Weights & Biases, and their project."""

import os
import shlex
from dataclasses import dataclass

from cnn_lstm_hyperopt.tracking.target import Target
from cnn_lstm_hyperopt.utils.secrets import MASK, masked
from cnn_lstm_hyperopt.utils.text import printable

_KEY_VARIABLE = "WANDB_API_KEY"


@dataclass(frozen=True)
class WandbTarget(Target):
    """Folder of the runs, and the project to which they belong.

    Attributes:
        folder: folder with a folder for each run.
        mode: ``offline`` (files only) or ``online`` (files and the server).
        project: name of the project.
    """

    folder: str
    mode: str
    project: str

    @property
    def shown(self) -> str:
        """The folder, or the project on the server."""
        return self.folder if self.mode == "offline" else f"the project {self.project}"

    @property
    def inside(self) -> str:
        """Text that names the project."""
        return f" in the project {self.project}"

    def how_to_look(self, experiment_id: str) -> str:
        """Return the command that uploads the runs of the folder, or the name of the project on the server."""
        if self.mode == "online":
            return f"https://wandb.ai, project {self.project}"
        return f"wandb sync {shlex.quote(self.folder)}/offline-run-*"

    def error_text(self, error: BaseException) -> str:
        """Return the type and the text of the error, without the key."""
        return f"{type(error).__name__}: {printable(self.without_secrets(' '.join(str(error).split())), 300)}"

    def without_secrets(self, text: str) -> str:
        """Return the text with the key of the user's account masked."""
        key = os.environ.get(_KEY_VARIABLE)
        return masked(text.replace(key, MASK) if key else text)
