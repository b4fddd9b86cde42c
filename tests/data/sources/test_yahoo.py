"""Yahoo Finance: the cache, and the real package yfinance with a dead network and with a server that answers as Yahoo does."""

import importlib
import json
import os
import sys
import threading
import time
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest

from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.problems import BadBarsError
from cnn_lstm_hyperopt.data.sources import open_source
from cnn_lstm_hyperopt.data.sources.yahoo import YahooSource, cache_file
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.atomic_io import CACHE_VARIABLE

DEAD = "http://127.0.0.1:9"
BARS = 300


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


@pytest.fixture
def no_network(monkeypatch):
    """Whatever network there is, nothing gets through, and nothing waits before it tries again."""
    monkeypatch.setattr("cnn_lstm_hyperopt.data.sources.yahoo.FIRST_WAIT", 0.0)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, DEAD)


def history(bars=BARS, **changes):
    """What ``Ticker.history`` returns; calm and wild days take turns."""
    rng = np.random.default_rng(1)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, bars)))
    reach = np.exp(np.abs(rng.normal(0, 0.01, bars)) + np.where(np.arange(bars) % 20 < 10, 0.01, 0.03))
    days = pd.bdate_range("2015-01-05", periods=bars, tz="America/New_York", name="Date")
    columns = {"Open": close, "High": close * reach, "Low": close / reach, "Close": close, "Volume": 1000}
    return pd.DataFrame(columns | changes, index=days)


def keep(symbol, frame, days_ago=0.0):
    path = cache_file(symbol)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path)
    then = time.time() - days_ago * 86_400
    os.utime(path, (then, then))
    return path


def refused(code, *symbols):
    with pytest.raises(DataError) as caught:
        YahooSource().load(symbols, None, None)
    assert (caught.value.field, caught.value.code) == (symbols[0] if symbols else "data.symbols", code)
    return str(caught.value)


def test_cached_bars_are_used_with_a_note_of_their_age():
    path = keep("AAPL", history(), days_ago=3.2)
    (bars,), (note,) = YahooSource().load(["aapl"], date(2015, 2, 1), None)
    assert (bars.symbol, bars.index[0], bars.problems) == ("AAPL", pd.Timestamp("2015-02-02"), ())
    assert (bars.index == bars.index.normalize()).all()
    assert all(each in note for each in ("AAPL", " 3 days", str(path)))
    keep("AAPL", history(), days_ago=0.25)
    assert " 6 hours" in YahooSource().load(["AAPL"], None, None)[1][0]


def test_symbols_are_required_and_those_available_without_a_network_are_those_of_the_cache():
    refused("symbols-required")
    assert YahooSource().available() == {}
    keep("AAPL", history(5))
    assert YahooSource().available() == {"AAPL": (date(2015, 1, 5), date(2015, 1, 9))}


def test_bars_of_yahoo_are_checked_as_others_are():
    frame = history()
    keep("AAPL", history(Low=np.where(np.arange(BARS) == 7, 0, frame["Low"])))
    keep("IBM", frame)
    with pytest.raises(BadBarsError) as caught:
        YahooSource().load(["IBM", "AAPL"], None, None)
    assert [(each.field, each.code) for each in caught.value.violations] == [("AAPL", "price")]
    assert [bars.symbol for bars in caught.value.bars] == ["IBM"]
    (bars,), _ = open_source(DataSettings(source="yahoo", on_bad_bars="drop")).load(["AAPL"], None, None)
    assert len(bars.frame) == BARS - 1


def test_a_symbol_is_a_file_within_the_cache_whatever_it_is_called():
    names = {"BRK-B": "BRK-B", "^GSPC": "^GSPC", "BTC/USD": "BTC_USD", "../X": ".._X"}
    assert {symbol: cache_file(symbol).stem for symbol in names} == names
    assert {cache_file(symbol).parent for symbol in names} == {cache_file("AAPL").parent}


def test_a_missing_package_is_an_error_with_the_command_and_a_damaged_file_of_the_cache_is_not_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "yfinance", None)
    assert "pip install 'cnn-lstm-hyperopt[yahoo]'" in refused("missing-extra", "AAPL")
    keep("AAPL", history()).write_bytes(b"PAR1")
    refused("missing-extra", "AAPL")


def chart(frame):
    """Yahoo's JSON: raw prices and an adjusted close of half of them."""
    seconds = [int((stamp + pd.Timedelta(hours=9.5)).timestamp()) for stamp in frame.index]
    meta = {"currency": "USD", "symbol": "AAPL", "instrumentType": "EQUITY", "priceHint": 2, "firstTradeDate": 0}
    meta |= {"exchangeTimezoneName": "America/New_York", "timezone": "EST", "gmtoffset": -18000}
    meta |= {"validRanges": ["1d", "max"], "regularMarketTime": seconds[-1], "currentTradingPeriod": {}}
    quote = {name.lower(): frame[name].tolist() for name in frame.columns}
    closes = {"adjclose": (frame["Close"] / 2).tolist()}
    return {"meta": meta, "timestamp": seconds, "indicators": {"quote": [quote], "adjclose": [closes]}}


@pytest.fixture
def server():
    """Answers for AAPL; knows no other symbol; takes no requests for LIMIT."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            symbol = urlsplit(self.path).path.rsplit("/", 1)[-1]
            asked.append(symbol)
            status, result, error = 200, [chart(history())], None
            if symbol == "LIMIT":
                status = 429
            elif symbol != "AAPL":
                status, result, error = 404, None, {"code": "Not Found", "description": "No data found"}
            body = json.dumps({"chart": {"result": result, "error": error}}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield http.server_port, asked
        http.shutdown()
        thread.join()


@pytest.fixture
def yahoo(server, no_network, monkeypatch):
    """The source with the real package, whose requests go to the server."""
    for name in ("base", "scrapers.history"):
        module = importlib.import_module(f"yfinance.{name}")
        monkeypatch.setattr(module, "_BASE_URL_", f"http://127.0.0.1:{server[0]}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_what_yahoo_sends_is_adjusted_and_kept(yahoo, server):
    for _ in range(2):
        (bars,), _ = YahooSource().load(["AAPL"], None, None)
        np.testing.assert_allclose(bars.frame["close"], history()["Close"] / 2)
        np.testing.assert_allclose(bars.frame["high"], history()["High"] / 2)
    assert server[1] == ["AAPL", "AAPL"]  # its time zone and its bars, once


def test_what_yahoo_refuses_has_a_reason(yahoo, server, monkeypatch):
    refused("unknown-symbol", "NOSUCH")
    refused("yahoo-rate-limit", "LIMIT")
    assert server[1].count("LIMIT") > 1  # it was tried again
    monkeypatch.setenv("NO_PROXY", "")
    text = refused("yahoo-no-connection", "AAPL")
    assert all(each in text for each in ("--source embedded", "TSLA 2021-03-23 to 2022-03-23", "--data-dir"))
    assert not cache_file("AAPL").exists()


def test_bars_that_cannot_be_cached_are_used_with_a_note(yahoo, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "yahoo").write_text("not a folder")
    (bars,), (note,) = YahooSource().load(["AAPL"], None, None)
    assert len(bars.frame) == BARS
    assert str(cache_file("AAPL")) in note
