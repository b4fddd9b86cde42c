"""Estimate of the gain that more trials would bring, from the gain since the number of trials last doubled."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from cnn_lstm_hyperopt.evaluation import Grade
from cnn_lstm_hyperopt.search import Milestone

MORE = 100
"""Number of further trials whose gain is forecast."""
MIN_GAIN = 0.01
"""Minimum relative gain of the hypervolume at which more trials are called worth it."""
MIN_TRIALS = 20
"""Minimum number of finished trials for a forecast."""


class Outlook(NamedTuple):
    """Expected gain of the hypervolume from more trials.

    Attributes:
        trials: number of finished trials.
        last_doubling: gain of the hypervolume in the second half of these trials, as a share of the hypervolume.
        expected: gain expected from the next :data:`MORE` trials, as a share of the hypervolume.
    """

    trials: int
    last_doubling: float
    expected: float

    @property
    def worth_it(self) -> bool:
        """Whether the expected gain is at least :data:`MIN_GAIN`."""
        return self.expected >= MIN_GAIN

    def sentence(self, grade: Grade | None) -> str:
        """Return sentences that say whether more trials are probably worth it, and why; the grade has precedence.

        Args:
            grade: grade of model 1 on the test set; None: no model was tested.
        """
        if self.worth_it and grade not in (None, Grade.BETTER):
            answer = f"Probably not worth it: model 1 is {grade}. The hypervolume still grows"
        else:
            answer = "Probably worth it" if self.worth_it else "Probably not worth it"
        return (
            f"{answer}: the second half of {self.trials:,} trials brought {100 * self.last_doubling:.1f} % of the hypervolume;"
            f" at that pace per doubling, another {MORE} trials would add about {100 * self.expected:.1f} %."
        )


def outlook(history: Sequence[Milestone], trials: int) -> Outlook | None:
    """Forecast the gain of the hypervolume from :data:`MORE` further trials; None with too few trials.

    The best of n independent draws grows by as much from n to 2n draws as from 2n to 4n, because records come at the rate 1/n
    (Rényi 1962). So m more trials add the gain from n/2 to n trials times log2((n + m)/n). This is a rule of thumb: a
    sampler that uses earlier results may gain more, and a search near its optimum less.

    Args:
        history: increases of the hypervolume, all with the same reference point.
        trials: number of finished trials.
    """
    if trials < MIN_TRIALS or not history or history[-1].hypervolume <= 0:
        return None
    reached = history[-1].hypervolume
    before = max((step.hypervolume for step in history if step.trials <= trials // 2), default=0.0)
    gain = (reached - before) / reached
    return Outlook(trials, gain, gain * math.log2((trials + MORE) / trials))
