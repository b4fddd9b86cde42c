"""Whether more trials are likely to pay: from how much the last doubling of them brought."""

import math
from collections.abc import Sequence
from typing import NamedTuple

MORE = 100
"""Trials about which the question is asked."""
WORTH = 0.01
"""A gain of the hypervolume of a hundredth or more is worth them."""
LEAST_TRIALS = 20
"""Finished trials below which nothing is said."""


class Step(NamedTuple):
    """What was reached when so many trials were finished."""

    trials: int
    value: float


class Outlook(NamedTuple):
    """What is to be expected of more trials.

    Attributes:
        trials: finished so far.
        reached: hypervolume now.
        last_doubling: what it has gained since half of these trials.
        expected: what the next :data:`MORE` would add at that pace, as a share of ``reached``.
    """

    trials: int
    reached: float
    last_doubling: float
    expected: float

    @property
    def worth_it(self) -> bool:
        """Whether the expected gain reaches :data:`WORTH`."""
        return self.expected >= WORTH

    @property
    def sentence(self) -> str:
        """The answer, with what it rests on."""
        gain = 100 * self.last_doubling / self.reached if self.reached > 0 else 0.0
        answer = "Probably worth it" if self.worth_it else "Probably not worth it"
        return (
            f"{answer}: the second half of {self.trials:,} trials brought {gain:.1f} % of the hypervolume; at that pace per"
            f" doubling, another {MORE} trials would add about {100 * self.expected:.1f} %."
        )


def outlook(history: Sequence[Step], trials: int) -> Outlook | None:
    """What another hundred trials would add to the hypervolume, None where there is too little to go by.

    The best of n independent draws, and so what a search adds to a front by chance, grows by as much from n to 2n trials as from
    2n to 4n: records come at the rate 1/n (Rényi 1962). So the gain of the last doubling, from n/2 to n, times log2((n + m)/n) is
    what m more trials would add at the pace of late. A search that learns may do better, one that has nothing left to find
    worse: it is a rule of thumb, and told as one.

    Args:
        history: the rises of the hypervolume, all at one reference.
        trials: finished by now.
    """
    if trials < LEAST_TRIALS or not history or history[-1].value <= 0:
        return None
    reached = history[-1].value
    before = max((step.value for step in history if step.trials <= trials // 2), default=0.0)
    gain = reached - before
    return Outlook(trials, reached, gain, gain * math.log2((trials + MORE) / trials) / reached)
