"""Types of the outputs of the two branches, which are the inputs of the fusion."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class BranchOutput(NamedTuple):
    """Output of a branch: a sequence of vectors, ``(batch, time, width)``, and a summary vector, ``(batch, summary_width)``."""

    sequence: Tensor
    summary: Tensor


class BranchShape(NamedTuple):
    """Number of features of each tensor in a :class:`BranchOutput`."""

    width: int
    summary_width: int
