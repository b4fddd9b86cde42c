"""Bad bars, names of symbols, own features and DataLoaders: each with its whole message, through the doors that users take."""

import gzip
import io
import os
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, cli
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.sources import load_bars
from cnn_lstm_hyperopt.data.sources.files import FileSource
from cnn_lstm_hyperopt.errors import ConfigError, DataError

BARS = 150
HEADER = "date,open,high,low,close,volume"
ROWS = "correct or remove these rows (or --on-bad-bars drop)"
DATES = "write dates as 2015-04-01 or 2015-04-01 09:30:00; 4/1/2015 is read as month/day/year (or --on-bad-bars drop)"
NUMBERS = (
    "write plain numbers such as 1234.5, without currency signs, units and thousands separators (or --on-bad-bars drop)"
)


def frame(seed=0):
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, BARS)))
    opened = close * np.exp(rng.normal(0, 0.005, BARS))
    return pd.DataFrame(
        {
            "date": pd.bdate_range("2015-01-05", periods=BARS).astype(str),
            "open": opened.round(4),
            "high": (np.maximum(opened, close) * 1.01).round(4),
            "low": (np.minimum(opened, close) * 0.99).round(4),
            "close": close.round(4),
            "volume": rng.integers(1000, 9999, BARS),
        }
    )


CSV = frame().to_csv(index=False).encode()
LINES = CSV.decode().splitlines()
TABLE = pa.Table.from_pandas(frame(), preserve_index=False)


def cell(row, place, value):
    """The CSV file with another value in one field of data row ``row``."""
    fields = LINES[row].split(",")
    fields[place] = value
    return "\n".join([*LINES[:row], ",".join(fields), *LINES[row + 1 :]]).encode()


def column(place, value):
    lines = [line.split(",") for line in LINES[1:]]
    return "\n".join([HEADER, *(",".join([*f[:place], value, *f[place + 1 :]]) for f in lines)]).encode()


def parquet(table):
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def typed(name, values):
    """The Parquet file with another column; without what pandas says of it."""
    place = TABLE.schema.names.index(name)
    return parquet(TABLE.set_column(place, name, values).replace_schema_metadata({}))


