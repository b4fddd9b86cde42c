"""Record of a retraining: the file ``training.json`` in a model's folder, from which a final refit repeats the training."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

from pydantic import Field

from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.inference.stored_form import StoredForm
from cnn_lstm_hyperopt.pipeline.retraining import Retrained
from cnn_lstm_hyperopt.run_dir.paths import TRAINING_FILE
from cnn_lstm_hyperopt.utils.atomic_io import write_json
from cnn_lstm_hyperopt.utils.reading import MAX_JSON_BYTES, parse_json, read_text
from cnn_lstm_hyperopt.utils.text import one_line


@dataclass(frozen=True)
class SeedRecord:
    """Training of a model with one seed.

    Attributes:
        seed: number of the seed.
        best_epoch: epoch with the lowest validation loss, whose weights the model has; 0: the linear solution.
        max_epochs: maximum number of epochs, which is the length of the schedules of learning rate and dropout.
        validation_losses: validation loss (nats) of each epoch.
    """

    seed: int
    best_epoch: int
    max_epochs: int
    validation_losses: tuple[float, ...]


class _StoredRecord(StoredForm):
    seed: int = Field(ge=1, le=1_000_000_000)
    best_epoch: int = Field(ge=0, le=1_000_000)
    max_epochs: int = Field(ge=1, le=1_000_000)
    validation_losses: Annotated[list[float], Field(max_length=1_000_000)]


class _StoredTraining(StoredForm):
    seeds: Annotated[list[_StoredRecord], Field(min_length=1, max_length=1_000)]


def refit_epochs(records: Sequence[SeedRecord]) -> int:
    """Return the number of epochs of a final refit: the median of the best epochs of all seeds. A half is rounded up."""
    return math.floor(median(record.best_epoch for record in records) + 0.5)


def write_training_record(folder: Path, retrained: Retrained) -> None:
    """Write ``training.json``. Its seeds are in the order of the model's networks.

    Write nothing if the validation losses are unknown, as for a stored model of an earlier version.
    """
    if not all(run.outcome.losses for run in retrained.runs):
        return
    records = [
        SeedRecord(run.seed, run.outcome.best_epoch, run.epochs, run.outcome.losses) for run in retrained.in_order
    ]
    write_json(folder / TRAINING_FILE, {"seeds": [asdict(each) for each in records]}, make_folder=False)


def read_training_record(folder: Path) -> tuple[SeedRecord, ...]:
    """Read ``training.json``.

    Raises:
        SaveDirError: the file is invalid or missing. Models of earlier versions have no such file.
    """
    path = folder / TRAINING_FILE
    if not path.is_file():
        raise SaveDirError(
            f"{path} is missing, so the final refit does not know the best epochs: an earlier version trained this model;"
            " leave out --refit, or retrain, for example with another retrain.seeds",
            field=TRAINING_FILE,
            code="file-missing",
        )
    try:
        stored = _StoredTraining.read(parse_json(read_text(path, MAX_JSON_BYTES)))
    except ValueError as error:
        text = f"{path} is invalid ({one_line(error, 300)}); restore the file, or leave out --refit"
        raise SaveDirError(text, field=TRAINING_FILE, code="not-json") from error
    return tuple(
        SeedRecord(each.seed, each.best_epoch, each.max_epochs, tuple(each.validation_losses)) for each in stored.seeds
    )
