"""A training after a whole epoch, as a file from which it goes on: to the bit, in this process or another, as if never stopped.

What changes while a network is trained is in a few objects, each of which says its state as ``torch.nn.Module`` does
(:class:`Stateful`); each fold is one of them.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from cnn_lstm_hyperopt.exceptions import CheckpointError
from cnn_lstm_hyperopt.progress import ProgressReport

FORMAT = 2
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
    """The state of a training at the end of an epoch, with the schedule and the balancing moved on to the next one.

    Attributes:
        name: what errors call it.
        about: which training it is of, see :func:`.fold.training_facts`.
        epoch: whole epochs done; never the last one, after which there is nothing to go on with.
        reports: all that came with an evaluation so far, in order.
        states: by the name of the part. Taken from a running training, the tensors are that training's own: write it to a file
            before the training moves on.
    """

    name: str
    about: dict[str, Any]
    epoch: int
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


def take_checkpoint(
    about: dict[str, Any], parts: Mapping[str, Stateful], reports: list[ProgressReport], epoch: int
) -> Checkpoint:
    """The checkpoint of a running training; it costs no copy."""
    states = {name: part.state_dict() for name, part in parts.items()}
    return Checkpoint(f"the checkpoint of epoch {epoch}", about, epoch, tuple(reports), states)


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes beside the place and moves it there; folders are made if they are missing.

    Raises:
        OSError: it can't be written; what lay at the place is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    content = {
        "format": FORMAT,
        "about": checkpoint.about,
        "epoch": checkpoint.epoch,
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
            file.flush()
            os.fsync(file.fileno())
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
    except (CheckpointError, MemoryError):
        raise
    except OSError as error:
        raise CheckpointError(f"the checkpoint {path} can't be read: {error.strerror}") from error
    except Exception as error:  # somebody else's file, of which torch may say anything
        raise CheckpointError(f"{path} is no checkpoint: {_line(error)}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} was written by another version; this one reads checkpoints of format {FORMAT}")
    reports = tuple(ProgressReport(**report) for report in content["reports"])
    return Checkpoint(str(path), content["about"], content["epoch"], reports, content["states"])


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _differences(there: Mapping[str, Any], here: Mapping[str, Any], within: str = "") -> Iterator[str]:
    for name in sorted({*there, *here}):
        a, b = there.get(name), here.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from _differences(a, b, f"{within}{name}.")
        elif a != b:
            yield f"{within}{name} is {a!r} there and {b!r} here"
