"""The trial that each process of a run is training. The terminal and the command ``status`` show it."""

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cnn_lstm_hyperopt.run_dir.paths import ACTIVITY_FILE
from cnn_lstm_hyperopt.utils.atomic_io import write_text
from cnn_lstm_hyperopt.utils.reading import parse_json, read_text

log = logging.getLogger(__name__)

_MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class Activity:
    """Trial and epoch that one process of a run is training.

    Attributes:
        worker: number of the worker; 0: the run has no workers.
        trial: number of the trial.
        epoch: number of epochs trained so far.
        memory_mb: resident memory of the process in MB; 0 if the platform does not report it.
    """

    worker: int
    trial: int
    epoch: float
    memory_mb: float

    def __str__(self) -> str:
        """Return the activity as text, such as ``worker 1: trial 17 at epoch 3.0``."""
        return (f"worker {self.worker}: " if self.worker else "") + f"trial {self.trial} at epoch {self.epoch:.1f}"


def write_activity(save_dir: Path, activities: Sequence[Activity]) -> None:
    """Write the activities of all processes to ``.activity.json``."""
    text = json.dumps([asdict(each) for each in activities])
    try:
        write_text(save_dir / ACTIVITY_FILE, text, make_folder=False)
    except OSError as error:  # the run reports an unwritable disk when it stores a trial
        log.debug("%s can't be written: %s", ACTIVITY_FILE, error)


def read_activity(save_dir: Path) -> list[Activity]:
    """Return the activities of the processes of the current run. The list is empty if no run has written ``.activity.json``."""
    try:
        entries = parse_json(read_text(save_dir / ACTIVITY_FILE, _MAX_BYTES))
        read = [
            Activity(int(each["worker"]), int(each["trial"]), float(each["epoch"]), float(each["memory_mb"]))
            for each in entries
        ]
        return [each for each in read if math.isfinite(each.epoch) and math.isfinite(each.memory_mb)]
    except (OSError, ValueError, LookupError, TypeError, OverflowError) as error:
        log.debug("no activity: %s", error)
        return []


def activity_text(activities: Sequence[Activity]) -> str:
    """Return all activities as one line of text, such as ``worker 1: trial 17 at epoch 3.0 · worker 2: … · 812 MB``."""
    parts = [str(each) for each in activities]
    memory = sum(each.memory_mb for each in activities)
    return " · ".join([*parts, f"{memory:,.0f} MB"] if parts and memory else parts)
