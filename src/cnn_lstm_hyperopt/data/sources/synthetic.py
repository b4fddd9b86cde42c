"""Synthetic market with a known best accuracy. The market serves to test the search and does not model a real market."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from cnn_lstm_hyperopt.data.bars import Bars
from cnn_lstm_hyperopt.data.sources.base import Source, Span, choose_dates, listing
from cnn_lstm_hyperopt.data.validation.symbols import unique_symbols
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.rng import stream
from cnn_lstm_hyperopt.utils.text import shown_names

SYMBOLS = ("SYN1", "SYN2", "SYN3", "SYN4", "SYN5")
BARS = 3000
FIRST_DAY = "2000-01-03"
BEST = 0.72
"""Probability that the next return has the sign that the bar and the regime predict.

This probability is the best accuracy that a model can reach.
"""
SWITCH = 1 / 60
"""Probability that the regime ends at a bar. A regime lasts 60 bars on average."""
RETURN_SIZE = 0.008
"""Standard deviation of a bar's return before its sign is drawn."""
LONG_WICK = {"follow": 0.008, "fade": 0.024}
"""Mean length of a bar's longer wick in log prices, for each regime. The shorter wick has a quarter of this length."""


@dataclass(frozen=True)
class SyntheticSource(Source):
    """Source of synthetic bars with two alternating regimes. The longer wick of a bar points up or down at random.

    The push of a bar is up if its lower wick is longer, and down otherwise. In the regime *follow*, the next return has the
    sign of the push with probability 0.72. In the regime *fade*, the next return has the opposite sign with probability 0.72.
    Only the length of the wicks shows the regime. Neither the push alone nor the length alone predicts the sign of the next
    return. So a linear model of the features can't predict the sign. The returns alone form a random walk. A model that knows
    the regime is right in 72 % of the cases. No model has a higher accuracy on average, because the sign is drawn with this
    probability given the whole past.

    Attributes:
        synthetic_seed: seed of the random numbers from which the market is drawn.
    """

    name, place = "synthetic", 0
    description = "a market with a known best accuracy"
    survivorship = "none: no symbol disappears from a synthetic market"
    synthetic_seed: int

    def best_accuracy(self, target: str, horizon: int) -> float | None:
        """Return the best accuracy that a model can reach on average, or None if it is unknown for this target."""
        return BEST if target == "direction" and horizon == 1 else None

    def available(self) -> dict[str, Span]:
        """See :class:`~cnn_lstm_hyperopt.data.sources.base.Source`."""
        days = _days()
        return dict.fromkeys(SYMBOLS, (days[0].date(), days[-1].date()))

    def load(self, symbols: Sequence[str], start: date | None, end: date | None) -> tuple[list[Bars], list[str]]:
        """See :class:`~cnn_lstm_hyperopt.data.sources.base.Source`."""
        chosen = [name.upper() for name in unique_symbols(symbols)] or list(SYMBOLS)
        available = listing(self.available())
        missing = [name for name in chosen if name not in SYMBOLS]
        if missing:
            raise DataError(
                f"the synthetic market has no {shown_names(missing)}; available: {available}; for real bars use"
                " --use-real-data or --data-dir DIR",
                field="data.symbols",
                code="unknown-symbol",
            )
        every = [_bars(name, self.synthetic_seed) for name in chosen]
        return choose_dates(every, start, end, asked=bool(symbols), available=available)


def _days() -> pd.DatetimeIndex:
    return pd.bdate_range(FIRST_DAY, periods=BARS, name="date").as_unit("ns")


def _bars(symbol: str, seed: int) -> Bars:
    """Return the bars of one symbol of the market with a given seed. The symbols are independent."""
    random = stream(seed, SYMBOLS.index(symbol), "synthetic market")
    fade = (np.cumsum(random.random(BARS) < SWITCH) + random.integers(2)) % 2 == 1  # (bars,)
    push = random.choice([-1.0, 1.0], BARS)
    obeys = np.where(random.random(BARS) < BEST, 1.0, -1.0)
    called_for = np.where(fade, -push, push)  # entry t: prediction by bar t for bar t + 1
    signs = np.concatenate([[1.0], (called_for * obeys)[:-1]])
    returns = signs * np.abs(random.normal(0, RETURN_SIZE, BARS))
    close = 100 * np.exp(np.cumsum(returns))
    opened = np.concatenate([[100.0], close[:-1]])
    long_wick = random.gamma(16, np.where(fade, LONG_WICK["fade"], LONG_WICK["follow"]) / 16)
    short_wick = long_wick / 4
    high = np.maximum(opened, close) * np.exp(np.where(push > 0, short_wick, long_wick))
    low = np.minimum(opened, close) * np.exp(-np.where(push > 0, long_wick, short_wick))
    volume = np.exp(random.normal(14, 0.3, BARS))
    frame = pd.DataFrame({"open": opened, "high": high, "low": low, "close": close, "volume": volume}, index=_days())
    return Bars(symbol, frame, "synthetic: nothing to adjust")
