"""Estimate of the gain from more trials, based on the gain in the second half of the trials."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from cnn_lstm_hyperopt.evaluation import Grade
from cnn_lstm_hyperopt.search import Milestone

MORE = 100
"""Number of additional trials for which the gain is forecast."""
MIN_GAIN = 0.01
"""Minimum expected gain, as a share of the hypervolume, for the report to recommend more trials."""
MIN_TRIALS = 20
"""Minimum number of finished trials for a forecast of the gain."""


class Outlook(NamedTuple):
    """Expected gain of the hypervolume from more trials.

    Attributes:
        trials: number of finished trials.
        last_doubling: gain of the hypervolume in the second half of the finished trials, as a share of the final hypervolume.
        expected: gain expected from the next :data:`MORE` trials, as a share of the hypervolume.
    """

    trials: int
    last_doubling: float
    expected: float

    @property
    def worth_it(self) -> bool:
        """True if the expected gain is at least :data:`MIN_GAIN`."""
        return self.expected >= MIN_GAIN

    def recommended(self, grade: Grade | None) -> bool:
        """Return True if more trials are recommended: the expected gain is large, and no baseline is to be preferred."""
        return self.worth_it and grade in (None, Grade.BETTER)

    def sentence(self, grade: Grade | None) -> str:
        """Return sentences that recommend more trials or advise against them, with the reason.

        The grade counts more than the gain.

        Args:
            grade: grade of model 1 on the test set; None: no model was tested.
        """
        if self.worth_it and not self.recommended(grade):
            answer = f"Probably not worth it: model 1 is {grade}. The hypervolume still grows"
        else:
            answer = "Probably worth it" if self.worth_it else "Probably not worth it"
        return (
            f"{answer}: the second half of {self.trials:,} trials brought {100 * self.last_doubling:.1f} % of the hypervolume;"
            f" at that pace per doubling, another {MORE} trials would add about {100 * self.expected:.1f} %."
        )


def outlook(history: Sequence[Milestone], trials: int) -> Outlook | None:
    """Forecast how much :data:`MORE` additional trials would increase the hypervolume.

    Return None with too few finished trials.

    Draw n of independent trials is the best so far with probability 1/n (Rényi 1962). So each doubling of the number of trials
    is expected to bring the same gain. After n trials, m additional trials are expected to bring log2((n + m)/n) times the
    gain of the last n/2 trials. This forecast is a rule of thumb. A sampler that uses earlier results may gain more. A search
    near its optimum may gain less.

    Args:
        history: the trials that increased the hypervolume, with its value after each. The reference point is always the same.
        trials: number of finished trials.
    """
    if trials < MIN_TRIALS or not history or history[-1].hypervolume <= 0:
        return None
    reached = history[-1].hypervolume
    before = max((step.hypervolume for step in history if step.trials <= trials // 2), default=0.0)
    gain = (reached - before) / reached
    return Outlook(trials, gain, gain * math.log2((trials + MORE) / trials))
