"""Configurations that a study begins with, before its sampler proposes any."""

from dataclasses import dataclass

from cnn_lstm_hyperopt.config import Params


@dataclass(frozen=True)
class Start:
    """A configuration that is tried first.

    Attributes:
        params: active, searched parameters.
        origin: where it comes from, for the trial's record: ``enqueued`` or a name of the portfolio.
    """

    params: Params
    origin: str
