"""Types of the two answers to a request for a trial: a trial to run, or the reason why no trial is left."""

from dataclasses import dataclass
from enum import Enum

from cnn_lstm_hyperopt.search.limits import Cost
from cnn_lstm_hyperopt.space.domains import Scalar


@dataclass(frozen=True)
class Assignment:
    """A trial that the caller must run.

    Attributes:
        params: full configuration, fixed parameters included.
        retry_of: number of the failed trial that this trial repeats; None if the trial is not a retry.
        seeded_as: trial number from which the seed and the checkpoint's name are derived. This is the trial's own number or, if
            the trial repeats a trial whose process died, the number of that trial.
        memory_level: level at which the trial trains, as an index in the result of :func:`.memory_levels`.
        cut_off: for a resumed trial, the epoch at which the trial was interrupted and the number of its starts at this epoch;
            None for a trial that starts for the first time.
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
    """Reason why a study has no next trial."""

    ENOUGH = "the study has all its trials"
    OTHERS_RUN_THE_REST = "the last ones are running elsewhere"
    SPACE_USED_UP = "every configuration of the space that keeps the limits was tried"
