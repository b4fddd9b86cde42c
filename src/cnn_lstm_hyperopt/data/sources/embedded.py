"""Real daily bars that are part of the package. The file data/embedded/NOTICE names their origins."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

import pandas as pd

from cnn_lstm_hyperopt.data.bars import COLUMNS, Bars
from cnn_lstm_hyperopt.data.sources.base import Source, Span, choose_dates, listing
from cnn_lstm_hyperopt.data.validation.symbols import unique_symbols
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.text import close_names, shown_name

_OTHER_CLASS = {"GOOG": "GOOGL"}
_HINT = "--data-dir DIR reads your own files (SYMBOL.csv or SYMBOL.parquet)"
_SURVIVORS = (
    "the embedded symbols did well and still exist (survivorship bias):"
    " no result shows what a strategy would have earned"
)


@dataclass(frozen=True)
class EmbeddedSource(Source):
    """Source of the bars in the package: adjusted daily bars of seven US stocks."""

    name, place = "embedded", 1
    description = "real daily bars included in the package"
    survivorship = _SURVIVORS

    def available(self) -> dict[str, Span]:
        """Return the first and the last date of each symbol. Only index.json is read."""
        return {
            symbol: (date.fromisoformat(entry["first"]), date.fromisoformat(entry["last"]))
            for symbol, entry in embedded_index().items()
        }

    def load(self, symbols: Sequence[str], start: date | None, end: date | None) -> tuple[list[Bars], list[str]]:
        """Return bars and warnings; see :class:`.Source`. If GOOG is requested, GOOGL is returned with a warning."""
        available = f"{listing(self.available())}. {_HINT}"
        chosen: list[str] = []
        warnings = [_SURVIVORS]
        for name in unique_symbols(symbols) or list(embedded_index()):
            symbol = name.upper()
            if symbol in _OTHER_CLASS:
                other = _OTHER_CLASS[symbol]
                warnings.append(
                    f"{symbol} (class C shares, without votes) is not embedded; {other} (class A shares of"
                    f" the same company) replaces it and is named {other} everywhere"
                )
                symbol = other
            if symbol not in embedded_index():
                close = close_names([name], embedded_index())
                there = f"did you mean {close}? Available" if close else "available"
                text = f"symbol {shown_name(name)} is not embedded; {there}: {available}"
                raise DataError(text, field="data.symbols", code="unknown-symbol")
            if symbol not in chosen:
                chosen.append(symbol)
        bars, more = choose_dates(
            [_read(symbol) for symbol in chosen], start, end, asked=bool(symbols), available=available
        )
        return bars, warnings + more


@cache
def embedded_index() -> dict[str, dict[str, Any]]:
    """Return the content of index.json: for each symbol the file, first and last date, number of rows, hash and adjustment."""
    text = (resources.files("cnn_lstm_hyperopt.data") / "embedded" / "index.json").read_text(encoding="utf-8")
    index: dict[str, dict[str, Any]] = json.loads(text)
    return index


def _read(symbol: str) -> Bars:
    entry = embedded_index()[symbol]
    with (resources.files("cnn_lstm_hyperopt.data") / "embedded" / entry["file"]).open("rb") as file:
        table = pd.read_parquet(file)
    index = pd.DatetimeIndex(table["date"], name="date").as_unit("ns")
    frame = table[list(COLUMNS)].astype("float64").set_axis(index, axis=0)
    bars = Bars(symbol, frame, entry["adjustment"])
    if bars.sha256 != entry["sha256"]:
        text = f"the embedded bars of {symbol} ({entry['file']}) are damaged: reinstall the package"
        raise DataError(text, field=entry["file"], code="embedded-bars-damaged")
    return bars
