"""Public interface of the CNN+LSTM family."""

from collections.abc import Mapping
from typing import Any

from cnn_lstm_hyperopt.models.cnn_lstm.config import CnnLstmConfig
from cnn_lstm_hyperopt.models.cnn_lstm.describe import columns
from cnn_lstm_hyperopt.models.cnn_lstm.params import (
    PARAMETERS,
    read_cnn,
    read_fusion,
    read_highway,
    read_kernel_groups,
    read_lstm,
)
from cnn_lstm_hyperopt.space.parameters import Params, Specs


class CnnLstmFamily:
    """The CNN+LSTM family; see :class:`.Family` for its methods."""

    name = CnnLstmConfig.family
    parameters: Specs = PARAMETERS
    structure = "a convolutional and a recurrent branch"
    recomputes = True

    def config(
        self, params: Params, *, input_dim: int, n_classes: int, has_regression: bool, lookback: int | None = None
    ) -> CnnLstmConfig:
        cnn, lstm, fusion = read_cnn(params), read_lstm(params), read_fusion(params)
        highway, groups = read_highway(params), read_kernel_groups(params)
        return CnnLstmConfig(input_dim, n_classes, has_regression, cnn, lstm, fusion, highway, groups, lookback)

    def build(self, config: CnnLstmConfig) -> Any:
        from cnn_lstm_hyperopt.models.cnn_lstm.network import CnnLstm

        return CnnLstm(config)

    def splits_batches(self, params: Params) -> bool:
        """See the base class. The features of random kernels have batch normalisation, too."""
        return params.get("cnn.norm") != "batch" and not params.get("highway.kernel_groups")

    def columns(self, params: Params) -> Mapping[str, str]:
        return columns(read_cnn(params), read_lstm(params), read_fusion(params))