def data(capsys, folder, *arguments):
    code = cli.main(["data", "--data-dir", str(folder), "--lookback", "5", "--target", "volatility", *arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def refused(capsys, folder, message, *arguments):
    code, _, err = data(capsys, folder, *arguments)
    assert (err, code) == (f"Error: {message}\n", 2)


FILES = [  # name, file, content, message after "X (the file): "
    (
        "a formula",
        "X.csv",
        cell(3, 1, "=1+1"),
        f"open must hold numbers, not text, but row 3 (2015-01-07) has '=1+1' (1 such row); {NUMBERS}",
    ),
    (
        "a formula that starts a program",
        "X.csv",
        cell(3, 5, "=cmd|' /C calc'!A0"),
        f"volume must hold numbers, not text, but row 3 (2015-01-07) has \"=cmd|' /C calc'!A0\" (1 such row); {NUMBERS}",
    ),
    (
        "what a terminal would obey",
        "X.csv",
        cell(3, 1, "\x1b[31m5"),
        f"open must hold numbers, not text, but row 3 (2015-01-07) has '\\x1b[31m5' (1 such row); {NUMBERS}",
    ),
    (
        "a hexadecimal number",
        "X.csv",
        cell(3, 1, "0x32"),
        f"open must hold numbers, not text, but row 3 (2015-01-07) has '0x32' (1 such row); {NUMBERS}",
    ),
    (
        "a huge number",
        "X.csv",
        cell(3, 5, "1e308"),
        f"volume must not be beyond 1e+18, but row 3 (2015-01-07) has 1e+308 (1 such row); {ROWS}",
    ),
    (
        "a number beyond all",
        "X.csv",
        cell(3, 5, "1e999"),
        f"volume must be finite, but row 3 (2015-01-07) has inf (1 such row); {ROWS}",
    ),
    (
        "a tiny price",
        "X.csv",
        cell(3, 3, "1e-308"),
        f"low must be 1e-18 or more, but row 3 (2015-01-07) has 1e-308 (1 such row); {ROWS}",
    ),
    (
        "minus nought",
        "X.csv",
        cell(3, 3, "-0"),
        f"low must be above 0, but row 3 (2015-01-07) has -0 (1 such row); {ROWS}",
    ),
    (
        "the year 1",
        "X.csv",
        cell(3, 0, "0001-01-01"),
        f"date must be a date in every row, but row 3 has '0001-01-01' (1 such row); {DATES}",
    ),
    ("now", "X.csv", cell(3, 0, "now"), f"date must be a date in every row, but row 3 has 'now' (1 such row); {DATES}"),
    (
        "an offset that there is not",
        "X.csv",
        cell(3, 0, "2015-01-07T00:00:00+99:99"),
        f"date must be a date in every row, but row 3 has '2015-01-07T00:00:00+99:99' (1 such row); {DATES}",
    ),
    (
        "dates of 30 digits",
        "X.csv",
        column(0, "9" * 30),
        f"date must be a date in every row, but row 1 has '{'9' * 30}' (150 such rows); {DATES}",
    ),
    (
        "no line end after the header",
        "X.csv",
        HEADER.encode(),
        "has no rows of bars; give a file with at least one bar",
    ),
    (
        "a line of two megabytes",
        "X.csv",
        CSV + b"9" * 5_000_000 + b"\n" + CSV,
        "can't be read as CSV: line 152 has more than 1,000,000 bytes; export it again as CSV UTF-8",
    ),
    (
        "a quote that is never closed",
        "X.csv",
        CSV + b'"' + b"9,\n" * 700_000,
        "can't be read as CSV: a quote in line 152 is not closed there; export it again as CSV UTF-8",
    ),
    (
        "commas only",
        "X.csv",
        b"," * 100_000,
        f"names no column in its first lines; the first line must name them: {HEADER}",
    ),
    (
        "a name of a column that a terminal would obey",
        "X.csv",
        CSV.replace(b"open", b"\x1b[31mopen", 1),
        "misses the column open (it has: date, \\x1b[31mopen, high, low, close, volume); name the columns so",
    ),
    (
        "ten thousand columns of one name",
        "X.csv",
        "\n".join([HEADER + ",open" * 10_000, LINES[1] + ",1" * 10_000]).encode(),
        "columns open stand for the same thing (it has: date, open, high, low, close, volume, open, open, open, open, open, open,"
        " open, open, open, open, open, open, open, open … and 9,986 more); keep one of them",
    ),
    (
        "twenty thousand columns and a line that lacks them",
        "X.csv",
        "\n".join([HEADER + "".join(f",x{n}" for n in range(20_000)), LINES[1]]).encode(),
        f"every line must have 20006 fields, as the header has, but line 2 has 6: '{LINES[1]}' (1 such line); correct or remove"
        " these lines (or --on-bad-bars drop)",
    ),
    (
        "a field of a hundred thousand letters",
        "X.csv",
        b"x" * 200_000 + b"\n" + CSV,
        f"has one column only: '{'x' * 56}…'; separate the columns with commas",
    ),
    ("JSON", "X.csv", b' {"date": []}', "is JSON, not CSV; save it as CSV UTF-8"),
    ("a PDF", "X.csv", b"%PDF-1.7 ", "is a PDF, not CSV; save the table as CSV UTF-8"),
    (
        "a pickle",
        "X.csv",
        pickle.dumps({"date": []}),
        "is a pickle, which is never opened, not CSV; save it as CSV UTF-8",
    ),
    ("a web page after a mark", "X.csv", b"\xef\xbb\xbf\n<HTML>", "is a web page, not CSV; download the table itself"),
    (
        "a pickle as Parquet",
        "X.parquet",
        pickle.dumps({}),
        "is a pickle, which is never opened, not Parquet; save it as Parquet",
    ),
    ("compressed Parquet", "X.parquet", gzip.compress(parquet(TABLE)), "is compressed, not Parquet; unpack it"),
    (
        "encrypted Parquet",
        "X.parquet",
        b"PARE" + b"\x00" * 99,
        "is an encrypted Parquet file, not Parquet; save it without encryption",
    ),
    (
        "a footer that lies",
        "X.parquet",
        parquet(TABLE)[:-8] + (2**31 - 1).to_bytes(4, "little") + b"PAR1",
        f"can't be read as Parquet: Parquet file size is {len(parquet(TABLE))} bytes, smaller than the size reported by footer's"
        " (2147483647bytes); export it again",
    ),
    (
        "nested prices",
        "X.parquet",
        typed("open", pa.array([[1.0]] * BARS)),
        "open must be a column of numbers, but is one of list<element: double>; write it as float64",
    ),
    (
        "bytes for dates",
        "X.parquet",
        typed("date", pa.array([b"\xff"] * BARS)),
        "date must be a column of dates, but is one of binary; write it as timestamps",
    ),
    (
        "a time zone that there is not",
        "X.parquet",
        typed("date", pa.array(range(BARS), pa.timestamp("ns", "Mars/Olympus"))),
        "date must have a time zone that there is, but has 'Mars/Olympus'; write dates in UTC",
    ),
    (
        "more rows than bytes",
        "X.parquet",
        parquet(pa.table({name: pa.nulls(10_000_001) for name in HEADER.split(",")})),
        None,
    ),
]


@pytest.mark.parametrize(("name", "content", "message"), [each[1:] for each in FILES], ids=[each[0] for each in FILES])
def test_a_bad_file_has_one_line_of_its_own(name, content, message, tmp_path, capsys):
    (tmp_path / name).write_bytes(content)
    if message is None:
        message = (
            f"must take at least a byte for 2 rows, but holds 10,000,001 rows in {len(content):,} bytes; give bars, or leave out"
            " those where nothing was traded"
        )
    refused(capsys, tmp_path, f"X ({tmp_path / name}): {message}")


def test_all_faults_of_all_files_are_told_at_once(tmp_path, capsys):
    (tmp_path / "A.csv").write_bytes(cell(3, 1, "=1+1").replace(b"2015-01-08", b"today"))
    (tmp_path / "B.parquet").write_bytes(b"")
    refused(
        capsys,
        tmp_path,
        "3 faults in the bars:\n"
        f"  A ({tmp_path}/A.csv): date must be a date in every row, but row 4 has 'today' (1 such row); {DATES}\n"
        f"  A ({tmp_path}/A.csv): open must hold numbers, not text, but row 3 (2015-01-07) has '=1+1' (1 such row); {NUMBERS}\n"
        f"  B ({tmp_path}/B.parquet): is empty; give a file with at least one bar",
    )


@pytest.mark.skipif(sys.platform == "win32", reason="no such files there")
@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a link to nothing", "a link to itself", "a device"])
def test_what_is_no_file_is_not_opened(kind, tmp_path, capsys):
    path = tmp_path / "X.csv"
    made = {
        "a pipe": lambda: os.mkfifo(path),
        "a folder": path.mkdir,
        "a link to nothing": lambda: path.symlink_to(tmp_path / "nothing"),
        "a link to itself": lambda: path.symlink_to(path),
        "a device": lambda: path.symlink_to("/dev/zero"),
    }
    made[kind]()
    refused(capsys, tmp_path, f"X ({path}): is no file; move it away, or give a file of bars of this name")


def test_a_huge_file_of_nothing_is_not_read(tmp_path, capsys):
    with (tmp_path / "X.csv").open("wb") as file:
        file.write(f"{HEADER}\n".encode() + b"\n" * 70_000)
        file.truncate(5_000_000_000)  # a hole: it takes no room
    refused(
        capsys,
        tmp_path,
        f"X ({tmp_path / 'X.csv'}): can't be read as CSV: line 70002 has more than 1,000,000 bytes; export it again as CSV UTF-8",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "\n".join([HEADER, *(f"{line[:10]},5,5,5,5,0" for line in LINES[1:])]).encode(),
            "all 62 training windows are of class 'calm', so there is nothing to tell apart; give more or longer bars, or another"
            " target",
        ),
        (
            "\n".join(LINES[:4]).encode(),
            "too few bars for a single window: lookback 5, horizon 1 and target volatility need 61 bars of a symbol without a"
            " hole of more than 10 days, but there are: X 3; give more bars or a shorter lookback",
        ),
    ],
    ids=["constant prices, no volume", "three rows"],
)
def test_bars_that_teach_nothing(content, message, tmp_path, capsys):
    (tmp_path / "X.csv").write_bytes(content)
    refused(capsys, tmp_path, message)


