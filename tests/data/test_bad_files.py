"""Files of bars with invalid rows, in other forms, or of another kind: each is read, or has an error with its code."""

import functools
import gzip
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from builders.frames import (
    COLUMNS,
    HEADER,
    arrow_table,
    csv_bytes,
    csv_lines,
    parquet_bytes,
    random_frame,
    with_cell,
    with_column,
    write,
)
from cnn_lstm_hyperopt import cli
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.problems import MAX_LINES, BadBarsError
from cnn_lstm_hyperopt.data.sources import load_bars
from cnn_lstm_hyperopt.data.sources.files import FileSource

BARS = 400
LINES = csv_lines(BARS)
CSV = csv_bytes(LINES)
NAMES, ROWS = LINES[0], LINES[1:]
TABLE = arrow_table(150)
PARQUET = parquet_bytes(TABLE)


def cell(row, column, value):
    return with_cell(LINES, row, column, value)


def stamped(stamps):
    """The same rows with other dates."""
    return [NAMES, *(f"{stamp}{row[10:]}" for stamp, row in zip(stamps, ROWS, strict=False))]


def separated(separator, decimal="."):
    return [line.replace(",", separator).replace(".", decimal) for line in LINES]


def adjusted(value):
    """An adjusted close equal to the close, except in row 200."""
    closes = [value if row == 200 else line.split(",")[4] for row, line in enumerate(ROWS, start=1)]
    return [f"{NAMES},adj_close", *(f"{line},{close}" for line, close in zip(ROWS, closes, strict=True))]


DAYS = [row[:10] for row in ROWS]


def extended(name, content, values):
    """The table with a column of an extension type."""
    metadata = {b"ARROW:extension:name": name, b"ARROW:extension:metadata": content}
    return TABLE.set_column(1, pa.field("open", values.type, metadata=metadata), values)


