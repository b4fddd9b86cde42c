"""Memory levels: ways to train the same configuration, each with less memory than the level before."""

from dataclasses import dataclass

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.models import family_of


@dataclass(frozen=True)
class MemoryLevel:
    """One way to train a configuration; the results of all levels differ only by rounding and random dropout.

    Attributes:
        micro_batches: number of parts of a batch that are processed one after the other; their gradients are summed.
        gradient_checkpointing: whether the backward pass recomputes intermediate results.
    """

    micro_batches: int
    gradient_checkpointing: bool = False

    def __str__(self) -> str:
        parts = f"batches in {self.micro_batches} parts, gradients accumulated" if self.micro_batches > 1 else ""
        checkpointing = "gradient checkpointing" if self.gradient_checkpointing else ""
        return ", ".join(part for part in (parts, checkpointing) if part) or "none"


def memory_levels(batch_size: int) -> tuple[MemoryLevel, ...]:
    """Return the memory levels in order: whole batches, half batches, quarter batches, …, single windows, gradient checkpointing.

    Args:
        batch_size: batch size of the configuration, ≥ 1.
    """
    parts = [1]
    while parts[-1] < batch_size:
        parts.append(min(2 * parts[-1], batch_size))
    return *(MemoryLevel(count) for count in parts), MemoryLevel(parts[-1], gradient_checkpointing=True)


def levels_of(params: Params) -> tuple[MemoryLevel, ...]:
    """Return the memory levels of a full configuration; a configuration without a batch size counts as one with batch size 1.

    Batch normalisation of a part of a batch would have other statistics. So a configuration with batch normalisation has only
    whole batches, without and with gradient checkpointing. Some families have no gradient checkpointing.
    """
    family = family_of(params)
    if family.splits_batches(params):
        levels = memory_levels(int(params.get("training.batch_size", 1)))
    else:
        levels = MemoryLevel(1), MemoryLevel(1, gradient_checkpointing=True)
    return levels if family.recomputes else levels[:-1]
