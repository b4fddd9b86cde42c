"""Names of symbols: those that people use are accepted, those that can do harm are not."""

import sys

import pytest

from builders.frames import csv_lines, write
from cnn_lstm_hyperopt import cli
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.sources import load_bars
from cnn_lstm_hyperopt.errors import DataError

LINES = csv_lines(150)


def error_of(folder, *symbols):
    with pytest.raises(DataError) as caught:
        load_bars(DataSettings(data_dir=folder, symbols=symbols))
    assert str(caught.value).isprintable()
    return caught.value.field, caught.value.code


REFUSED = ["=1+1", "@SUM", "+A", "A;=1", "[red]A", "%2e%2e", "\u0410APL", "\uff21APL", "A🚀", "X" * 65]
UNSAFE = ["../X", "/X", "X\n", "X\u202e", "", "X" * 5_000]
USED = ["^GSPC", "EURUSD=X", "BTC-USD", "BRK.B", "BRK B", "ES=F", "S&P 500", "AAPL (1)", "日経", "CON"]


def data(folder, symbol):
    arguments = ["--data-dir", str(folder), "--lookback", "5", "--target", "volatility", f"--symbols={symbol}"]
    return cli.main(["data", *arguments])


@pytest.mark.parametrize("symbol", REFUSED)
def test_formulas_markup_and_letters_that_look_alike_are_refused(symbol, tmp_path):
    assert error_of(write(tmp_path, LINES), symbol) == ("data.symbols", "bad-symbol")


@pytest.mark.parametrize("symbol", UNSAFE)
def test_paths_and_control_characters_are_refused_in_a_short_line(symbol, tmp_path, capsys):
    assert data(write(tmp_path, LINES), symbol) == 2
    err = capsys.readouterr().err
    assert err[:-1].isprintable()
    assert len(err) < 300


@pytest.mark.skipif(sys.platform == "win32", reason="no such files there")
def test_names_of_files_are_names_of_symbols(tmp_path):
    for name in ("X", "=1+1", "a\x1b[2Jb", "A\u202e", "-5"):
        write(tmp_path, LINES, f"{name}.csv")
    assert error_of(tmp_path) == ("data.data_dir", "file-name-not-symbol")
    (bars,), _ = load_bars(DataSettings(data_dir=tmp_path, symbols=("X",)))
    assert bars.symbol == "X"
    assert error_of(tmp_path, "X", "x") == ("data.symbols", "duplicate-symbol")


@pytest.mark.parametrize("symbol", USED)
def test_symbols_that_people_use_are_accepted(symbol, tmp_path, capsys):
    assert data(write(tmp_path, LINES, f"{symbol}.csv"), symbol) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert symbol in out


def test_accents_may_be_characters_of_their_own(tmp_path):
    """As macOS writes them in names of files."""
    write(tmp_path, LINES, "BO\u0308RSE.csv")
    for asked in ((), ("b\u00f6rse",), ("BO\u0308RSE",)):
        bars, _ = load_bars(DataSettings(data_dir=tmp_path, symbols=asked))
        assert [each.symbol for each in bars] == ["B\u00d6RSE"]