def test_columns_and_cells_that_nobody_reads_do_no_harm(tmp_path, capsys):
    wide = "\n".join(
        [HEADER + "".join(f",x{n}" for n in range(10_000)), *(line + ",=1+1" * 10_000 for line in LINES[1:])]
    )
    (tmp_path / "X.csv").write_text(wide)
    assert data(capsys, tmp_path)[0] == 0


def test_a_line_separator_of_unicode_ends_no_line(tmp_path, capsys):
    """``str.splitlines`` knows more ends of lines than CSV does; a row that one sees and the other does not would be lost."""
    (tmp_path / "X.csv").write_bytes("a note\u2028in\x85one\x0bline\n".encode() + CSV)
    bars, _ = load_bars(DataSettings(data_dir=tmp_path))
    assert len(bars[0].frame) == BARS


# ---------------------------------------------------------------------- nothing is unpickled


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def pickled(place):
    return pickle.dumps(Trap(place))


@pytest.mark.parametrize(
    "hidden",
    [
        lambda evil: ("X.csv", evil),
        lambda evil: ("X.parquet", evil),
        lambda evil: ("X.parquet", parquet(TABLE.replace_schema_metadata({b"pandas": evil}))),
        lambda evil: (
            "X.parquet",
            parquet(
                TABLE.set_column(
                    1,
                    pa.field(
                        "open",
                        pa.float64(),
                        metadata={
                            b"ARROW:extension:name": b"arrow.py_extension_type",
                            b"ARROW:extension:metadata": evil,
                        },
                    ),
                    TABLE.column("open"),
                )
            ),
        ),
        lambda evil: ("X.parquet", typed("open", pa.array([evil] * BARS))),
    ],
    ids=["CSV", "Parquet", "metadata of pandas", "an extension type", "objects in a column"],
)
def test_a_pickle_in_a_file_is_never_opened(hidden, tmp_path, capsys):
    place = tmp_path / "opened"
    evil = pickled(place)
    pickle.loads(evil)  # noqa: S301 - the trap works
    place.rmdir()
    name, content = hidden(evil)
    folder = tmp_path / "bars"
    folder.mkdir()
    (folder / name).write_bytes(content)
    assert data(capsys, folder)[0] in (0, 2)
    assert not place.exists()


