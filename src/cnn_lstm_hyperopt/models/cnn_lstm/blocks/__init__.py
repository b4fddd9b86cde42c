"""All convolution blocks of the CNN+LSTM family that a branch can stack. Each block has a file in this folder."""

from collections.abc import Mapping

from cnn_lstm_hyperopt.models.cnn_lstm.blocks.base import Block
from cnn_lstm_hyperopt.utils.registry import members

BLOCKS: Mapping[str, type[Block]] = members(__name__, Block)
"""Blocks by name, in the order of the search space."""
PARALLEL = "parallel"
"""Value of ``cnn.block`` for the branch of the specification: one layer of parallel filters, see :class:`.ConvBranch`."""
