"""Yahoo Finance: the cache, and the real package yfinance with a dead network and with a server that answers as Yahoo does."""

import json
import os
import subprocess
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
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
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
    """Whatever network there is, nothing gets through."""
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, DEAD)


def history(bars=BARS, **changes):
    """What ``Ticker.history`` returns; calm and wild days take turns."""
    rng = np.random.default_rng(1)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, bars)))
    reach = np.exp(np.abs(rng.normal(0, 0.01, bars)) + np.where(np.arange(bars) % 20 < 10, 0.01, 0.03))
    days = pd.bdate_range("2015-01-05", periods=bars, tz="America/New_York", name="Date")
    columns = {
        "Open": close,
        "High": close * reach,
        "Low": close / reach,
        "Close": close,
        "Volume": np.full(bars, 1000),
    }
    return pd.DataFrame(columns | changes, index=days)


def keep(symbol, frame, days_ago=0.0):
    path = cache_file(symbol)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path)
    then = time.time() - days_ago * 86_400
    os.utime(path, (then, then))
    return path


def test_what_the_cache_has_is_used_and_its_age_is_said():
    path = keep("AAPL", history(), days_ago=3.2)
    (bars,), warnings = YahooSource().load(["aapl"], date(2015, 2, 1), None)
    assert bars.symbol == "AAPL"
    assert bars.index[0] == pd.Timestamp("2015-02-02")
    assert (bars.index == bars.index.normalize()).all()
    assert bars.adjustment == "splits and dividends, by Yahoo Finance (yfinance, auto_adjust)"
    (note,) = warnings
    assert note.startswith("AAPL: bars as fetched from Yahoo Finance on 20")
    assert f", 3 days ago, from the cache; to fetch them anew delete {path}" in note
    assert bars.problems == ()


def test_the_age_of_fresh_bars_is_told_in_hours():
    keep("AAPL", history(), days_ago=0.25)
    assert ", 6 hours ago," in YahooSource().load(["AAPL"], None, None)[1][0]


def test_what_there_is_without_a_network_is_what_the_cache_has():
    assert YahooSource().available() == {}
    keep("AAPL", history(5))
    assert YahooSource().available() == {"AAPL": (date(2015, 1, 5), date(2015, 1, 9))}


def test_symbols_must_be_named():
    with pytest.raises(DataError, match=r"source: yahoo needs symbols, such as --symbols AAPL MSFT"):
        YahooSource().load([], None, None)


def test_bars_of_yahoo_are_checked_as_others_are():
    frame = history()
    keep("AAPL", history(Low=np.where(np.arange(BARS) == 7, 0, frame["Low"])))
    keep("IBM", frame)
    with pytest.raises(
        BadBarsError, match=r"^AAPL \(Yahoo Finance\): low must be above 0, but row 8 \(2015-01-14\)"
    ) as caught:
        YahooSource().load(["IBM", "AAPL"], None, None)
    assert [bars.symbol for bars in caught.value.bars] == ["IBM"]
    (bars,), _ = open_source(DataSettings(source="yahoo", on_bad_bars="drop")).load(["AAPL"], None, None)
    assert len(bars.frame) == BARS - 1


def test_a_dataset_of_yahoo_says_who_is_missing():
    keep("AAPL", history())
    settings = DataSettings(source="yahoo", symbols=("AAPL",), lookback=10, target="volatility")
    description = prepare_dataset(settings).description
    assert description["source"] == "yahoo"
    assert "those that failed are missing" in description["survivorship"]


@pytest.mark.parametrize(
    ("symbol", "name"), [("BRK-B", "BRK-B"), ("^GSPC", "^GSPC"), ("BTC/USD", "BTC_USD"), ("../X", ".._X")]
)
def test_a_symbol_is_a_file_within_the_cache_whatever_it_is_called(symbol, name):
    assert cache_file(symbol).name == f"{name}.parquet"
    assert cache_file(symbol).parent == cache_file("AAPL").parent


@pytest.mark.slow
@pytest.mark.parametrize("command", [pytest.param("data", marks=pytest.mark.slow), "run"])
def test_without_a_network_one_line_says_why_and_what_there_is_instead(start_cli, no_network, tmp_path, command):
    arguments = ["--save-dir", tmp_path / "results"] if command == "run" else []
    process = start_cli(command, "--source", "yahoo", "--symbols", "AAPL", "IBM", *arguments)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("Error: AAPL can't be fetched: no connection to Yahoo Finance (")
    assert "there are instead: --source embedded (AAPL 2000-03-01 to 2013-03-01, AMZN " in line
    assert "TSLA 2021-03-23 to 2022-03-23), or your own files: --data-dir DIR" in line
    assert not (tmp_path / "results").exists()
    assert not cache_file("AAPL").exists()


