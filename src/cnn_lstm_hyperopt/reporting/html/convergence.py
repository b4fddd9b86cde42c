"""Estimate the gain of more trials from the gain of the last doubling."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from cnn_lstm_hyperopt.search import Milestone

MORE = 100
"""Number of further trials in the forecast."""
MIN_GAIN = 0.01
"""Relative gain of the hypervolume from which more trials are worth it."""
MIN_TRIALS = 20
"""Minimum of finished trials for a forecast."""


class Outlook(NamedTuple):
    """The expected gain of more trials.

    Attributes:
        trials: finished so far.
        last_doubling: gain of the hypervolume since half of these trials, as a share of the hypervolume.
        expected: gain by the next :data:`MORE` trials at that pace, as a share of the hypervolume.
    """

    trials: int
    last_doubling: float
    expected: float

    @property
    def worth_it(self) -> bool:
        """Whether the expected gain reaches :data:`MIN_GAIN`."""
        return self.expected >= MIN_GAIN

    @property
    def sentence(self) -> str:
        """Answer and reason in one sentence."""
        answer = "Probably worth it" if self.worth_it else "Probably not worth it"
        return (
            f"{answer}: the second half of {self.trials:,} trials brought {100 * self.last_doubling:.1f} % of the hypervolume;"
            f" at that pace per doubling, another {MORE} trials would add about {100 * self.expected:.1f} %."
        )


def outlook(history: Sequence[Milestone], trials: int) -> Outlook | None:
    """Forecast the gain of another hundred trials; None with too few trials.

    The best of n independent draws grows by as much from n to 2n draws as from 2n to 4n, because records come at the rate 1/n
    (Rényi 1962). So the gain of the last doubling, from n/2 to n, times log2((n + m)/n) is what m more trials would add. A
    sampler that learns may gain more, a search near its optimum less: it is a rule of thumb.

    Args:
        history: the rises of the hypervolume, all at one reference.
        trials: finished by now.
    """
    if trials < MIN_TRIALS or not history or history[-1].hypervolume <= 0:
        return None
    reached = history[-1].hypervolume
    before = max((step.hypervolume for step in history if step.trials <= trials // 2), default=0.0)
    gain = (reached - before) / reached
    return Outlook(trials, gain, gain * math.log2((trials + MORE) / trials))
