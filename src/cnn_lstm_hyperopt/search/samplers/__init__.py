"""All samplers. Each sampler is a subclass of :class:`Sampler` in a file or a package of this folder."""

from collections.abc import Mapping

from cnn_lstm_hyperopt.search.samplers.base import Proposal, ProposalRequest, Sampler
from cnn_lstm_hyperopt.search.samplers.random import RandomSampler, random_configuration
from cnn_lstm_hyperopt.utils.registry import Members

SAMPLERS: Mapping[str, type[Sampler]] = Members(__name__, Sampler)
"""Sampler classes by the name of the sampler in the settings, imported when the study needs one."""

__all__ = ["SAMPLERS", "Proposal", "ProposalRequest", "RandomSampler", "Sampler", "random_configuration"]