pa.array(pd.period_range("2015", periods=1, freq="D").array)  # registers the type pandas.period
HOURS = stamped(pd.date_range("2015-01-05 09:00", periods=BARS, freq="h"))
BAD_ROWS = [  # name, lines, code, number of the row, value
    ("text", cell(3, "open", "abc"), "text", 3, "'abc'"),
    ("a formula that starts a program", cell(3, "volume", "=cmd|' /C calc'!A0"), "text", 3, "\"=cmd|' /C calc'!A0\""),
    ("an escape sequence", cell(3, "open", "\x1b[31m5"), "text", 3, "'\\x1b[31m5'"),
    ("NaN", cell(3, "high", "NaN"), "missing", 3, "nothing"),
    ("a number beyond float64", cell(3, "volume", "1e999"), "infinite", 3, "inf"),
    ("a huge number", cell(3, "volume", "1e308"), "large", 3, "1e+308"),
    ("a tiny price", cell(3, "low", "1e-308"), "small", 3, "1e-308"),
    ("a zero price", cell(3, "low", "0"), "price", 3, "0"),
    ("a zero adjusted close", adjusted("0"), "price", 200, "0"),
    ("a negative volume", cell(3, "volume", "-1"), "negative-volume", 3, "-1"),
    ("high below low", cell(3, "high", "1"), "high-below-low", 3, "1"),
    ("open outside", cell(3, "open", "99"), "open-outside", 3, None),
    ("close outside", cell(3, "close", "9"), "close-outside", 3, None),
    ("a copy of a row", [*LINES, LINES[7]], "copy", 401, None),
    ("a date with two bars", [*LINES, LINES[7] + "1"], "duplicate", 7, None),
    ("an unreadable date", cell(9, "date", "soon"), "date", 9, "'soon'"),
    ("a missing date", cell(9, "date", ""), "date", 9, "nothing"),
    ("an impossible offset", cell(9, "date", "2015-01-07T00:00:00+99:99"), "date", 9, None),
    ("the year 1", cell(9, "date", "0001-01-01"), "date", 9, "'0001-01-01'"),
    ("the year 9999", cell(BARS, "date", "9999-12-31"), "date", 400, "'9999-12-31'"),
    ("a date in the future", cell(BARS, "date", "2150-01-01"), "future", 400, None),
    ("mixed time zones", [*HOURS[:300], *(f"{row[:19]}Z{row[19:]}" for row in HOURS[300:])], "time-zone", 300, None),
    ("a header in the middle", [*LINES[:50], NAMES, *LINES[50:]], "header-again", 50, "'date'"),
    ("a footer", [*LINES, "Total,,,,,12345"], "date", 401, "'Total'"),
    ("trailing junk", [*LINES, "Downloaded from a site"], "fields", None, "Downloaded from a site"),
    ("one more field in a row", cell(3, "volume", "5,6"), "fields", None, None),
    ("fewer fields in a row", [*LINES[:3], "2015-01-07,1,2", *LINES[4:]], "fields", None, "2015-01-07,1,2"),
]
MARS = pa.timestamp("ns", "Mars/Olympus")
COMPUTABLE = {"high-below-low", "open-outside", "close-outside", "future"}
WITHOUT_DATE = {"date", "header-again", "fields"}
NO_BARS = [  # name, content, code; an error even where bad rows are dropped
    ("an empty file", b"", "empty"),
    ("a header only", csv_bytes([HEADER]), "no-rows"),
    ("no header", ROWS, "no-header"),
    ("a column missing", [line.rsplit(",", 1)[0] for line in LINES], "missing-column"),
    ("an escape sequence in a name", CSV.replace(b"open", b"\x1b[31mopen", 1), "missing-column"),
    ("a column twice", [NAMES + ",Close", *(line + ",1" for line in ROWS)], "ambiguous-columns"),
    ("two columns of dates", [NAMES + ",timestamp", *(f"{row},{row[:10]}" for row in ROWS)], "ambiguous-columns"),
    ("10,000 columns of one name", [HEADER + ",open" * 10_000, LINES[1] + ",1" * 10_000], "ambiguous-columns"),
    ("no separator", [line.replace(",", " ") for line in LINES], "one-column"),
    ("a field of 200,000 letters", b"x" * 200_000 + b"\n" + CSV, "one-column"),
    ("a trailing comma in every row", [NAMES, *(line + "," for line in ROWS)], "fields"),
    ("20,000 columns missing", [HEADER + "".join(f",x{n}" for n in range(20_000)), LINES[1]], "fields"),
    ("a line of 5 MB", CSV + b"9" * 5_000_000 + b"\n" + CSV, "unreadable"),
    ("a quote without end", CSV + b'"' + b"9,\n" * 700_000, "unreadable"),
    ("an Excel file", b"PK\x03\x04\x14\x00\x06\x00\x08\x00rest of a workbook", "other-kind"),
    ("a web page after a byte order mark", b"\xef\xbb\xbf\n<HTML>", "other-kind"),
    ("a compressed file", b"\x1f\x8b\x08\x00abc", "other-kind"),
    ("JSON", b' {"date": []}', "other-kind"),
    ("a PDF", b"%PDF-1.7 ", "other-kind"),
    ("a pickle", pickle.dumps({"date": []}), "other-kind"),
    ("zero bytes", b"date,open\x00\x01\x02\n\x00", "no-text"),
    ("day numbers of Excel", stamped((pd.DatetimeIndex(DAYS) - pd.Timestamp("1899-12-30")).days), "date"),
    ("dates of 30 digits", with_column(LINES, "date", lambda _: "9" * 30), "date"),
    ("European dates", with_column(LINES, "date", lambda v: "/".join(v.split("-")[::-1])), "date"),
    ("thousands or decimals", with_column(LINES, "open", lambda _: '"12,345"'), "text"),
    ("a tiny adjusted close", [f"{NAMES},adj_close", *(f"{line},1e-320" for line in ROWS)], "small"),
    ("no Parquet: compressed", gzip.compress(PARQUET), "other-kind"),
    ("no Parquet: encrypted", b"PARE" + b"\x00" * 99, "other-kind"),
    ("no Parquet: damaged", b"PAR1 broken", "unreadable"),
    ("no Parquet: a false footer", PARQUET[:-8] + (2**31 - 1).to_bytes(4, "little") + b"PAR1", "unreadable"),
    ("Parquet of other columns", TABLE.select(["date", "volume"]), "missing-column"),
    ("Parquet without rows", TABLE.slice(0, 0), "no-rows"),
    ("Parquet of nested prices", arrow_table(open=pa.array([[1.0]] * 150)), "column-type"),
    ("Parquet of a damaged type of pandas", extended(b"pandas.period", b"{}", pa.array([1] * 150)), "column-type"),
    ("Parquet of bytes for dates", arrow_table(date=pa.array([b"\xff"] * 150)), "column-type"),
    ("Parquet of an unknown time zone", arrow_table(date=pa.array(range(150), MARS)), "unknown-time-zone"),
    ("Parquet with more rows than bytes", pa.table(dict.fromkeys(COLUMNS, pa.nulls(10_000_001))), "too-many-rows"),
    ("Parquet with a name twice", TABLE.append_column("open", TABLE["open"]), "ambiguous-columns"),
]
OTHER_FORMS = [  # name, content, rules warned of; the bars are the same
    ("dates backwards", [NAMES, *ROWS[::-1]], "unsorted"),
    ("dates in disorder", [*LINES[:9], LINES[20], *LINES[9:20], *LINES[21:]], "unsorted"),
    ("semicolons", separated(";"), "separator"),
    ("tabs", separated("\t"), "separator"),
    ("semicolons and decimal commas", separated(";", ","), "separator commas"),
    ("thousands separators", with_column(LINES, "volume", lambda v: f'"{int(v):,}"'), "commas"),
    ("a byte order mark", b"\xef\xbb\xbf" + CSV, ""),
    ("Latin-1", "\n".join([f"{NAMES},Börse", *(f"{row},München" for row in ROWS)]).encode("latin-1"), "encoding"),
    ("UTF-16", CSV.decode().encode("utf-16"), "encoding"),
    ("UTF-16 without a mark", CSV.decode().encode("utf-16-le"), "encoding"),
    ("line ends of Windows", CSV.replace(b"\n", b"\r\n"), ""),
    ("line separators of Unicode before the header", "a\u2028b\x85c\x0bd\n".encode() + CSV, "before_header"),
    ("spaces after commas", [line.replace(",", ", ") for line in LINES], ""),
    ("quoted fields", ['"' + line.replace(",", '","') + '"' for line in LINES], ""),
    ("epoch seconds", stamped(pd.DatetimeIndex(DAYS).as_unit("s").asi8), ""),
    ("epoch nanoseconds", stamped(pd.DatetimeIndex(DAYS).as_unit("ns").asi8), ""),
    ("epoch seconds with a point", stamped(f"{each}.0" for each in pd.DatetimeIndex(DAYS).as_unit("s").asi8), ""),
    ("dates with dots, the year first", with_column(LINES, "date", lambda v: v.replace("-", ".")), ""),
    ("dates with dots, the day first", with_column(LINES, "date", lambda v: ".".join(v.split("-")[::-1])), ""),
    ("names in angle brackets", ["<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>", *ROWS], ""),
    ("names of other programs", ["Date Time,Open,High,Low,Close,Vol.", *ROWS], ""),
    ("a time of midnight", [NAMES + ",time", *(f"{row},00:00" for row in ROWS)], ""),
    ("a column time that has no times", [NAMES + ",time", *(f"{row},{n}.5" for n, row in enumerate(ROWS))], ""),
    ("Excel's hint of the separator", ["sep=;", *separated(";")], "before_header separator"),
    (
        "what yfinance writes",
        ["Price,Open,High,Low,Close,Volume", "Ticker,A,A,A,A,A", "Date,,,,,", *ROWS],
        "before_header",
    ),
    ("blank lines", ["", *LINES[:50], "", *LINES[50:]], ""),
    ("10,000 columns more", [NAMES + ",x" * 10_000, *(row + ",=1+1" * 10_000 for row in ROWS)], ""),
]
STALE = [*LINES[:101], *(line[:10] + LINES[100][10:] for line in LINES[101:130]), *LINES[130:]]
DAYS_THEN_HOURS = stamped([*DAYS[:150], *pd.date_range("2015-08-03", periods=250, freq="h")])
TRADING_HOURS = [(day, hour) for day in pd.bdate_range("2015-01-05", periods=60) for hour in (0, *range(9, 16))]
AMONG_HOURS = stamped(day + pd.Timedelta(hours=hour) for day, hour in TRADING_HOURS if hour or day.day % 3 == 0)
OFFSETS = stamped(f"{day} 16:00:00{'+09:00' if row > 200 else '-05:00'}" for row, day in enumerate(DAYS))
SUSPICIOUS = [  # name, lines, rule, count, first
    ("zero volume", cell(5, "volume", "0"), "zero_volume", 1, "2015-01-09"),
    ("no volume at all", with_column(LINES, "volume", lambda _: "0"), "zero_volume", 400, "2015-01-05"),
    ("a hole", [*LINES[:150], *LINES[170:]], "gap", 1, "2015-07-30"),
    ("stale prices", STALE, "stale_prices", 30, "2015-05-22"),
    ("hours after days", DAYS_THEN_HOURS, "mixed_frequencies", 150, "2015-01-05"),
    ("daily rows among hours", AMONG_HOURS, "mixed_frequencies", 19, "2015-01-06"),
    ("offsets far apart", OFFSETS, "time_zones", 1, None),
    ("no adjusted close", LINES, "unadjusted", 1, None),
]