@pytest.mark.parametrize(
    "said", [b"not JSON", b"[]", b"{}", b'{"index_columns": ["nope"]}', b'{"index_columns": 5}', b"[" * 100_000]
)
def test_what_a_parquet_file_says_of_pandas_is_not_trusted(said, tmp_path):
    (tmp_path / "X.parquet").write_bytes(parquet(TABLE.replace_schema_metadata({b"pandas": said})))
    bars, _ = load_bars(DataSettings(data_dir=tmp_path))
    assert len(bars[0].frame) == BARS


@pytest.mark.parametrize("index", ["date", "Datetime", "day", None])
def test_the_index_of_a_frame_may_be_the_dates(index, tmp_path):
    stamps = pd.DatetimeIndex(frame()["date"], name=index)
    frame().drop(columns="date").set_axis(stamps).to_parquet(tmp_path / "X.parquet")
    bars, _ = load_bars(DataSettings(data_dir=tmp_path))
    assert (str(bars[0].index[0].date()), len(bars[0].frame)) == ("2015-01-05", BARS)


# ---------------------------------------------------------------------- symbols

RULE = (
    "symbols must be names of letters, digits, inner spaces and . - _ ^ = & + $ # ! ' ( ) ~ % @ :, first a letter, a digit or one"
    " of ^ _ $ #, but "
)
SYMBOLS = [
    ("=1+1", "'=1+1' begins with =, so that a spreadsheet takes it for a formula"),
    ("@SUM", "'@SUM' begins with @, so that a spreadsheet takes it for a formula"),
    ("+A", "'+A' begins with +, so that a spreadsheet takes it for a formula"),
    ("A;=1", "'A;=1' holds ';' (SEMICOLON)"),
    ("[red]A", "'[red]A' holds '[' (LEFT SQUARE BRACKET)"),
    ("%2e%2e", "'%2e%2e' begins with '%'"),
    (
        "\u0410APL",
        "'\u0410APL' mixes letters of several alphabets that look alike: '\u0410' (CYRILLIC CAPITAL LETTER A), 'A' (LATIN CAPITAL"
        " LETTER A)",
    ),
    ("\uff21APL", "'\uff21APL' holds '\uff21' (FULLWIDTH LATIN CAPITAL LETTER A), which looks like 'A'"),
    ("A🚀", "'A🚀' holds '🚀' (ROCKET)"),
]


@pytest.mark.parametrize(("symbol", "fault"), SYMBOLS)
def test_a_symbol_that_can_do_harm_is_refused(symbol, fault, tmp_path, capsys):
    (tmp_path / "X.csv").write_bytes(CSV)
    refused(capsys, tmp_path, RULE + fault, f"--symbols={symbol}")


@pytest.mark.parametrize("symbol", ["../X", "/X", "X\n", "X\u202e", "", "X" * 5_000])
def test_paths_and_control_characters_are_no_symbols(symbol, tmp_path, capsys):
    (tmp_path / "X.csv").write_bytes(CSV)
    code, _, err = data(capsys, tmp_path, f"--symbols={symbol}")
    assert code == 2
    assert err.startswith("Error: --symbols: data.symbols must ")
    assert len(err) < 300
    assert err[:-1].isprintable()


@pytest.mark.skipif(sys.platform == "win32", reason="no such files there")
def test_names_of_files_are_names_of_symbols(tmp_path, capsys):
    for name in ("X", "=1+1", "a\x1b[2Jb", "A\u202e", "-5"):
        (tmp_path / f"{name}.csv").write_bytes(CSV)
    refused(
        capsys,
        tmp_path,
        f"data_dir {tmp_path} holds files whose names can't be symbols: '-5.csv' begins with -, so that a spreadsheet takes it"
        " for a formula; '=1+1.csv' begins with =, so that a spreadsheet takes it for a formula; 'A\\u202e.csv' holds U+202E"
        " (RIGHT-TO-LEFT OVERRIDE); 'a\\x1b[2Jb.csv' holds U+001B (a control character); rename or remove them, or name the"
        " others with --symbols",
    )
    assert data(capsys, tmp_path, "--symbols", "X")[0] == 0


