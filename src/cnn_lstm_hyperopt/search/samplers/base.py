"""The interface of the samplers."""

import abc
from collections.abc import Sequence

from cnn_lstm_hyperopt.config import Params, SamplerSettings, SearchSpace
from cnn_lstm_hyperopt.config.domains import Scalar
from cnn_lstm_hyperopt.search.told import Told


class Sampler(abc.ABC):
    """Proposes configurations. All that it knows is what it is told, so a resumed study goes on as an uninterrupted one would.

    Args:
        space: what may be proposed.
        settings: of the sampler.
        seed: of the study.
    """

    def __init__(self, space: SearchSpace, settings: SamplerSettings, seed: int) -> None:
        self.space = space
        self.settings = settings
        self.seed = seed

    @abc.abstractmethod
    def propose(self, number: int, history: Sequence[Told], attempt: int) -> dict[str, Scalar]:
        """A configuration for trial ``number``: every active parameter that is not fixed.

        Args:
            number: of the trial; with the seed it decides all randomness.
            history: finished trials in order of number; between calls it only grows.
            attempt: 0, or how many earlier proposals for this number were refused.
        """

    def searched(self, params: Params) -> dict[str, Scalar]:
        """``params`` without the fixed ones."""
        names = self.space.searched()
        return {name: value for name, value in params.items() if name in names}