def cases(table):
    return [pytest.param(*rest, id=name) for name, *rest in table]


def settings(folder, **changed):
    return DataSettings(**({"data_dir": folder, "lookback": 10, "target": "volatility"} | changed))


def error_of(folder, **changed):
    with pytest.raises(BadBarsError) as caught:
        load(folder, **changed)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600
    return caught.value


def load(folder, **changed):
    (bars,), _ = load_bars(settings(folder, **changed))
    return bars


@pytest.mark.parametrize(("lines", "code", "row", "value"), cases(BAD_ROWS))
def test_an_invalid_row_is_an_error_with_its_place_or_is_dropped_or_kept(tmp_path, lines, code, row, value):
    write(tmp_path, lines)
    error = error_of(tmp_path)
    assert [(each.field, each.code) for each in error.violations] == [("X", code)]
    found = next(each for each in error.problems if each.severity == "error")
    assert (found.row, found.where) == (row, str(tmp_path / "X.csv"))
    assert value in (None, found.value)
    assert (found.first is None) == (code in WITHOUT_DATE)
    assert found.first is None or lines[row].startswith(found.first[:10])

    bars = load(tmp_path, on_bad_bars="drop")
    (dropped,) = [each for each in bars.problems if each.code == code]
    assert (dropped.severity, dropped.count, dropped.row) == ("warning", found.count, row)
    assert BARS - found.count <= len(bars.frame) <= BARS

    if code in COMPUTABLE:
        assert len(load(tmp_path, on_bad_bars="keep").frame) == BARS
    else:
        assert error_of(tmp_path, on_bad_bars="keep").code == code