@pytest.mark.parametrize(
    "symbol", ["^GSPC", "EURUSD=X", "BTC-USD", "BRK.B", "BRK B", "ES=F", "S&P 500", "AAPL (1)", "日経", "CON"]
)
def test_symbols_that_people_have_are_taken(symbol, tmp_path, capsys):
    (tmp_path / f"{symbol}.csv").write_bytes(CSV)
    code, out, err = data(capsys, tmp_path, "--symbols", symbol)
    assert (code, err) == (0, "")
    assert symbol in out


def test_symbols_that_differ_in_case_are_one(tmp_path, capsys):
    (tmp_path / "X.csv").write_bytes(CSV)
    refused(capsys, tmp_path, "symbols names X twice; name each symbol once", "--symbols", "X", "x")


def test_accents_may_be_characters_of_their_own(tmp_path):
    """As macOS writes them in names of files."""
    (tmp_path / "BO\u0308RSE.csv").write_bytes(CSV)
    for asked in ((), ("b\u00f6rse",), ("BO\u0308RSE",)):
        bars, _ = load_bars(DataSettings(data_dir=tmp_path, symbols=asked))
        assert [each.symbol for each in bars] == ["B\u00d6RSE"]


def test_a_thousand_unknown_symbols_are_a_short_line(tmp_path, capsys):
    (tmp_path / "X.csv").write_bytes(CSV)
    names = [f"S{number}" for number in range(1_000)]
    shown = ", ".join(names[:20])
    message = f"data_dir {tmp_path} has no file for {shown} … and 980 more; there are: X 2015-01-05 to 2015-07-31"
    refused(capsys, tmp_path, message, "--symbols", *names)


@pytest.mark.parametrize(
    ("asked", "meant"), [("APPL", "AAPL"), ("AAPPL", "AAPL"), ("aapl.csv", "AAPL"), ("X.csv", "X")]
)
def test_a_misspelt_symbol_may_have_been_another(asked, meant, tmp_path, capsys):
    for name in ("AAPL", "X"):
        (tmp_path / f"{name}.csv").write_bytes(CSV)
    there = "AAPL 2015-01-05 to 2015-07-31, X 2015-01-05 to 2015-07-31"
    message = f"data_dir {tmp_path} has no file for {asked}; did you mean {meant}? There are: {there}"
    refused(capsys, tmp_path, message, "--symbols", asked)


def test_a_misspelt_symbol_of_the_package_may_have_been_another(capsys):
    assert cli.main(["data", "--source", "embedded", "--symbols", "MFST"]) == 2
    assert capsys.readouterr().err.startswith("Error: symbol MFST is not embedded; did you mean MSFT? There are: AAPL ")


@pytest.mark.parametrize(
    ("asked", "more", "meant"),
    [("volum", "", "volume"), ("Setiment", ",sentiment", "sentiment"), ("x y", ",y", None)],
)
def test_a_misspelt_column_may_have_been_another(asked, more, meant, tmp_path, capsys):
    (tmp_path / "X.csv").write_text("\n".join([HEADER + more, *(line + (",1" if more else "") for line in LINES[1:])]))
    message = (
        f"X ({tmp_path / 'X.csv'}): misses the column {asked} of data.feature_columns (it has: date, open, high, low, close,"
        f" volume{more.replace(',', ', ')}); name columns that are there, in every file"
    )
    refused(capsys, tmp_path, message + (f"; did you mean {meant}?" if meant else ""), "--feature-columns", asked)


