"""Features of the whole market for predictions, which need the bars of all symbols of the training."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.feature_groups import columns_of
from cnn_lstm_hyperopt.data.market_features import MARKET, MARKET_FEATURES, market_features
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.inference.metadata import ModelDescription
from cnn_lstm_hyperopt.models import NetworkConfig
from cnn_lstm_hyperopt.models.inputs import channels_of
from cnn_lstm_hyperopt.utils.text import shown_names

MarketRows = dict[str, NDArray[np.float64]]
"""Features of the market at the bars of each symbol, (bars, 4), by symbol."""


def needs_market(about: ModelDescription, networks: Iterable[NetworkConfig]) -> bool:
    """Return whether a network of a model uses features of the market."""
    of_market = set(columns_of(about.feature_groups).get(MARKET, ()))
    return any(not of_market.isdisjoint(channels_of(network)) for network in networks)


def market_rows(
    frames: Mapping[str, pd.DataFrame], about: ModelDescription, networks: Iterable[NetworkConfig]
) -> MarketRows:
    """Return the features of the market for the bars to predict.

    If no network uses these features, they are 0. If the model's windows do not have them, the result is empty.

    Args:
        frames: checked bars of all symbols to predict.
        about: description of the model.
        networks: configurations of the model's networks.

    Raises:
        DataError: the model needs the bars of a symbol that is missing.
    """
    if MARKET not in about.feature_groups:
        return {}
    if not needs_market(about, networks):
        return {symbol: np.zeros((len(frame), len(MARKET_FEATURES))) for symbol, frame in frames.items()}
    missing = [symbol for symbol in about.market if symbol not in frames]
    if missing:
        raise DataError(
            "this model uses features of the whole market (inputs.market), so it needs the bars of"
            f" {shown_names(about.market)}; missing: {shown_names(missing)}; predict all symbols together",
            field="data",
            code="market-incomplete",
        )
    return market_features(frames, about.max_gap_days)
