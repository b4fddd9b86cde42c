"""The samplers: each file, or package, that defines a :class:`Sampler` is one. A new one is a new file."""

from cnn_lstm_hyperopt.search.samplers.base import Proposal, ProposalRequest, Sampler
from cnn_lstm_hyperopt.search.samplers.random import RandomSampler, random_configuration
from cnn_lstm_hyperopt.utils.registry import members

SAMPLERS: dict[str, type[Sampler]] = members(__name__, Sampler)
"""By the name that settings use."""

__all__ = ["SAMPLERS", "Proposal", "ProposalRequest", "RandomSampler", "Sampler", "random_configuration"]