@pytest.mark.parametrize(("content", "code"), cases(NO_BARS))
def test_a_file_that_holds_no_bars_is_one_error_for_every_policy(tmp_path, content, code, request):
    write(tmp_path, content, "X.parquet" if "Parquet" in request.node.callspec.id else "X.csv")
    for policy in ("error", "drop", "keep"):
        error = error_of(tmp_path, on_bad_bars=policy)
        assert error.field == "X"
        assert error.code in {code, "no-rows" if policy == "drop" else code}


@pytest.mark.parametrize(("content", "rules"), cases(OTHER_FORMS))
def test_the_same_bars_in_another_form_are_the_same_bars(tmp_path, content, rules):
    write(tmp_path, content)
    write(tmp_path, LINES, "PLAIN.csv")
    for policy in ("error", "drop", "keep"):
        (plain, bars), _ = load_bars(settings(tmp_path, on_bad_bars=policy))
        assert bars.sha256 == plain.sha256
        assert {each.rule for each in bars.problems} == {"unadjusted", *rules.split()}


@pytest.mark.parametrize(("lines", "rule", "count", "first"), cases(SUSPICIOUS))
def test_suspicious_bars_are_read_with_a_warning(tmp_path, lines, rule, count, first):
    write(tmp_path, lines)
    for policy in ("error", "drop", "keep"):
        bars = load(tmp_path, on_bad_bars=policy)
        (found,) = [each for each in bars.problems if each.rule not in {"unadjusted"} - {rule}]
        assert (found.rule, found.severity, found.count) == (rule, "warning", count)
        assert (found.first or "")[:10] == (first or "")
        assert np.isfinite(bars.frame.to_numpy()).all()
        assert bars.index.is_monotonic_increasing
        assert bars.index.is_unique


def test_problems_are_in_data_json_and_in_the_warnings(tmp_path):
    write(tmp_path, cell(3, "open", "abc"))
    dataset = prepare_dataset(settings(tmp_path, on_bad_bars="drop"))
    found = {each["rule"]: each for each in dataset.description["symbols"]["X"]["problems"]}
    assert found["text"].keys() == {"rule", "severity", "count", "first", "value", "text"}
    assert (found["text"]["count"], found["text"]["first"], found["text"]["value"]) == (1, "2015-01-07", "'abc'")
    assert dataset.description["symbols"]["X"]["bars"] == BARS - 1
    assert all(any(each["text"] in warning for warning in dataset.warnings) for each in found.values())


