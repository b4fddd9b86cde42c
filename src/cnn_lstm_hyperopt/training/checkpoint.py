"""A training after a whole epoch, as a file from which it goes on: to the bit, in this process or another, as if never stopped.

What changes while a network is trained is in a few objects, each of which says its state as ``torch.nn.Module`` does
(:class:`Stateful`); each fold is one of them.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from cnn_lstm_hyperopt.errors import CheckpointError
from cnn_lstm_hyperopt.progress import Action, Decision, ProgressReport
from cnn_lstm_hyperopt.training.runtime.memory import is_out_of_memory
from cnn_lstm_hyperopt.utils.atomic_io import new_part, remove_parts
from cnn_lstm_hyperopt.utils.text import one_line

log = logging.getLogger(__name__)

FORMAT = 3
_HASH, _HASH_BYTES = "sha256", 32
"""Of what ``torch.save`` wrote, which follows. That has checksums of its own, but ``torch.load`` does not compare them (2.13)."""


class Stateful(Protocol):
    """What can say its state as tensors, numbers, strings, dicts, lists and tuples, and take it back."""

    def state_dict(self) -> dict[str, Any]:
        """The state; tensors may be the object's own, not copies."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """The inverse."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training at the end of an epoch, moved on to the next one if there is one.

    Attributes:
        name: what errors call it.
        about: which training it is of, see :func:`.fold.training_facts`.
        epoch: whole epochs done.
        finished: whether there is nothing more to train: all epochs are done, or patience is exhausted.
        decision: the answer to the last report.
        reports: all that came with an evaluation so far, in order.
        states: by the name of the part. Taken from a running training, the tensors are that training's own: write it to a file
            before the training moves on.
    """

    name: str
    about: dict[str, Any]
    epoch: int
    finished: bool
    decision: Decision
    reports: tuple[ProgressReport, ...]
    states: dict[str, dict[str, Any]]

    def restore(self, parts: Mapping[str, Stateful], about: Mapping[str, Any]) -> None:
        """Gives the parts their states back. The checkpoint is used up by it: tensors become the parts' own without a copy.

        Raises:
            CheckpointError: it is of another training than ``about``.
        """
        different = list(_differences(self.about, about))
        if different:
            raise CheckpointError(f"{self.name} is of another training: {'; '.join(different)}")
        for name, part in parts.items():
            # Popped, so that weights do not lie in memory twice while somebody still holds the checkpoint.
            part.load_state_dict(self.states.pop(name))


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes beside the place and moves it there; what lay there becomes the previous one, see :func:`last_good`.

    Its folder is made if it is missing. A process that is killed on the way leaves the former checkpoint, under one of the two
    names, and perhaps a part of the new one, which the next call writes over. Nothing waits for the disk: after a power cut the
    checksum tells.

    Raises:
        OSError: it can't be written; what lay at the place is left.
    """
    path.parent.mkdir(exist_ok=True)  # alone: where its own parent was removed, nothing is to be made again
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
        # A write that fails is told by torch as what it could not do afterwards: "unexpected pos 768 vs 662".
        if isinstance(error.__context__, OSError):
            raise OSError(error.__context__.errno, error.__context__.strerror, str(path)) from error
        raise
    finally:
        beside.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> Checkpoint:
    """The inverse of :func:`write_checkpoint`, with all tensors on the CPU. No code in the file is run.

    Raises:
        CheckpointError: the file is missing, cut off, damaged or of another version.
    """
    try:
        with path.open("rb") as file:
            digest = file.read(_HASH_BYTES)
            if hashlib.file_digest(file, _HASH).digest() != digest:
                raise CheckpointError(f"{path} is damaged, cut off or no checkpoint: its checksum is wrong")
            file.seek(_HASH_BYTES)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"the checkpoint {path} can't be read: {error.strerror}") from error
    except Exception as error:  # somebody else's file, of which torch may say anything
        if is_out_of_memory(error):
            raise
        raise CheckpointError(f"{path} is no checkpoint: {one_line(error)}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} was written by another version; this one reads checkpoints of format {FORMAT}")
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
    """The newest whole checkpoint that :func:`write_checkpoint` left there; None if there is none.

    A damaged one is passed over with a warning: it costs an epoch, not the training.
    """
    for place in (path, _previous(path)):
        if place.exists():
            try:
                return read_checkpoint(place)
            except CheckpointError as error:
                log.warning("%s; going on without it", error)
    return None


def delete_checkpoint(path: Path) -> None:
    """Removes all that :func:`write_checkpoint` may have left there; nothing need be there."""
    # The newest goes last: a process that is killed on the way leaves it, not an older one.
    remove_parts(path.parent, of=path)
    for place in (_previous(path), path):
        place.unlink(missing_ok=True)


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.name}.previous")


def _differences(there: Mapping[str, Any], here: Mapping[str, Any], within: str = "") -> Iterator[str]:
    for name in sorted({*there, *here}):
        a, b = there.get(name), here.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from _differences(a, b, f"{within}{name}.")
        elif a != b:
            yield f"{within}{name} is {a!r} there and {b!r} here"
