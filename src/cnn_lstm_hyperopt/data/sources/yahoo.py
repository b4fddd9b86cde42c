"""Daily bars from Yahoo Finance, through the package yfinance; kept in a cache, so that a study can go on with the same bars."""

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
from cnn_lstm_hyperopt.utils.text import typed_line

TRIES = 3
FIRST_WAIT = 0.5
"""Seconds before the second try; doubled for each that follows, and up to half as long again by chance."""
TIMEOUT = 10
"""Seconds that Yahoo may take to answer."""
_ADJUSTED = "splits and dividends, by Yahoo Finance (yfinance, auto_adjust)"
_INSTALL = "pip install 'cnn-lstm-hyperopt[yahoo]' (in its repository: pip install -e '.[yahoo]')"
_COLUMNS = ["Open", "High", "Low", "Close", "Volume"]
_NO_SUCH_SYMBOL = ("YFTzMissingError", "YFPricesMissingError", "YFTickerMissingError")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class YahooSource(Source):
    """Daily bars of any symbol that Yahoo Finance knows, adjusted for splits and dividends.

    A symbol is fetched once, with all its history. After that its file in the cache is used, whatever its age, which is said:
    so a study goes on with the bars that it was begun with.
    """

    name, place = "yahoo", 3
    description = "bars downloaded from Yahoo Finance and cached"
    survivorship = (
        "Yahoo Finance has mostly companies that are still listed: those that failed are missing. Symbols chosen today are"
        " those that did well, so results are too optimistic"
    )
    on_bad_bars: BadBars = "error"

    def available(self) -> dict[str, Span]:
        """First and last date of each symbol in the cache; Yahoo itself can't be asked for a list."""
        spans: dict[str, Span] = {}
        for path in sorted(cache_file("X").parent.glob("*.parquet")):
            found = Findings(path.stem, str(path), "drop")
            spans[path.stem] = span_of(bars_of(path.stem, read_parquet(path, (), found), found, adjusted=_ADJUSTED))
        return spans

    def load(self, symbols: Sequence[str], start: date | None, end: date | None) -> tuple[list[Bars], list[str]]:
        """See :class:`~cnn_lstm_hyperopt.data.sources.base.Source`."""
        names = [symbol.upper() for symbol in unique_symbols(symbols)]
        if not names:
            text = "source: yahoo needs symbols, such as --symbols AAPL MSFT: there is no list of all"
            raise DataError(text, field="data.symbols", code="symbols-required")
        notes: list[str] = []

        def read(symbol: str) -> Bars:
            found = Findings(symbol, "Yahoo Finance", self.on_bad_bars)
            table, note = _cached(symbol) or _fetch_and_keep(symbol, found)
            notes.append(note)
            return bars_of(symbol, table, found, adjusted=_ADJUSTED, start=start, end=end)

        kept, more = choose_dates(read_all(names, read), start, end, asked=True)
        return kept, [*notes, *more]


def cache_file(symbol: str) -> Path:
    """Where the bars of a symbol are kept."""
    name = "".join(letter if letter.isalnum() or letter in "-^=." else "_" for letter in symbol)
    if re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name):  # names of devices on Windows, and tickers too
        name = f"_{name}"
    return cache_folder() / "yahoo" / f"{name}.parquet"


# ---------------------------------------------------------------------- the cache


def _cached(symbol: str) -> tuple[Table, str] | None:
    """What the cache has of a symbol, and how old it is; None: nothing that can be read."""
    path = cache_file(symbol)
    if not path.is_file():
        return None
    try:
        table = read_parquet(path, (), Findings(symbol, str(path)))
    except (BadBarsError, OSError) as error:
        log.warning("%s can't be read (%s); fetched anew", path, error)
        return None
    seconds = time.time() - path.stat().st_mtime
    fetched = datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
    age = f"{seconds / 86400:.0f} days" if seconds >= 172_800 else f"{max(seconds, 0) / 3600:.0f} hours"
    return table, (
        f"{symbol}: bars as fetched from Yahoo Finance on {fetched}, {age} ago, from the cache; to fetch them anew delete {path}"
    )


def _fetch_and_keep(symbol: str, found: Findings) -> tuple[Table, str]:
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
            f"{symbol}: fetched from Yahoo Finance now, but can't be kept in {path} ({error}): it will be fetched again",
        )
    return table, f"{symbol}: fetched from Yahoo Finance now; a study that goes on takes it from {path}"


# ---------------------------------------------------------------------- the network


def _fetch(symbol: str) -> pd.DataFrame:
    """All daily bars of a symbol; tries again a few times unless Yahoo says that there are none.

    Raises:
        DataError: it can't be had; a line that says why, and what can be had instead.
    """
    try:
        import yfinance
    except ImportError as error:
        raise _failure(symbol, f"the package yfinance is missing: {_INSTALL}", "missing-extra") from error
    waits = stream(int(time.time()), TRIES, f"yahoo {symbol}").uniform(1, 1.5, TRIES)
    for attempt in range(TRIES):
        try:
            with _no_chatter(yfinance):
                return _history(yfinance, symbol)
        except Exception as error:  # yfinance and curl raise whatever they like
            if attempt + 1 == TRIES or type(error).__name__ in _NO_SUCH_SYMBOL:
                raise _failure(symbol, *_reason(error)) from error
            log.info("Yahoo Finance: %s (%s); tried again", symbol, error)
            time.sleep(FIRST_WAIT * 2**attempt * waits[attempt])
    raise _failure(symbol, "no answer", "yahoo-failed")


def _history(yfinance: Any, symbol: str) -> pd.DataFrame:
    yfinance.set_tz_cache_location(str(cache_file(symbol).parent / "yfinance"))
    history: pd.DataFrame = yfinance.Ticker(symbol).history(
        period="max", interval="1d", auto_adjust=True, actions=False, timeout=TIMEOUT
    )
    today = pd.Timestamp.now(history.index.tz).normalize() if isinstance(history.index, pd.DatetimeIndex) else None
    history = history[history.index < today] if today is not None else history  # a day that goes on is no bar yet
    if history.empty:
        raise LookupError("Yahoo Finance sends no bars")
    return history[_COLUMNS]


@contextmanager
def _no_chatter(yfinance: Any) -> Iterator[None]:
    """Failures are raised, not printed, and what yfinance does with pandas is its own business."""
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
    """Return why the request failed, and the code of the error."""
    name = type(error).__name__
    if name in _NO_SUCH_SYMBOL:
        return "Yahoo Finance has no bars of such a symbol", "unknown-symbol"
    if name == "YFRateLimitError":
        return "Yahoo Finance takes no more requests from here for now", "yahoo-rate-limit"
    if isinstance(error, OSError):
        return f"no connection to Yahoo Finance ({name})", "yahoo-no-connection"
    return typed_line(error), "yahoo-failed"


def _failure(symbol: str, reason: str, code: str) -> DataError:
    return DataError(
        f"{symbol} can't be fetched: {reason}; there are instead: --source embedded ({listing(EmbeddedSource().available())}),"
        " or your own files: --data-dir DIR (SYMBOL.csv or SYMBOL.parquet)",
        field=symbol,
        code=code,
    )
