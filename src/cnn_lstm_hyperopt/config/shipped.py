"""Where the config files that come with the package are: in the repository, or where the wheel was installed."""

import os
from importlib import metadata
from pathlib import Path

_FOLDER = Path("configs/hyperopt")
_DISTRIBUTION = "cnn-lstm-hyperopt"


def shipped_config(name: str) -> str:
    """Return the path of a config file such as ``small.yaml``, for messages that name it.

    It is the path within the repository, unless the working directory lacks it and a wheel has installed the file.
    """
    within = _FOLDER / name
    if not within.is_file():
        for file in metadata.files(_DISTRIBUTION) or ():
            if file.name == name and file.parts[-3:-1] == (_DISTRIBUTION, "configs"):
                return os.path.normpath(str(file.locate()))
    return within.as_posix()