def test_all_errors_of_all_files_are_reported_together(tmp_path, capsys):
    write(tmp_path, cell(3, "open", "=1+1"), "A.csv")
    write(tmp_path, cell(3, "low", "0"), "B.csv")
    write(tmp_path, [*cell(5, "volume", "-1"), "Total,,,,,"], "C.csv")
    write(tmp_path, LINES, "GOOD.csv")
    write(tmp_path, b"", "D.parquet")
    with pytest.raises(BadBarsError) as caught:
        load_bars(settings(tmp_path))
    places = [(each.field, each.code) for each in caught.value.violations]
    expected = [("A", "text"), ("B", "price"), ("C", "date"), ("C", "negative-volume"), ("D", "empty")]
    assert places == expected
    assert len(str(caught.value).splitlines()) == 1 + len(expected)
    assert [bars.symbol for bars in caught.value.bars] == ["GOOD"]
    assert cli.main(["data", "--data-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"Error: {caught.value}\n"


def test_a_long_list_of_errors_is_cut_and_counted(tmp_path):
    for number in range(MAX_LINES + 5):
        write(tmp_path, cell(3, "open", "abc"), f"S{number:02d}.csv")
    with pytest.raises(BadBarsError) as caught:
        load_bars(settings(tmp_path))
    assert len(caught.value.violations) == MAX_LINES + 5
    assert len(str(caught.value).splitlines()) == 1 + MAX_LINES + 1


@pytest.mark.skipif(sys.platform == "win32", reason="no such files there")
@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, *(functools.partial(os.symlink, to) for to in ("no", "X.csv", "/dev/zero"))]
)
def test_what_is_not_a_regular_file_is_not_opened(make, tmp_path):
    make(tmp_path / "X.csv")
    assert error_of(tmp_path).code == "no-file"


def test_a_huge_sparse_file_is_not_read(tmp_path):
    with (tmp_path / "X.csv").open("wb") as file:
        file.write(f"{HEADER}\n".encode() + b"\n" * 70_000)
        file.truncate(5_000_000_000)  # a hole: it takes no room
    assert error_of(tmp_path).code == "unreadable"


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
@pytest.mark.parametrize("name", [b"s3:x", b"file:", b"\xff\xfe"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_folder_may_have_any_name(name, ending, tmp_path, monkeypatch):
    """Arrow requires UTF-8 in a path, and takes some for addresses."""
    folder = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
    folder.mkdir()
    write(folder, CSV if ending == "csv" else PARQUET, f"X.{ending}")
    for here, place in ((tmp_path, Path(folder.name)), (folder, Path()), (folder, folder)):
        monkeypatch.chdir(here)
        (bars,), _ = FileSource(place).load((), None, None)
        assert len(bars.frame) in (BARS, 150)


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


HIDDEN = [  # name of the file, its content with a pickle
    ("X.csv", lambda evil: evil),
    ("X.parquet", lambda evil: evil),
    ("X.parquet", lambda evil: TABLE.replace_schema_metadata({b"pandas": evil})),
    ("X.parquet", lambda evil: extended(b"arrow.py_extension_type", evil, TABLE["open"])),
    ("X.parquet", lambda evil: arrow_table(open=pa.array([evil] * 150))),
]


@pytest.mark.parametrize(("name", "hidden"), HIDDEN)
def test_a_pickle_in_a_file_is_never_opened(name, hidden, tmp_path):
    place = tmp_path / "opened"
    evil = pickle.dumps(Trap(place))
    pickle.loads(evil)  # noqa: S301 - the trap works
    place.rmdir()
    write(tmp_path, hidden(evil), name)
    assert cli.main(["data", "--data-dir", str(tmp_path), "--lookback", "5"]) in (0, 2)
    assert not place.exists()


FRAME = random_frame(150, start="2015-01-05")
METADATA = (b"not JSON", b"[]", b"{}", b'{"index_columns": ["nope"]}', b'{"index_columns": 5}', b"[" * 100_000)
TYPES = (pa.date32(), pa.date64(), pa.timestamp("ms"), pa.string())
STORED = {f"metadata {each[:30]!r}": TABLE.replace_schema_metadata({b"pandas": each}) for each in METADATA}
STORED |= {str(each): arrow_table(date=TABLE["date"].cast(each)) for each in TYPES}
STORED |= {f"index {name}": pa.Table.from_pandas(FRAME.rename_axis(name)) for name in ("date", "Datetime", "day", None)}


@pytest.mark.parametrize("stored", STORED)
def test_dates_of_a_parquet_file_have_any_type_or_are_the_index_and_pandas_metadata_is_not_trusted(stored, tmp_path):
    write(tmp_path, STORED[stored], "X.parquet")
    assert load(tmp_path).index.equals(FRAME.index)


def test_reading_files_and_synthetic_bars_opens_no_socket(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    write(tmp_path, LINES)
    for each in (settings(tmp_path), DataSettings(source="synthetic")):
        assert len(prepare_dataset(each).train) > 0