@pytest.fixture
def no_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "yfinance", None)


def test_without_the_package_the_line_says_how_to_get_it(no_package):
    with pytest.raises(DataError) as caught:
        YahooSource().load(["AAPL"], None, None)
    assert str(caught.value).startswith(
        "AAPL can't be fetched: the package yfinance is missing: pip install 'cnn-lstm-hyperopt[yahoo]' (in its"
        " repository: pip install -e '.[yahoo]'); there are instead: "
    )


def test_a_damaged_file_of_the_cache_is_not_used(no_package):
    keep("AAPL", history()).write_bytes(b"PAR1")
    with pytest.raises(DataError, match="AAPL can't be fetched"):
        YahooSource().load(["AAPL"], None, None)


# ---------------------------------------------------------------------- a server that answers as Yahoo does


def chart(frame):
    """Yahoo's JSON: raw prices and an adjusted close of half of them."""
    quote = {name.lower(): frame[name].tolist() for name in frame.columns}
    return {
        "meta": {
            "currency": "USD",
            "symbol": "AAPL",
            "instrumentType": "EQUITY",
            "exchangeTimezoneName": "America/New_York",
            "timezone": "EST",
            "validRanges": ["1d", "max"],
            "priceHint": 2,
            "firstTradeDate": 0,
            "regularMarketTime": int(frame.index[-1].timestamp()),
            "gmtoffset": -18000,
            "currentTradingPeriod": {},
        },
        "timestamp": [int((stamp + pd.Timedelta(hours=9.5)).timestamp()) for stamp in frame.index],
        "indicators": {"quote": [quote], "adjclose": [{"adjclose": (frame["Close"] / 2).tolist()}]},
    }


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
                status, result, error = (
                    404,
                    None,
                    {"code": "Not Found", "description": "No data found, symbol may be delisted"},
                )
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


RUN = """
import sys, yfinance.base, yfinance.scrapers.history
from cnn_lstm_hyperopt.cli import main
for module in (yfinance.base, yfinance.scrapers.history):
    module._BASE_URL_ = sys.argv[1]
for symbol in sys.argv[2:]:
    code = main(["data", "--source", "yahoo", "--target", "volatility", "--lookback", "10", "--symbols", symbol])
    print(f"{symbol} ended with {code}")
"""


def from_server(port, monkeypatch, *symbols):
    """The command ``data`` for each of the symbols, one after the other."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    command = [sys.executable, "-c", RUN, f"http://127.0.0.1:{port}", *symbols]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_what_yahoo_sends_is_adjusted_and_kept(server, no_network, monkeypatch):
    port, asked = server
    done = from_server(port, monkeypatch, "AAPL", "AAPL")
    assert done.stderr == ""
    first, second, _ = done.stdout.split("AAPL ended with 0")
    assert "AAPL: fetched from Yahoo Finance now; a study that goes on takes it from" in first
    assert "AAPL     2015-01-05" in first
    assert "from the cache; to fetch them anew delete" in second
    assert asked == ["AAPL", "AAPL"]  # its time zone and its bars, once
    (bars,), _ = YahooSource().load(["AAPL"], None, None)
    np.testing.assert_allclose(bars.frame["close"], history()["Close"] / 2)
    np.testing.assert_allclose(bars.frame["high"], history()["High"] / 2)


@pytest.mark.slow
def test_what_yahoo_refuses_is_one_line_with_the_reason(server, no_network, monkeypatch):
    port, asked = server
    done = from_server(port, monkeypatch, "NOSUCH", "LIMIT")
    assert done.stdout.splitlines() == ["NOSUCH ended with 2", "LIMIT ended with 2"]
    for line, symbol, reason in zip(
        done.stderr.splitlines(),
        ("NOSUCH", "LIMIT"),
        ("Yahoo Finance has no bars of such a symbol", "Yahoo Finance takes no more requests from here for now"),
        strict=True,
    ):
        assert line.startswith(
            f"Error: {symbol} can't be fetched: {reason}; there are instead: --source embedded (AAPL"
        )
    assert asked.count("LIMIT") > 1  # it was tried again