# ---------------------------------------------------------------------- odd folders


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
@pytest.mark.parametrize("name", [b"s3:x", b"file:", b"\xff\xfe"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_folder_may_have_any_name(name, ending, tmp_path, monkeypatch):
    """Of a path Arrow wants UTF-8, and takes some for addresses."""
    folder = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
    folder.mkdir()
    (folder / f"X.{ending}").write_bytes(CSV if ending == "csv" else parquet(TABLE))
    for here, place in ((tmp_path, Path(folder.name)), (folder, Path()), (folder, folder)):
        monkeypatch.chdir(here)
        (bars,), _ = FileSource(place).load((), None, None)
        assert len(bars.frame) == BARS


# ---------------------------------------------------------------------- own features

FUNCTIONS = """
import asyncio
import sys
import pandas as pd

def leaves(frame):
    sys.exit(3)

def huge(frame):
    return pd.DataFrame({"mood": frame["close"] * 1e300})

def odd(frame):
    return pd.DataFrame({"mood\\x1b[31m": frame["close"]})

def many(frame):
    return pd.DataFrame({f"mood {n}": frame["close"] for n in range(1001)})

def shouts(frame):
    raise ValueError("no\\n" * 5000)

class Mute(Exception):
    def __str__(self):
        raise RuntimeError

def mute(frame):
    raise Mute

def cancelled(frame):
    raise asyncio.CancelledError("late")

def closed(frame):
    raise GeneratorExit

class Base(BaseException):
    pass

def base(frame):
    raise Base("boo")

async def later(frame):
    return frame
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hostile_features:leaves", "data.features hostile_features:leaves (X): raises SystemExit: 3"),
        (
            "hostile_features:huge",
            "X: the feature mood must not be beyond 1e+18, but is 5.00629e+301 on 2015-01-05 (150 bars); scale it, or take its"
            " logarithm",
        ),
        (
            "hostile_features:odd",
            "data.features hostile_features:odd (X): returns a column 'mood\\x1b[31m'; a name must be printable, of at most 100"
            " characters",
        ),
        (
            "hostile_features:many",
            "data.features hostile_features:many (X): returns 1,001 columns; return at most 1,000",
        ),
        (
            "hostile_features:shouts",
            f"data.features hostile_features:shouts (X): raises ValueError: {'no ' * 33}n…o{' no' * 33}",
        ),
        (
            "hostile_features:mute",
            "data.features hostile_features:mute (X): raises Mute: (its text raises RuntimeError)",
        ),
        ("leaves_at_once:f", "data.features leaves_at_once:f: importing leaves_at_once raises SystemExit: 7"),
        ("../x:f", "--features: data.features must be module:function, such as mine:more, but got '../x:f'"),
        ("hostile_features:cancelled", "data.features hostile_features:cancelled (X): raises CancelledError: late"),
        ("hostile_features:closed", "data.features hostile_features:closed (X): raises GeneratorExit"),
        ("hostile_features:base", "data.features hostile_features:base (X): raises Base: boo"),
        ("base_at_once:f", "data.features base_at_once:f: importing base_at_once raises BaseException: boo"),
        (
            "hostile_features:later",
            "data.features hostile_features:later (X): must return a pandas DataFrame, but returns coroutine; write def in place"
            " of async def",
        ),
    ],
)
def test_own_features_that_do_harm(name, message, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "hostile_features.py").write_text(FUNCTIONS)
    (tmp_path / "leaves_at_once.py").write_text("import sys\nsys.exit(7)\n")
    (tmp_path / "base_at_once.py").write_text("raise BaseException('boo')\n")
    (tmp_path / "X.csv").write_bytes(CSV)
    code, _, err = data(capsys, tmp_path, "--features", name)
    monkeypatch.delitem(sys.modules, "hostile_features", raising=False)
    assert (err, code) == (f"Error: {message}\n", 2)


def test_ctrl_c_in_an_own_function_is_no_fault_of_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "slow_features.py").write_text("def more(frame):\n    raise KeyboardInterrupt\n")
    (tmp_path / "X.csv").write_bytes(CSV)
    with pytest.raises(KeyboardInterrupt):
        prepare_dataset(DataSettings(data_dir=tmp_path, lookback=5, features="slow_features:more"))


# ---------------------------------------------------------------------- DataLoaders


def parts(windows, seed=0):
    make = torch.Generator().manual_seed(seed)
    return torch.randn(windows, 5, 3, generator=make), torch.arange(windows) % 2, torch.randn(windows, generator=make)


X, Y, V = parts(12)


def loaders(train):
    return [train, [parts(6, 1)], [parts(6, 2)]]


class Breaks(list):
    def __iter__(self):
        yield from super().__iter__()
        raise OSError("the disk\nfell off \x1b[31m")


class Goes:
    def __len__(self):
        return 3

    def __iter__(self):
        while True:
            yield parts(4)


class Claims:
    def __len__(self):
        return 10**12

    def __iter__(self):
        raise AssertionError("nobody may begin with it")


class NoLength(list):
    def __len__(self):
        raise RuntimeError("not yet")


class Raises:
    """Of the kind that ``except Exception`` does not see."""

    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 1

    def __iter__(self):
        raise self.error


class OddPart(list):
    """A part of it can't be had."""

    def __init__(self, name):
        super().__init__([parts(12)])
        self.name = name

    def __getattribute__(self, name):
        if name == object.__getattribute__(self, "__dict__").get("name"):
            raise RuntimeError("not now")
        return super().__getattribute__(name)


def masked(tensor):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its API is a prototype
        return torch.masked.masked_tensor(tensor, torch.ones_like(tensor, dtype=torch.bool))


SAME = [parts(12)]
LOADERS = [
    (
        "breaks off",
        loaders(Breaks([(X, Y, V)])),
        "batch 1 of the train loader can't be had: it raises OSError: the disk fell off \\x1b[31m; iterate over the loader by"
        " itself to see where",
    ),
    (
        "endless",
        loaders(Goes()),
        "the train loader must yield as many batches as its length says, 3, but yields more; give a loader that ends there",
    ),
    (
        "a million million batches",
        loaders(Claims()),
        "the train loader must have at most 1,000,000 batches, but has 1,000,000,000,000; use a larger batch_size",
    ),
    ("no length", loaders(NoLength()), "the length of the train loader can't be had: it raises RuntimeError: not yet"),
    (
        "a dict of loaders",
        {"train": [], "validation": [], "test": []},
        "data_loaders must be (train, validation, test), but are dict of 3",
    ),
    (
        "a generator of loaders",
        (each for each in ()),
        "data_loaders must be (train, validation, test), but are generator",
    ),
    (
        "a huge class",
        loaders([(X, Y * 10**12, V)]),
        "the train loader lacks the classes [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …] (999,999,999,999) of 0..1000000000000; a class"
        " that is never seen can't be learnt: split anew (stratified) or number the classes without holes",
    ),
    (
        "a class beyond int64",
        loaders([(X, torch.full((12,), 2**64 - 1, dtype=torch.uint64), V)]),
        "y_class in batch 0 of the train loader must count classes from 0, but has -1",
    ),
    (
        "numbers whose squares overflow",
        loaders([(torch.full_like(X, 1e37), Y, V)]),
        "x in batch 0 of the train loader must not be beyond 1e+18, but reaches 1e+37; scale it",
    ),
    (
        "values whose squares overflow",
        loaders([(X, Y, torch.full_like(V, -1e37))]),
        "y_reg in batch 0 of the train loader must not be beyond 1e+18, but reaches 1e+37; scale it",
    ),
    (
        "a tensor without numbers",
        loaders([(X.to("meta"), Y, V)]),
        "x in batch 0 of the train loader must be a dense tensor with its numbers, but is on the device meta, which holds none;"
        " use torch.tensor",
    ),
    (
        "a sparse tensor",
        loaders([(X.to_sparse(), Y, V)]),
        "x in batch 0 of the train loader must be a dense tensor with its numbers, but is torch.sparse_coo; use torch.tensor",
    ),
    (
        "a masked tensor",
        loaders([(masked(X), Y, V)]),
        "x in batch 0 of the train loader must be a dense tensor with its numbers, but is a masked one; use torch.tensor",
    ),
    (
        "leaves",
        loaders(Raises(SystemExit(3))),
        "batch 0 of the train loader can't be had: it raises SystemExit: 3; iterate over the loader by itself to see where",
    ),
    (
        "is closed",
        loaders(Raises(GeneratorExit())),
        "batch 0 of the train loader can't be had: it raises GeneratorExit; iterate over the loader by itself to see where",
    ),
    *(
        (
            f"no {name}",
            loaders(OddPart(name)),
            f"the {name} of the train loader can't be had: it raises RuntimeError: not now",
        )
        for name in ("dataset", "batch_sampler", "sampler", "drop_last")
    ),
    *(
        (
            f"{first} is {second}",
            given,
            f"data_loaders must be three different loaders, but {first} and {second} are the same one; split the windows, so"
            " that each is in one loader only",
        )
        for first, second, given in (
            ("train", "validation", (SAME, SAME, [parts(6, 2)])),
            ("train", "test", (SAME, [parts(6, 1)], SAME)),
            ("validation", "test", ([parts(12)], SAME, SAME)),
        )
    ),
    *(
        (
            f"{name} was trained on",
            given,
            f"the {name} loader must have windows of its own, but all 6 windows are in the train loader too: they show what was"
            " learnt by heart; split the windows, so that each is in one loader only",
        )
        for name, given in (
            ("validation", ([(X, Y, V)], [(X[3:9], 1 - Y[:6], V[:6])], [parts(6, 2)])),
            ("test", ([(X, Y, V)], [parts(6, 1)], [(X[[0, 0, 0, 2, 2, 2]], Y[:6], V[:6])])),
        )
    ),
    (
        "objects",
        loaders([(np.full((12, 5, 3), None), Y, V)]),
        "x in batch 0 of the train loader must be a float tensor (batch, time, features), but is ndarray",
    ),
]


@pytest.mark.parametrize(("given", "message"), [each[1:] for each in LOADERS], ids=[each[0] for each in LOADERS])
def test_loaders_that_break_a_rule(given, message):
    with pytest.raises(DataError) as caught:
        dataset_from_loaders(given, None)
    assert str(caught.value) == message


def test_a_loader_may_fill_one_tensor_anew_for_each_batch():
    class Refills:
        def __init__(self, seed):
            self.batches = [parts(4, seed + number) for number in range(3)]

        def __len__(self):
            return 3

        def __iter__(self):
            given = [torch.empty_like(tensor) for tensor in self.batches[0]]
            for batch in self.batches:
                for tensor, values in zip(given, batch, strict=True):
                    tensor.copy_(values)
                yield tuple(given)

    kept = dataset_from_loaders([Refills(seed) for seed in (10, 20, 30)], None)
    whole = dataset_from_loaders([list(Refills(seed).batches) for seed in (10, 20, 30)], None)
    assert kept.description["sha256"] == whole.description["sha256"]
    assert torch.equal(
        kept.validation.series.reshape(12, 5, 3), torch.cat([parts(4, seed)[0] for seed in (20, 21, 22)])
    )


def test_windows_that_are_judged_and_trained_on_are_counted():
    validation = tuple(torch.cat(two) for two in zip(parts(6, 1), (X[:2], Y[:2], V[:2]), strict=True))
    dataset = dataset_from_loaders([[(X, Y, V)], [validation], [parts(6, 2)]], None)
    line = (
        "2 of the validation loader's 8 windows are in the train loader too: they show what was learnt by heart; split the"
        " windows, so that each is in one loader only"
    )
    assert dataset.warnings == (line,)
    assert dataset.description["warnings"] == [line]


def test_a_batch_that_is_refused_leaves_no_noise(capsys):
    """The loader is left in the midst of its batches."""
    with pytest.raises(DataError, match=r"^batch 0 of the train loader must be"):
        dataset_from_loaders(loaders([None, None]), None)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"symbols": ["AAPL"], "lookback": 99, "start": "2001-02-03"},
            "data.symbols=('AAPL',), data.start=2001-02-03, data.lookback=99: data_loaders come with their own windows, labels"
            " and split; leave them out, or give bars instead of data_loaders",
        ),
        *(
            (
                {name: value},
                f"data.{name}={value!r}: data_loaders come with their own windows, labels and split; leave it out, or give bars"
                " instead of data_loaders",
            )
            for name, value in (
                ("source", "embedded"),
                ("data_dir", "/bars"),
                ("target", "volatility"),
                ("split", (0.5, 0.25, 0.25)),
                ("on_bad_bars", "drop"),
            )
        ),
    ],
)
def test_settings_of_bars_beside_loaders_are_named(data, message, tmp_path):
    with pytest.raises(ConfigError) as caught:
        CNNLSTMHyperparameterOptimizer(loaders([(X, Y, V)]), None, tmp_path / "out", config={"data": data}, quiet=True)
    assert str(caught.value) == message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("data", [{}, {"source": "loaders"}, {"lookback": 60, "train_share": 0.5, "horizon": 2}])
