"""A study library: a folder with the results of finished studies, one JSON file for each study."""

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.utils.atomic_io import is_part, write_json
from cnn_lstm_hyperopt.utils.text import printable

FORMAT = 1
FLAG = "--library"


@dataclass(frozen=True)
class LibraryTrial:
    """A COMPLETE trial of a finished study.

    Attributes:
        params: full configuration, by parameter name.
        score, seconds, size_mb: objective values.
        on_front: whether the trial is on the study's front and above the skill threshold.
    """

    params: Mapping[str, Any]
    score: float
    seconds: float
    size_mb: float
    on_front: bool

    @property
    def losses(self) -> tuple[float, float, float]:
        """(−score, ln seconds, ln MB), all minimised."""
        return -self.score, math.log(max(self.seconds, 1e-3)), math.log(self.size_mb)


@dataclass(frozen=True)
class LibraryStudy:
    """Results of a finished study.

    Attributes:
        study: name of the study.
        made_from: hash of the settings and the data of the study. A study with the same hash is the same study.
        target: what the networks predict, such as ``direction``.
        characteristics: numbers that describe the data, by name.
        trials: COMPLETE trials.
    """

    study: str
    made_from: str
    target: str
    characteristics: Mapping[str, float]
    trials: Sequence[LibraryTrial]

    @property
    def label(self) -> str:
        """Name of the study's file without its ending. Names of studies are often equal, labels are not."""
        return f"{self.study}-{self.made_from[:12]}"


def identity(made_with: Mapping[str, Any]) -> str:
    """Return the hash of the settings and the data of a study, from the study's fingerprint."""
    return hashlib.sha256(json.dumps(made_with, sort_keys=True, default=str).encode()).hexdigest()


def require_folder(folder: Path) -> None:
    """Check that files can be written in the folder of a library. Nothing is written.

    Raises:
        ConfigError: the folder, or the existing folder in which it would be created, is no folder or can't be written.
    """
    place = next(each for each in (folder, *folder.parents) if each.exists())
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        reason = "can't be written" if place.is_dir() else "is a file"
        raise ConfigError(
            f"study.library ({FLAG}) {printable(str(folder))}: {printable(str(place))} {reason}; name another folder,"
            f" or omit {FLAG}",
            field="study.library",
            code="library-not-writable",
        )


def add(folder: Path, study: LibraryStudy) -> Path:
    """Write the results of a study; the file of the same study is replaced. Return its path."""
    path = folder / f"{study.label}.json"
    write_json(path, {"format": FORMAT, **asdict(study)})
    return path


def read(folder: Path) -> tuple[list[LibraryStudy], list[str]]:
    """Return the studies of a library in the order of their file names, and a sentence for each file that can't be used."""
    studies, warnings = [], []
    for path in sorted(folder.glob("*.json")):
        if is_part(path):
            continue
        try:
            studies.append(_study(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError, KeyError) as error:
            reason = str(error) if isinstance(error, OSError) else "not a file of a study library of this version"
            warnings.append(f"{FLAG}: {printable(str(path))} is skipped: {reason}")
    return studies, warnings


def _study(content: Mapping[str, Any]) -> LibraryStudy:
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']}")
    numbers = {str(name): float(value) for name, value in content["characteristics"].items()}
    trials = [LibraryTrial(**trial) for trial in content["trials"]]
    if not all(math.isfinite(loss) for trial in trials for loss in trial.losses):
        raise ValueError("a value is not finite")
    return LibraryStudy(str(content["study"]), str(content["made_from"]), str(content["target"]), numbers, trials)
