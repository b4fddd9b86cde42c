"""The embedded bars: index, files and notice agree."""

from datetime import date
from importlib import resources

import pandas as pd
import pytest

from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource, embedded_index
from cnn_lstm_hyperopt.errors import DataError

FOLDER = resources.files("cnn_lstm_hyperopt.data") / "embedded"
SYMBOLS = ["AAPL", "AMZN", "GOOGL", "IBM", "MSFT", "NVDA", "TSLA"]


@pytest.fixture(scope="module")
def every():
    return {bars.symbol: bars for bars in EmbeddedSource().load([], None, None)[0]}


def test_index_files_and_notice_agree(every):
    files = {file.name: len(file.read_bytes()) for file in FOLDER.iterdir()}
    assert set(files) == {"NOTICE", "index.json", *(f"{symbol}.parquet" for symbol in SYMBOLS)}
    assert sum(files.values()) < 1_500_000
    assert sorted(every) == sorted(embedded_index()) == SYMBOLS
    head, *parts = (FOLDER / "NOTICE").read_text(encoding="utf-8").split(".parquet\n")
    assert [part.splitlines()[-1] for part in (head, *parts[:-1])] == SYMBOLS
    for (symbol, entry), part in zip(embedded_index().items(), parts, strict=True):
        bars = every[symbol]
        facts = (entry[name] for name in ("file", "rows", "sha256", "adjustment"))
        assert tuple(facts) == (f"{symbol}.parquet", len(bars.frame), bars.sha256, bars.adjustment)
        assert EmbeddedSource().available()[symbol] == (bars.index[0].date(), bars.index[-1].date())
        rows = [int(line.split()[1].rstrip(",")) for line in part.splitlines() if line.strip().startswith("bars:")]
        assert sum(rows) == entry["rows"]
        assert "upstream:" in part
        assert "licence:" in part


def test_bars_are_sound_and_splits_are_adjusted(every):
    """No close falls by a half overnight; AAPL on 2000-09-29 really did (a profit warning)."""
    for symbol, bars in every.items():
        frame = bars.frame
        assert bars.index.is_monotonic_increasing
        assert bars.index.is_unique
        assert (bars.index == bars.index.normalize()).all()
        assert (frame > 0).all().all()
        assert (frame["high"] >= frame[["open", "low", "close"]].max(axis=1)).all()
        assert (frame["low"] <= frame[["open", "high", "close"]].min(axis=1)).all()
        change = frame["close"].pct_change().drop(pd.Timestamp("2000-09-29"), errors="ignore")
        assert change.min() > -0.4, symbol


def test_ranges_and_symbols_in_any_case_and_googl_replaces_goog_with_a_warning():
    bars, warnings = EmbeddedSource().load(["ibm", "Aapl"], date(2005, 1, 3), date(2005, 1, 7))
    assert [(each.symbol, len(each.frame)) for each in bars] == [("IBM", 5), ("AAPL", 5)]
    assert warnings == [EmbeddedSource.survivorship]
    for symbols, count in ((["GOOG"], 2), (["goog", "GOOGL"], 2), (["GOOGL"], 1)):
        bars, warnings = EmbeddedSource().load(symbols, None, None)
        assert ([each.symbol for each in bars], len(warnings)) == (["GOOGL"], count)


def test_the_list_of_symbols_is_read_from_the_index_alone(monkeypatch):
    monkeypatch.setattr(pd, "read_parquet", None)
    assert EmbeddedSource().available()["TSLA"] == (date(2021, 3, 23), date(2022, 3, 23))


def test_a_damaged_file_is_noticed(monkeypatch):
    monkeypatch.setitem(embedded_index()["TSLA"], "sha256", "0")
    with pytest.raises(DataError) as caught:
        EmbeddedSource().load(["TSLA"], None, None)
    assert (caught.value.field, caught.value.code) == ("TSLA.parquet", "embedded-bars-damaged")
