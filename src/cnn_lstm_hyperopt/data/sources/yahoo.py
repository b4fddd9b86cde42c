"""Source of daily bars from Yahoo Finance, read with the package yfinance. A cache stores the bars for resumed studies."""

import logging
import re
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from cnn_lstm_hyperopt.config.schema.data import BadBars
from cnn_lstm_hyperopt.data.bars import Bars, bars_of
from cnn_lstm_hyperopt.data.problems import BadBarsError, Findings
from cnn_lstm_hyperopt.data.sources.base import Source, Span, choose_dates, listing, read_all, span_of
from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource
from cnn_lstm_hyperopt.data.tables.columns import Table, frame_columns
from cnn_lstm_hyperopt.data.tables.parquet_files import read_parquet
from cnn_lstm_hyperopt.data.validation.symbols import unique_symbols
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.atomic_io import cache_folder, written_beside
from cnn_lstm_hyperopt.utils.rng import stream
from cnn_lstm_hyperopt.utils.text import install_command, typed_line

TRIES = 3
FIRST_WAIT = 0.5
"""Pause in seconds before the second attempt.

The pause doubles before each later attempt and is extended by up to half at random.
"""
TIMEOUT = 10
"""Timeout of a request to Yahoo, in seconds."""
_ADJUSTED = "splits and dividends, by Yahoo Finance (yfinance, auto_adjust)"
_COLUMNS = ["Open", "High", "Low", "Close", "Volume"]
_NO_SUCH_SYMBOL = ("YFTzMissingError", "YFPricesMissingError", "YFTickerMissingError")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class YahooSource(Source):
    """Source of daily bars from Yahoo Finance, adjusted for splits and dividends.

    The whole history of a symbol is downloaded once. Later runs read the symbol's file in the cache and report the age of the
    file. So a resumed study gets the same bars.
    """

    name, place = "yahoo", 3
    description = "bars downloaded from Yahoo Finance and cached"
    survivorship = (
        "Yahoo Finance has mostly companies that are still listed: those that failed are missing. Symbols chosen today"
        " did well in the past, so results are too optimistic"
    )
    on_bad_bars: BadBars = "error"

    def available(self) -> dict[str, Span]:
        """Return the first and the last date of each symbol in the cache. Yahoo offers no list of symbols."""
        spans: dict[str, Span] = {}
        for path in sorted(cache_file("X").parent.glob("*.parquet")):
            found = Findings(path.stem, str(path), "drop")
            spans[path.stem] = span_of(bars_of(path.stem, read_parquet(path, (), found), found, adjusted=_ADJUSTED))
        return spans

    def load(self, symbols: Sequence[str], start: date | None, end: date | None) -> tuple[list[Bars], list[str]]:
        """See :class:`~cnn_lstm_hyperopt.data.sources.base.Source`."""
        names = [symbol.upper() for symbol in unique_symbols(symbols)]
        if not names:
            text = "source: yahoo needs symbols, such as --symbols AAPL MSFT: Yahoo offers no list of all"
            raise DataError(text, field="data.symbols", code="symbols-required")
        notes: list[str] = []

        def read(symbol: str) -> Bars:
            found = Findings(symbol, "Yahoo Finance", self.on_bad_bars)
            table, note = _cached(symbol) or _fetch_and_store(symbol, found)
            notes.append(note)
            return bars_of(symbol, table, found, adjusted=_ADJUSTED, start=start, end=end)

        kept, more = choose_dates(read_all(names, read), start, end, asked=True)
        return kept, [*notes, *more]


def cache_file(symbol: str) -> Path:
    """Return the path of a symbol's file in the cache."""
    name = "".join(letter if letter.isalnum() or letter in "-^=." else "_" for letter in symbol)
    if re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name):  # device names on Windows
        name = f"_{name}"
    return cache_folder() / "yahoo" / f"{name}.parquet"


