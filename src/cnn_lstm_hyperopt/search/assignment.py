"""The next trial of a study, or the reason why there is none."""

from dataclasses import dataclass
from enum import Enum

from cnn_lstm_hyperopt.search.limits import Cost
from cnn_lstm_hyperopt.space.domains import Scalar


@dataclass(frozen=True)
class Assignment:
    """A trial to be run.

    Attributes:
        params: full configuration, fixed parameters included.
        retry_of: number of the failed trial that this one repeats.
        seeded_as: number that determines seed and checkpoint: its own, or that of the trial whose process died.
        memory_level: place in its :func:`.memory_levels` at which it trains.
        cut_off: for a resumed trial, (epoch, number of starts at this epoch); None: first start.
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
