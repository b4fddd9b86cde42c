"""All samplers. Each sampler is a subclass of :class:`Sampler` in a file or a package of this folder."""

from cnn_lstm_hyperopt.search.samplers.base import Proposal, ProposalRequest, Sampler
from cnn_lstm_hyperopt.search.samplers.random import RandomSampler, random_configuration
from cnn_lstm_hyperopt.utils.registry import members

SAMPLERS: dict[str, type[Sampler]] = members(__name__, Sampler)
"""Sampler classes by the name of the sampler in the settings."""

__all__ = ["SAMPLERS", "Proposal", "ProposalRequest", "RandomSampler", "Sampler", "random_configuration"]