def _cached(symbol: str) -> tuple[Table, str] | None:
    """Return the cached table of a symbol and a note about its age, or None if the cache has no readable file."""
    path = cache_file(symbol)
    if not path.is_file():
        return None
    try:
        table = read_parquet(path, (), Findings(symbol, str(path)))
    except (BadBarsError, OSError) as error:
        log.warning("%s can't be read (%s); downloading again", path, error)
        return None
    seconds = time.time() - path.stat().st_mtime
    fetched = datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
    age = f"{seconds / 86400:.0f} days" if seconds >= 172_800 else f"{max(seconds, 0) / 3600:.0f} hours"
    return table, (
        f"{symbol}: bars from the cache, downloaded from Yahoo Finance on {fetched}, {age} ago; to download them again, delete"
        f" {path}"
    )


def _fetch_and_store(symbol: str, found: Findings) -> tuple[Table, str]:
    raw = _fetch(symbol)
    table = frame_columns(raw, (), found)
    path = cache_file(symbol)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_beside(path) as beside:
            raw.to_parquet(beside)
    except OSError as error:
        return (
            table,
            f"{symbol}: downloaded from Yahoo Finance, but can't be stored in {path} ({error}): the next run downloads it again",
        )
    return table, f"{symbol}: downloaded from Yahoo Finance; a resumed study reads it from {path}"


def _fetch(symbol: str) -> pd.DataFrame:
    """Download all daily bars of a symbol. Failed requests are repeated a few times unless Yahoo answers that it has no bars.

    Raises:
        DataError: the download failed. The text has the reason and names other sources.
    """
    try:
        import yfinance
    except ImportError as error:
        raise _failure(
            symbol, f"the package yfinance is missing: {install_command('yahoo')}", "missing-extra"
        ) from error
    waits = stream(int(time.time()), TRIES, f"yahoo {symbol}").uniform(1, 1.5, TRIES)
    for attempt in range(TRIES):
        try:
            with _quiet(yfinance):
                return _history(yfinance, symbol)
        except Exception as error:  # yfinance and curl raise many types
            if attempt + 1 == TRIES or type(error).__name__ in _NO_SUCH_SYMBOL:
                raise _failure(symbol, *_reason(error)) from error
            log.info("Yahoo Finance: %s (%s); retrying", symbol, error)
            time.sleep(FIRST_WAIT * 2**attempt * waits[attempt])
    raise _failure(symbol, "no answer", "yahoo-failed")


def _history(yfinance: Any, symbol: str) -> pd.DataFrame:
    yfinance.set_tz_cache_location(str(cache_file(symbol).parent / "yfinance"))
    history: pd.DataFrame = yfinance.Ticker(symbol).history(
        period="max", interval="1d", auto_adjust=True, actions=False, timeout=TIMEOUT
    )
    today = pd.Timestamp.now(history.index.tz).normalize() if isinstance(history.index, pd.DatetimeIndex) else None
    history = history[history.index < today] if today is not None else history  # the current day is incomplete
    if history.empty:
        raise LookupError("Yahoo Finance sends no bars")
    return history[_COLUMNS]


@contextmanager
def _quiet(yfinance: Any) -> Iterator[None]:
    """Context in which yfinance raises errors instead of printing them, and shows no warnings."""
    logger = logging.getLogger("yfinance")
    level, hidden = logger.level, yfinance.config.debug.hide_exceptions
    logger.setLevel(logging.CRITICAL + 1)
    yfinance.config.debug.hide_exceptions = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        yfinance.config.debug.hide_exceptions = hidden


def _reason(error: Exception) -> tuple[str, str]:
    """Return the reason why a request to Yahoo failed, and the error code."""
    name = type(error).__name__
    if name in _NO_SUCH_SYMBOL:
        return "Yahoo Finance has no bars of this symbol", "unknown-symbol"
    if name == "YFRateLimitError":
        return "Yahoo Finance limits the number of requests; try again later", "yahoo-rate-limit"
    if isinstance(error, OSError):
        return f"no connection to Yahoo Finance ({name})", "yahoo-no-connection"
    return typed_line(error), "yahoo-failed"


def _failure(symbol: str, reason: str, code: str) -> DataError:
    return DataError(
        f"{symbol} can't be downloaded: {reason}; use --source embedded ({listing(EmbeddedSource().available())}),"
        " or your files: --data-dir DIR (SYMBOL.csv or SYMBOL.parquet)",
        field=symbol,
        code=code,
    )