def test_settings_that_loaders_have_a_use_for_or_that_change_nothing_are_taken(data, tmp_path):
    CNNLSTMHyperparameterOptimizer(loaders([(X, Y, V)]), 3, tmp_path / "out", config={"data": data}, quiet=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"input_dim": 999},
            "input_dim must come with data_loaders, whose features it counts, but got 999 alone; leave it out, or give"
            " data_loaders",
        ),
        ({"resume": "no"}, "resume must be True or False, but got 'no'"),
        ({"quiet": 1}, "quiet must be True or False, but got 1"),
        ({"study_name": b"x"}, "study.name must be text, but got b'x'"),
        ({"study_name": ["x"]}, "study.name must be text, but got ['x']"),
    ],
)
def test_wrong_arguments_in_python(arguments, message, tmp_path):
    with pytest.raises(ConfigError) as caught:
        CNNLSTMHyperparameterOptimizer(save_dir=tmp_path / "out", **{"quiet": True, **arguments})
    assert str(caught.value) == message


def test_input_dim_may_be_no_array():
    with pytest.raises(DataError) as caught:
        dataset_from_loaders(loaders([(X, Y, V)]), np.array([3, 3]))
    assert str(caught.value) == "input_dim must be the loaders' number of features, 3, but got array([3, 3])"


