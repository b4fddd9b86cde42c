"""Profiles, the config files in the package. ``--config small`` or ``config="small"`` selects a profile by name."""

import os
from pathlib import Path

from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.utils.text import did_you_mean, printable

_FOLDERS = (Path(__file__).parent / "profile_files", Path(__file__).parents[3] / "configs" / "hyperopt")
"""Folders that may contain the profiles: in an installed wheel, and in the repository."""
DEMO = "demo"


def profiles() -> dict[str, Path]:
    """Return the paths of the profiles (config files in the package) by name."""
    paths = next((sorted(found) for folder in _FOLDERS if (found := list(folder.glob("*.yaml")))), [])
    return {path.stem: path for path in paths}


def config_path(given: str | os.PathLike[str], flag: str) -> Path:
    """Return the path of a config file.

    The path is that of the given file if it exists, or else of the profile with the given name.

    Args:
        given: path of a file, or name of a profile.
        flag: flag or argument that has the path or name, for the text of the error.

    Raises:
        ConfigError: ``given`` is a single word that is neither a file nor a profile.
    """
    path = Path(given)
    name = os.fspath(given)
    known = profiles()
    exists = os.path.lexists(path)
    if "." in name or path.name != name or (exists and not (name in known and path.is_dir())):
        return path
    if name not in known:
        text = f"{flag} {printable(name)} is neither a file nor a profile ({', '.join(known)})"
        raise ConfigError(text + did_you_mean(name, known), field=flag, code="unknown-profile")
    return known[name]
