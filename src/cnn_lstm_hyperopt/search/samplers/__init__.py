"""The samplers by the name that settings use."""

from cnn_lstm_hyperopt.search.samplers.base import Proposal, Question, Sampler
from cnn_lstm_hyperopt.search.samplers.cmaes.sampler import CmaEsSampler
from cnn_lstm_hyperopt.search.samplers.gp.regression import GpSampler
from cnn_lstm_hyperopt.search.samplers.nsga2 import Nsga2Sampler
from cnn_lstm_hyperopt.search.samplers.random import RandomSampler, random_configuration
from cnn_lstm_hyperopt.search.samplers.tpe import TpeSampler

SAMPLERS: dict[str, type[Sampler]] = {
    "tpe": TpeSampler,
    "cmaes": CmaEsSampler,
    "random": RandomSampler,
    "nsga2": Nsga2Sampler,
    "gp": GpSampler,
}

__all__ = ["SAMPLERS", "Proposal", "Question", "RandomSampler", "Sampler", "random_configuration"]