@pytest.mark.parametrize("dim", ["3", True, float("nan"), -3])
def test_another_number_of_features_than_there_are(dim):
    with pytest.raises(DataError) as caught:
        dataset_from_loaders(loaders([(X, Y, V)]), dim)
    assert str(caught.value) == f"input_dim must be the loaders' number of features, 3, but got {dim!r}"


def test_a_dataset_with_keys_of_its_own_is_taken():
    class Named(torch.utils.data.Dataset):
        def __len__(self):
            return len(X)

        def __getitem__(self, key):
            return X[int(key[1:])], Y[int(key[1:])], V[int(key[1:])]

    train = torch.utils.data.DataLoader(Named(), batch_size=5, sampler=[f"k{row}" for row in range(12)])
    assert len(dataset_from_loaders(loaders(train), None).train) == 12


def test_loaders_of_three_windows_are_enough():
    dataset = dataset_from_loaders([[parts(3)], [parts(1, 1)], [parts(1, 2)]], None)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (3, 1, 1)


def test_without_being_asked_nobody_calls_the_network(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    (tmp_path / "X.csv").write_bytes(CSV)
    for settings in (
        DataSettings(data_dir=tmp_path, lookback=5, target="volatility"),
        DataSettings(source="synthetic"),
    ):
        assert len(prepare_dataset(settings).train) > 0
