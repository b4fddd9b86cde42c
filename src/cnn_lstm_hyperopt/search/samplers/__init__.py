"""The samplers by the name that settings use."""

from cnn_lstm_hyperopt.search.samplers.base import Sampler
from cnn_lstm_hyperopt.search.samplers.random import RandomSampler
from cnn_lstm_hyperopt.search.samplers.tpe import TpeSampler

SAMPLERS: dict[str, type[Sampler]] = {"tpe": TpeSampler, "random": RandomSampler}

__all__ = ["SAMPLERS", "RandomSampler", "Sampler", "TpeSampler"]
