"""Initial trials: configurations that a study tries before its sampler proposes any."""

from dataclasses import dataclass

from cnn_lstm_hyperopt.config import Params


@dataclass(frozen=True)
class InitialTrial:
    """An initial trial.

    Attributes:
        params: active, searched parameters.
        origin: ``enqueued`` or a name of the portfolio; stored with the trial.
    """

    params: Params
    origin: str
