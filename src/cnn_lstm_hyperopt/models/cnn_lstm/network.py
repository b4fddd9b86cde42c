"""CNN+LSTM network: two branches, a fusion, a classification head, an optional regression head and optional highways."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cnn_lstm_hyperopt.models.cnn_lstm.blocks import PARALLEL
from cnn_lstm_hyperopt.models.cnn_lstm.cnn import ConvBranch
from cnn_lstm_hyperopt.models.cnn_lstm.highway import Highway, KernelHighway, summaries
from cnn_lstm_hyperopt.models.cnn_lstm.lstm import LstmBranch
from cnn_lstm_hyperopt.models.cnn_lstm.params import CNN, TRANSPOSED, WINDOW
from cnn_lstm_hyperopt.models.cnn_lstm.stack import StackedBranch
from cnn_lstm_hyperopt.models.layers.dropout import Dropout
from cnn_lstm_hyperopt.models.layers.recompute import run
from cnn_lstm_hyperopt.models.network import LinearModel, Network, Output

if TYPE_CHECKING:
    from cnn_lstm_hyperopt.models.cnn_lstm.branch import BranchOutput, BranchShape
    from cnn_lstm_hyperopt.models.cnn_lstm.config import CnnLstmConfig
    from cnn_lstm_hyperopt.models.cnn_lstm.fusions.base import Fusion


class FusionLayers(nn.ModuleDict):
    """The layers of a fusion, with their weights."""

    def __init__(self, fusion: Fusion, cnn: BranchShape, lstm: BranchShape) -> None:
        super().__init__(fusion.layers(cnn, lstm))
        self._fusion = fusion

    def forward(self, cnn: BranchOutput, lstm: BranchOutput) -> Tensor:
        """Join the outputs of both branches into one vector ``(batch, dim)``."""
        return self._fusion.forward(self, cnn, lstm)


class CnnLstm(Network):
    """Network with a CNN branch and an LSTM branch, which usually read the same window, a fusion and output heads.

    The LSTM branch may read the sequence of the CNN branch instead (in series), or the window with time and features exchanged
    (Karim et al. 2018, arXiv 1709.05206).
    """

    config: CnnLstmConfig

    def __init__(self, config: CnnLstmConfig) -> None:
        super().__init__()
        self.config = config
        branch = ConvBranch if config.cnn.block == PARALLEL else StackedBranch
        self.cnn = branch(config.input_dim, config.cnn)
        self.lstm = LstmBranch(config.lstm_input_dim, config.lstm)
        self.fusion = FusionLayers(config.fusion, config.cnn.shape, config.lstm.shape)
        self.dropout = Dropout(config.fusion.dropout)
        self.classify = nn.Linear(config.fusion.dim, config.n_classes)
        self.regress = nn.Linear(config.fusion.dim, 1) if config.has_regression else None
        # last, so that the other layers get the same initial weights with and without the highway
        self.highway = Highway(config.input_dim, config.n_classes, config.has_regression) if config.highway else None
        self.kernels = (
            KernelHighway(
                config.input_dim, config.lookback, config.kernel_groups, config.n_classes, config.has_regression
            )
            if config.kernel_groups and config.lookback
            else None
        )
        self.starts_linear = config.highway == "linear"
        self.recompute_in_backward(False)

    def recompute_in_backward(self, recompute: bool) -> None:
        self._recompute = self.cnn.recompute = self.lstm.recompute = recompute

    def forward(self, x: Tensor, fixed: Tensor | None = None) -> Output:
        """Return the output for windows ``(batch, lookback, input_dim)``.

        Args:
            x: windows.
            fixed: features of these windows, see :meth:`fixed_features`; None: the network computes them.
        """
        cnn = self.cnn(x)
        source = {WINDOW: x, CNN: cnn.sequence, TRANSPOSED: x.transpose(1, 2)}[self.config.lstm.input]
        fused = self.dropout(run(self.fusion, cnn, self.lstm(source), recompute=self._recompute))  # (batch, dim)
        value = self.regress(fused).squeeze(-1) if self.regress is not None else None
        output = Output(self.classify(fused), value)
        output = output if self.highway is None else self.highway(x, output)
        if self.kernels is None:
            return output
        whole: Output = self.kernels(self.kernels.features(x) if fixed is None else fixed, output)
        return whole

    def fixed_features(self, x: Tensor) -> Tensor | None:
        return None if self.kernels is None else self.kernels.features(x)

    def summaries(self, x: Tensor) -> Tensor:
        return summaries(x)

    def start_linear(self, model: LinearModel) -> None:
        """See the base class. The heads' weights become 0; their gradients are not 0, so the branches learn from step 2."""
        if self.highway is None:
            super().start_linear(model)
            return
        heads = [self.classify] if self.regress is None else [self.classify, self.regress]
        with torch.no_grad():
            self.highway.weights.weight.copy_(model.weights)
            for head, biases in zip(heads, model.biases.split([each.out_features for each in heads]), strict=True):
                head.weight.zero_()
                head.bias.copy_(biases)
