"""Checkpoints: files with the state of a training after an epoch.

Any process can resume the training from its checkpoint, with bit-for-bit the same result. The state of a training consists of
the states of several objects, which return and restore their states as ``torch.nn.Module`` does (:class:`Stateful`).
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from cnn_lstm_hyperopt.errors import CheckpointError, Violation
from cnn_lstm_hyperopt.progress import Action, Decision, ProgressReport
from cnn_lstm_hyperopt.training.runtime.memory import is_out_of_memory
from cnn_lstm_hyperopt.utils.atomic_io import new_part, remove_parts
from cnn_lstm_hyperopt.utils.text import one_line

log = logging.getLogger(__name__)

FORMAT = 3
_HASH, _HASH_BYTES = "sha256", 32
"""Each file starts with a hash of the data from ``torch.save``, because ``torch.load`` (torch 2.13) checks no checksum."""


class Stateful(Protocol):
    """An object whose state is made of tensors, numbers, strings, dicts, lists and tuples."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the object. Tensors in the state may be the object's own tensors, not copies."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Restore the result of :meth:`state_dict`."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training between two epochs.

    Attributes:
        name: name of the checkpoint in error messages.
        about: facts that identify the training, see :func:`.fold.training_facts`.
        epoch: number of epochs done.
        finished: whether the training is complete, because all epochs are done or patience is exhausted.
        decision: the decision that the caller returned for the last report.
        reports: all reports so far that contain an evaluation, in the order of time.
        states: state of each part of the training, by the part's name. A running training changes the tensors of these states, so
            write the states to a file before the training continues.
    """

    name: str
    about: dict[str, Any]
    epoch: int
    finished: bool
    decision: Decision
    reports: tuple[ProgressReport, ...]
    states: dict[str, dict[str, Any]]

    def restore(self, parts: Mapping[str, Stateful], about: Mapping[str, Any]) -> None:
        """Restore the states of the parts of a training.

        Use a checkpoint only once, because the parts of the training use its tensors without a copy.

        Raises:
            CheckpointError: the checkpoint belongs to another training than the one with the facts ``about``.
        """
        different = list(_differences(self.about, about))
        if different:
            violations = [Violation(field, "other-training") for field, _ in different]
            raise CheckpointError(
                f"{self.name} belongs to another training: {'; '.join(text for _, text in different)}",
                violations=violations,
            )
        for name, part in parts.items():
            # pop(): memory holds the weights only once, even if the caller keeps the checkpoint.
            part.load_state_dict(self.states.pop(name))


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically and keep the previous checkpoint; see :func:`last_good`.

    The folder is created if it is missing. If the process is killed during the call, the previous checkpoint still exists under
    one of its two names. The next call removes the partial file. The function does not wait until the disk has stored the data.
    If a power failure destroys data, the checksum detects the damage.

    Raises:
        OSError: the file can't be written; the previous checkpoint is unchanged.
    """
    path.parent.mkdir(exist_ok=True)  # without parents: do not create a results directory that was removed
    beside = new_part(path)
    content = {
        "format": FORMAT,
        "about": checkpoint.about,
        "epoch": checkpoint.epoch,
        "finished": checkpoint.finished,
        "decision": (checkpoint.decision.action.value, checkpoint.decision.reason),
        "reports": [asdict(report) for report in checkpoint.reports],
        "states": checkpoint.states,
    }
    try:
        with beside.open("w+b") as file:
            file.write(bytes(_HASH_BYTES))
            torch.save(content, file)
            file.seek(_HASH_BYTES)
            digest = hashlib.file_digest(file, _HASH).digest()
            file.seek(0)
            file.write(digest)
        if path.exists():
            path.replace(_previous(path))
        beside.replace(path)
    except RuntimeError as error:
        # torch reports a failed write as its consequence: "unexpected pos 768 vs 662".
        if isinstance(error.__context__, OSError):
            raise OSError(error.__context__.errno, error.__context__.strerror, str(path)) from error
        raise
    finally:
        beside.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint from a file, with all tensors on the CPU. The function runs no code from the file.

    Raises:
        CheckpointError: the file is missing, truncated, damaged or of another version.
    """
    try:
        with path.open("rb") as file:
            digest = file.read(_HASH_BYTES)
            if hashlib.file_digest(file, _HASH).digest() != digest:
                raise CheckpointError(
                    f"{path} is damaged or not a checkpoint: wrong checksum", code="checkpoint-checksum"
                )
            file.seek(_HASH_BYTES)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(
            f"can't read the checkpoint {path}: {error.strerror}", code="checkpoint-unreadable"
        ) from error
    except Exception as error:  # torch raises many types of errors for a file of another kind
        if is_out_of_memory(error):
            raise
        raise CheckpointError(f"{path} is not a checkpoint: {one_line(error)}", code="not-a-checkpoint") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} was written by another version; this version reads format {FORMAT}", code="checkpoint-version"
        )
    action, reason = content["decision"]
    return Checkpoint(
        name=str(path),
        about=content["about"],
        epoch=content["epoch"],
        finished=content["finished"],
        decision=Decision(Action(action), reason),
        reports=tuple(ProgressReport(**report) for report in content["reports"]),
        states=content["states"],
    )


def last_good(path: Path) -> Checkpoint | None:
    """Return the newest valid checkpoint of ``path``; None if there is no valid checkpoint.

    If the newest checkpoint is damaged, log a warning and return the previous checkpoint. The training then repeats one epoch.
    """
    for place in (path, _previous(path)):
        if place.exists():
            try:
                return read_checkpoint(place)
            except CheckpointError as error:
                log.warning("%s; ignored", error)
    return None


def delete_checkpoint(path: Path) -> None:
    """Remove all files that :func:`write_checkpoint` wrote for ``path``; missing files are no error."""
    # Removes the newest file last, so that it still exists if the process is killed in between.
    remove_parts(path.parent, of=path)
    for place in (_previous(path), path):
        place.unlink(missing_ok=True)


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.name}.previous")


def _differences(saved: Mapping[str, Any], current: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the full name of each fact that differs between ``saved`` and ``current``, and a text with both values."""
    for name in sorted({*saved, *current}):
        a, b, field = saved.get(name), current.get(name), f"{prefix}{name}"
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from _differences(a, b, f"{field}.")
        elif a != b:
            yield field, f"{field} is {a!r} there and {b!r} here"
