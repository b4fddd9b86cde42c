"""Search on a DataFrame of bars, such as that of yfinance.download: python examples/search_frame_of_bars.py"""

import tempfile

import pandas as pd

from cnn_lstm_hyperopt import search_bars
from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource

bars = {each.symbol: each.frame for each in EmbeddedSource().load(("AAPL", "IBM"), None, None)[0]}
frame = pd.concat(bars, axis=1).loc["2004":"2009"]  # two levels of columns: symbol, price
retrain = {"top_k": 1, "confirm_seeds": 1, "seeds": 1, "full_epochs": 5}
config = {"workers": 1, "data": {"lookback": 20}, "training": {"max_epochs": 3}, "retrain": retrain}
with tempfile.TemporaryDirectory() as folder:
    results = search_bars(frame, target="volatility", budget="10m", n_trials=3, save_dir=folder, config=config)
print(results["picks"])
print(results["verdict"]["sentence"])
