"""What a study hands out: a trial to be run, or why there is none."""

from dataclasses import dataclass
from enum import Enum

from cnn_lstm_hyperopt.search.limits import Cost
from cnn_lstm_hyperopt.space.domains import Scalar


@dataclass(frozen=True)
class Assignment:
    """A trial to be run.

    Attributes:
        params: its whole configuration, fixed parameters included.
        retry_of: number of the failed trial that it repeats.
        seeded_as: number that seeds it and names its checkpoint: its own, or that of the trial whose process died.
        memory_level: place in its :func:`.memory_levels` at which it trains.
        cut_off: where it stood when it was started before, and how often it has started there; None: this is its first start.
    """

    trial_id: int
    number: int
    params: dict[str, Scalar]
    cost: Cost
    retry_of: int | None = None
    seeded_as: int = -1
    memory_level: int = 0
    cut_off: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.seeded_as < 0:
            object.__setattr__(self, "seeded_as", self.number)


class NoTrial(Enum):
    """Why there is no next trial."""

    ENOUGH = "the study has all its trials"
    OTHERS_RUN_THE_REST = "the last ones are running elsewhere"
    SPACE_USED_UP = "every configuration of the space that keeps the limits was tried"
