"""The type of an initial trial: a configuration that a study tries before the sampler's first proposal."""

from dataclasses import dataclass

from cnn_lstm_hyperopt.config import Params


@dataclass(frozen=True)
class InitialTrial:
    """A configuration that a study tries before the sampler's first proposal.

    Attributes:
        params: active, searched parameters.
        origin: ``enqueued`` or the name of a portfolio entry. The origin is stored with the trial.
    """

    params: Params
    origin: str
