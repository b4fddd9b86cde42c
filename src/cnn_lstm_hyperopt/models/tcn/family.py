"""Public interface of the family of temporal convolutional networks."""

from collections.abc import Mapping
from typing import Any

from cnn_lstm_hyperopt.models.tcn.config import BATCH, PARAMETERS, TcnConfig, read_layers
from cnn_lstm_hyperopt.space.parameters import Params, Specs


class TcnFamily:
    """The family of temporal convolutional networks; see :class:`.Family` for its methods."""

    name = TcnConfig.family
    parameters: Specs = PARAMETERS
    structure = "residual blocks of dilated causal convolutions"
    recomputes = True

    def config(
        self, params: Params, *, input_dim: int, n_classes: int, has_regression: bool, lookback: int | None = None
    ) -> TcnConfig:
        return TcnConfig(input_dim, n_classes, has_regression, read_layers(params))

    def build(self, config: TcnConfig) -> Any:
        from cnn_lstm_hyperopt.models.tcn.network import Tcn

        return Tcn(config)

    def splits_batches(self, params: Params) -> bool:
        return params.get("tcn.norm") != BATCH

    def columns(self, params: Params) -> Mapping[str, str]:
        layers = read_layers(params)
        return {
            "channels": str(layers.channels),
            "blocks": str(layers.blocks),
            "kernel": f"{layers.kernel_size}, {layers.norm} norm",
        }
