"""Broken files of bars: each kind has its stated message, or runs through when bad rows are dropped; none ends in a traceback."""

import io

import numpy as np
import pandas as pd
import pytest

from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.bars import COLUMNS, normalise_bars
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.frequency import frequency
from cnn_lstm_hyperopt.data.problems import MOST_LINES, BadBarsError
from cnn_lstm_hyperopt.data.sources import load_bars
from cnn_lstm_hyperopt.data.validation.plausibility import SPLITS, STALE
from cnn_lstm_hyperopt.errors import DataError

BARS = 400
HEADER = "date,open,high,low,close,volume"


def sound_lines(bars=BARS, seed=0):
    """A CSV of sound daily bars, a line each, the header first."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, bars)))
    open_ = close * np.exp(rng.normal(0, 0.005, bars))
    lines = [HEADER]
    for day, o, c in zip(pd.bdate_range("2015-01-05", periods=bars), open_, close, strict=True):
        lines.append(
            f"{day.date()},{o:.4f},{max(o, c) * 1.01:.4f},{min(o, c) * 0.99:.4f},{c:.4f},{rng.integers(1000, 9999)}"
        )
    return lines


def with_field(row, place, value):
    """Sound lines with another value in one field of data row ``row``."""

    def change(lines):
        fields = lines[row].split(",")
        fields[place] = value
        return [*lines[:row], ",".join(fields), *lines[row + 1 :]]

    return change


def every_field(place, change):
    return lambda lines: [lines[0], *(_changed(line, place, change) for line in lines[1:])]


def _changed(line, place, change):
    fields = line.split(",")
    fields[place] = change(fields[place])
    return ",".join(fields)


def separated(separator, decimal="."):
    return lambda lines: [line.replace(",", separator).replace(".", decimal) for line in lines]


def hours(lines):
    """The same rows as hourly bars."""
    stamps = pd.date_range("2015-01-05 09:00", periods=len(lines) - 1, freq="h")
    return [lines[0], *(f"{stamp}{line[10:]}" for stamp, line in zip(stamps, lines[1:], strict=True))]


def hours_with_daily_rows(lines):
    """Seven hourly bars a day, and on some days a daily row at midnight among them."""
    days = pd.bdate_range("2015-01-05", periods=60)
    stamps = [day + pd.Timedelta(hours=hour) for day in days for hour in (0, *range(9, 16)) if hour or day.day % 3 == 0]
    return [lines[0], *(f"{stamp}{line[10:]}" for stamp, line in zip(stamps, lines[1:], strict=False))]


def excel(lines):
    return b"PK\x03\x04\x14\x00\x06\x00\x08\x00rest of a workbook"


def parquet(frame):
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def adjusted(value):
    """Sound lines with an adjusted close equal to the close, except in row 200."""

    def change(lines):
        closes = [value if row == 200 else line.split(",")[4] for row, line in enumerate(lines)]
        return [f"{HEADER},adj_close", *(f"{line},{close}" for line, close in zip(lines[1:], closes[1:], strict=True))]

    return change


DROPPED = "on_bad_bars: drop"
ERRORS = [  # name, how the file is made, what is said
    (
        "text in a column",
        with_field(3, 1, "abc"),
        "open must hold numbers, not text, but row 3 (2015-01-07) has 'abc' (1 such row)",
    ),
    (
        "a missing number",
        with_field(3, 2, ""),
        "high must be a number in every row, but row 3 (2015-01-07) has nothing",
    ),
    ("NaN", with_field(3, 2, "NaN"), "high must be a number in every row, but row 3"),
    ("infinity", with_field(3, 5, "inf"), "volume must be finite, but row 3 (2015-01-07) has inf"),
    ("a zero price", with_field(3, 3, "0"), "low must be above 0, but row 3 (2015-01-07) has 0"),
    ("a negative price", with_field(3, 1, "-4.5"), "open must be above 0, but row 3 (2015-01-07) has -4.5"),
    ("a negative volume", with_field(3, 5, "-1"), "volume must be 0 or more, but row 3 (2015-01-07) has -1"),
    ("high below low", with_field(3, 2, "1"), "high must not be below low, but row 3 (2015-01-07) has 1 (1 such row)"),
    (
        "open outside",
        with_field(3, 1, "99"),
        "open must lie between low and high, but row 3 (2015-01-07) has 99, not in",
    ),
    (
        "close outside",
        with_field(3, 4, "9"),
        "close must lie between low and high, but row 3 (2015-01-07) has 9, not in",
    ),
    (
        "a copy of a row",
        lambda lines: [*lines, lines[7]],
        "date must occur once, also with the same bar, but row 401 (2015-01-13)"
        " has the same date as row 7 (1 such row); keep one row of each",
    ),
    (
        "a date with two bars",
        lambda lines: [*lines, lines[7] + "1"],
        "date must occur once, and these bars differ, but row 7",
    ),
    (
        "an unreadable date",
        with_field(9, 0, "soon"),
        "date must be a date in every row, but row 9 has 'soon' (1 such row); write",
    ),
    ("a missing date", with_field(9, 0, ""), "date must be a date in every row, but row 9"),
    (
        "a date in the future",
        with_field(BARS, 0, "2150-01-01"),
        "date must not lie in the future, but row 400 (2150-01-01)",
    ),
    (
        "the year 9999",
        with_field(BARS, 0, "9999-12-31"),
        "date must be a date in every row, but row 400 has '9999-12-31'",
    ),
    (
        "mixed time zones",
        lambda lines: [*hours(lines)[:300], *(line.replace(",", "+00:00,", 1) for line in hours(lines)[300:])],
        "date must have a time zone in every row or in none, and most have none, but row 300",
    ),
    (
        "a header in the middle",
        lambda lines: [*lines[:50], HEADER, *lines[50:]],
        "the header must occur once, but row 50 has 'date' (1 such row)",
    ),
    (
        "a footer",
        lambda lines: [*lines, "Total,,,,,12345"],
        "date must be a date in every row, but row 401 has 'Total'",
    ),
    (
        "trailing junk",
        lambda lines: [*lines, "Downloaded from somewhere"],
        "every line must have 6 fields, as the header has, but"
        " line 402 has 1: 'Downloaded from somewhere' (1 such line)",
    ),
    (
        "one more field in a row",
        with_field(3, 5, "5,6"),
        "every line must have 6 fields, as the header has, but line 4 has 7",
    ),
    (
        "fewer fields in a row",
        lambda lines: [*lines[:3], "2015-01-07,1,2", *lines[4:]],
        "but line 4 has 3: '2015-01-07,1,2'",
    ),
    ("a zero adjusted close", adjusted("0"), "adj_close must be above 0, but row 200"),
    ("a negative adjusted close", adjusted("-3"), "adj_close must be above 0, but row 200"),
    ("a missing adjusted close", adjusted(""), "adj_close must be a number in every row, but row 200"),
]
HOPELESS = [  # name, file, what is said, whatever is done with bad rows
    ("an empty file", lambda lines: b"", "is empty; give a file with a header and at least one bar"),
    ("blank lines only", lambda lines: b"\n \n\n", "is empty"),
    ("a header only", lambda lines: [HEADER], "has no rows of bars; give a file with at least one bar"),
    ("no header", lambda lines: lines[1:], "has no header (it has: 2015-01-05, "),
    (
        "a column missing",
        lambda lines: [line.rsplit(",", 1)[0] for line in lines],
        "misses the column volume (it has: date, open,",
    ),
    (
        "a column twice",
        lambda lines: [lines[0] + ",Close", *(line + ",1" for line in lines[1:])],
        "columns close stand for the same thing",
    ),
    (
        "no separator",
        lambda lines: [line.replace(",", " ") for line in lines],
        "has one column only: 'date open high low close volume'; separate the columns with commas",
    ),
    (
        "a trailing comma in every row",
        lambda lines: [lines[0], *(line + "," for line in lines[1:])],
        "every line must have 6 fields",
    ),
    ("an Excel file", excel, "is an Excel file (or another archive), not CSV; save it as CSV UTF-8"),
    ("an old Excel file", lambda lines: b"\xd0\xcf\x11\xe0\xa1\xb1", "is an Excel file, not CSV"),
    ("a web page", lambda lines: b"<!DOCTYPE html><html>", "is a web page, not CSV; download the table itself"),
    ("a compressed file", lambda lines: b"\x1f\x8b\x08\x00abc", "is compressed, not CSV; unpack it"),
    ("bytes", lambda lines: b"date,open\x00\x01\x02\n\x00", "is no text; export it again as CSV UTF-8"),
    (
        "day numbers of Excel",
        every_field(0, lambda v: str((pd.Timestamp(v) - pd.Timestamp("1899-12-30")).days)),
        "these look like Excel's day numbers: format the column as a date, export it again",
    ),
    (
        "currency signs",
        every_field(4, lambda v: f"${v}"),
        "close must hold numbers, not text, but row 1 (2015-01-05) has '$",
    ),
    (
        "European dates",
        every_field(0, lambda v: "/".join(v.split("-")[::-1])),
        "date must be a date in every row, but row 7 has '13/01/2015'",
    ),
    (
        "thousands or decimals, who knows",
        lambda lines: [lines[0], *(_changed(line, 1, lambda _: '"12,345"') for line in lines[1:])],
        "open must hold numbers, not text, but row 1 (2015-01-05) has '12,345'",
    ),
    (
        "an adjusted close that is no factor",
        lambda lines: [f"{HEADER},adj_close", *(f"{line},1e-320" for line in lines[1:])],
        "adj_close must be 1e-18 or more, but row 1 (2015-01-05) has",
    ),
]
READ_ANYWAY = [  # name, file, the warning or None
    (
        "dates backwards",
        lambda lines: [lines[0], *lines[:0:-1]],
        "rows run from the newest to the oldest; they were sorted",
    ),
    (
        "dates in disorder",
        lambda lines: [*lines[:9], lines[20], *lines[9:20], *lines[21:]],
        "rows are not in order of date (1 step",
    ),
    ("semicolons", separated(";"), "columns are separated with semicolons, and were read so; use commas to be sure"),
    ("tabs", separated("\t"), "columns are separated with tabs"),
    ("bars between columns", separated("|"), "columns are separated with vertical bars"),
    ("semicolons and decimal commas", separated(";", ","), "commas in numbers were read as decimal commas"),
    (
        "thousands separators",
        every_field(5, lambda v: f'"{int(v) * 1000:,}"'),
        "commas in numbers were read as thousands separators",
    ),
    ("a byte order mark", lambda lines: b"\xef\xbb\xbf" + "\n".join(lines).encode(), None),
    (
        "Latin-1",
        lambda lines: "\n".join([f"{lines[0]},Börse", *(f"{line},München" for line in lines[1:])]).encode("latin-1"),
        "is no UTF-8 text, and was read as Windows-1252 (Latin-1)",
    ),
    ("UTF-16", lambda lines: "\n".join(lines).encode("utf-16"), "is UTF-16 text and was read so"),
    ("UTF-16 without a mark", lambda lines: "\n".join(lines).encode("utf-16-le"), "is UTF-16 text and was read so"),
    ("lines that end as in Windows", lambda lines: "\r\n".join(lines).encode(), None),
    ("spaces after commas", lambda lines: [line.replace(",", ", ") for line in lines], None),
    ("names in capitals", lambda lines: [lines[0].upper(), *lines[1:]], None),
    ("quoted fields", lambda lines: ['"' + line.replace(",", '","') + '"' for line in lines], None),
    ("epoch seconds", every_field(0, lambda v: str(pd.Timestamp(v).value // 10**9)), None),
    ("epoch milliseconds", every_field(0, lambda v: str(pd.Timestamp(v).value // 10**6)), None),
    ("epoch microseconds", every_field(0, lambda v: str(pd.Timestamp(v).value // 10**3)), None),
    ("epoch nanoseconds", every_field(0, lambda v: str(pd.Timestamp(v).value)), None),
    ("epoch seconds with a point", every_field(0, lambda v: f"{pd.Timestamp(v).value // 10**9}.0"), None),
    (
        "a line before the header",
        lambda lines: ["https://example.org", *lines],
        "1 line around the header was left out",
    ),
    (
        "Excel's hint of the separator",
        lambda lines: ["sep=;", *separated(";")(lines)],
        "1 line around the header was left out",
    ),
    (
        "what yfinance.download writes",
        lambda lines: ["Price,Open,High,Low,Close,Volume", "Ticker,AAPL,AAPL,AAPL,AAPL,AAPL", "Date,,,,,", *lines[1:]],
        "2 lines around the header were left out",
    ),
    ("blank lines", lambda lines: ["", *lines[:50], "", *lines[50:]], None),
    ("zero volume", with_field(5, 5, "0"), "volume is 0 in 1 bar, the first 2015-01-09"),
    ("no volume at all", every_field(5, lambda _: "0"), "volume is 0 in all bars; features of volume say nothing here"),
    (
        "a hole",
        lambda lines: [*lines[:150], *lines[170:]],
        "1 hole of more than 10 days in the bars, the longest of 29 days after",
    ),
    (
        "stale prices",
        lambda lines: [*lines[:101], *(line[:10] + lines[100][10:] for line in lines[101:130]), *lines[130:]],
        "1 stretch of 20 or more equal bars, the first from 2015-05-22, the longest of 30 bars",
    ),
    (
        "hours after days",
        lambda lines: [
            *lines[:151],
            *(
                f"2016-{day:%m-%d %H}:00:00{line[10:]}"
                for day, line in zip(pd.date_range("2016-01-04", periods=250, freq="h"), lines[151:], strict=False)
            ),
        ],
        "about 150 are daily, from 2015-01-05 on",
    ),
    ("daily rows among hours", hours_with_daily_rows, "at midnight, the first 2015-01-06, stand alone like daily rows"),
    (
        "offsets far apart",
        lambda lines: [
            lines[0],
            *(
                line[:10] + f" 16:00:00{'+09:00' if row > 200 else '-05:00'}" + line[10:]
                for row, line in enumerate(lines[1:])
            ),
        ],
        "dates carry time zones from -05:00 to +09:00",
    ),
    (
        "no adjusted close",
        lambda lines: lines,
        "if they are not adjusted for splits and dividends, some returns are wrong",
    ),
]


def make(folder, build, name="X.csv"):
    content = build(sound_lines())
    (folder / name).write_bytes(content if isinstance(content, bytes) else ("\n".join(content) + "\n").encode())
    return folder


def settings(folder, **changed):
    return DataSettings(**({"data_dir": folder, "lookback": 10, "target": "volatility"} | changed))


def cases(*tables):
    return [pytest.param(*rest, id=name) for table in tables for name, *rest in table]


def test_there_are_at_least_thirty_kinds_and_each_has_another_name():
    names = [name for name, *_ in (*ERRORS, *HOPELESS, *READ_ANYWAY)]
    assert len(names) == len(set(names)) >= 30


@pytest.mark.parametrize(("build", "message"), cases(ERRORS, HOPELESS))
def test_what_cannot_be_true_is_an_error_that_says_what_and_where(tmp_path, build, message):
    with pytest.raises(DataError) as caught:
        prepare_dataset(settings(make(tmp_path, build)))
    assert message in str(caught.value)
    assert f"X ({tmp_path}/X.csv): " in str(caught.value)


@pytest.mark.parametrize(("build", "message"), cases(ERRORS))
def test_bad_rows_are_dropped_on_demand_and_that_is_said(tmp_path, build, message):
    dataset = prepare_dataset(settings(make(tmp_path, build), on_bad_bars="drop"))
    said = [text for text in dataset.warnings if message.split(" (")[0].split(";")[0] in text]
    assert len(said) == 1
    assert said[0].endswith(f"left out ({DROPPED})")
    told = dataset.description["symbols"]["X"]["problems"]
    assert any(problem["text"].endswith(f"left out ({DROPPED})") and problem["count"] >= 1 for problem in told)


@pytest.mark.parametrize(("build", "message"), cases(HOPELESS))
def test_what_is_no_table_of_bars_stays_an_error_when_bad_rows_are_dropped(tmp_path, build, message):
    with pytest.raises(DataError):
        prepare_dataset(settings(make(tmp_path, build), on_bad_bars="drop"))


@pytest.mark.parametrize(("build", "message"), cases(ERRORS))
def test_rows_that_can_be_computed_with_are_kept_on_demand_and_no_others(tmp_path, build, message):
    computable = any(words in message for words in ("high must not", "must lie between", "in the future"))
    if computable:
        dataset = prepare_dataset(settings(make(tmp_path, build), on_bad_bars="keep"))
        assert dataset.description["symbols"]["X"]["bars"] == BARS
        assert any(message[:30] in text and text.endswith("kept (on_bad_bars: keep)") for text in dataset.warnings)
    else:
        with pytest.raises(BadBarsError, match=r"keep can't, as nothing can be computed of them"):
            prepare_dataset(settings(make(tmp_path, build), on_bad_bars="keep"))


@pytest.mark.mostly_slow(40)
@pytest.mark.parametrize(("build", "message"), cases(READ_ANYWAY))
@pytest.mark.parametrize("policy", ["error", "drop", "keep"])
def test_what_may_be_right_is_read_and_said(tmp_path, build, message, policy):
    (bars,), warnings = load_bars(settings(make(tmp_path, build), on_bad_bars=policy))
    told = " | ".join(text for text in warnings if "not adjusted" not in text or "adjusted" in (message or ""))
    if message is None:
        assert told == ""
    else:
        assert message in told
    assert np.isfinite(bars.frame.to_numpy()).all()
    assert bars.index.is_monotonic_increasing
    assert bars.index.is_unique
    prepare_dataset(settings(tmp_path, on_bad_bars=policy))


SAME_BARS = [name for name, _, message in READ_ANYWAY if message is None] + [
    "dates backwards",
    "dates in disorder",
    "semicolons",
    "tabs",
    "bars between columns",
    "semicolons and decimal commas",
    "Latin-1",
    "UTF-16",
    "UTF-16 without a mark",
    "a line before the header",
    "Excel's hint of the separator",
    "what yfinance.download writes",
]


@pytest.mark.parametrize("name", SAME_BARS)
def test_the_same_bars_in_another_form_are_the_same_bars(tmp_path, name):
    (build,) = [build for each, build, _ in READ_ANYWAY if each == name]
    (other,), _ = load_bars(settings(make(tmp_path, build)))
    (tmp_path / "plain").mkdir()
    (plain,), _ = load_bars(settings(make(tmp_path / "plain", lambda lines: lines)))
    assert other.sha256 == plain.sha256


def test_all_faults_of_all_files_are_told_together(tmp_path):
    make(tmp_path, with_field(3, 1, "abc"), "A.csv")
    make(tmp_path, with_field(3, 3, "0"), "B.csv")
    make(tmp_path, lambda lines: [*with_field(5, 5, "-1")(lines), "Total,,,,,"], "C.csv")
    make(tmp_path, lambda lines: lines, "GOOD.csv")
    (tmp_path / "D.csv").mkdir()
    with pytest.raises(BadBarsError) as caught:
        load_bars(settings(tmp_path))
    head, *lines = str(caught.value).splitlines()
    assert head == "5 faults in the bars:"
    assert [line.split()[0] for line in lines] == ["A", "B", "C", "C", "D"]
    assert "is no file; move it away" in lines[-1]
    assert [bars.symbol for bars in caught.value.bars] == ["GOOD"]


def test_a_long_list_of_faults_is_cut_and_says_how_many_there_are(tmp_path):
    for number in range(MOST_LINES + 5):
        make(tmp_path, with_field(3, 1, "abc"), f"S{number:02d}.csv")
    with pytest.raises(BadBarsError) as caught:
        load_bars(settings(tmp_path))
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{MOST_LINES + 5} faults in the bars:"
    assert lines[-1].strip() == "… and 5 more"
    assert len(lines) == MOST_LINES + 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PAR1 broken", "can't be read as Parquet: "),
        (b"", "is empty; give a file with at least one bar"),
        (
            parquet(pd.DataFrame({"date": ["2015-01-05"], "price": [1.0]})),
            "misses the column open, high, low, close, volume",
        ),
        (parquet(pd.DataFrame({name: [] for name in ("date", *COLUMNS)})), "has no rows of bars"),
    ],
)
def test_faulty_parquet_files_are_named(tmp_path, content, message):
    (tmp_path / "P.parquet").write_bytes(content)
    with pytest.raises(BadBarsError, match=message) as caught:
        load_bars(settings(tmp_path, on_bad_bars="drop"))
    assert len(str(caught.value).splitlines()) == 1


def test_too_few_bars_say_how_many_are_needed(tmp_path):
    make(tmp_path, lambda lines: lines[:40])
    with pytest.raises(DataError, match=r"too few bars for a single window: lookback 10, .* need \d+ bars .*: X 39;"):
        prepare_dataset(settings(tmp_path))


# ---------------------------------------------------------------------- rules, one by one


def frame(bars=60, **columns):
    days = pd.bdate_range("2015-01-05", periods=bars)
    close = 50 + np.sin(np.arange(bars))
    return pd.DataFrame(
        {"date": days, "open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 10.0} | columns
    )


def rules(raw, **options):
    return {problem.rule: problem for problem in normalise_bars("ABC", raw, "x", **options).problems}


@pytest.mark.parametrize("ratio", SPLITS)
@pytest.mark.parametrize("up", [False, True], ids=["split", "reverse split"])
def test_an_unadjusted_split_is_warned_of_and_an_adjusted_one_is_not(ratio, up):
    factor = np.where(np.arange(60) < 30, 1.0, ratio if up else 1 / ratio)
    raw = frame()
    for name in ("open", "high", "low", "close"):
        raw[name] *= factor
    problem = rules(raw)["split_jump"]
    assert problem.first == str(raw["date"][30].date())
    sides = "3:2" if ratio == 1.5 else f"{ratio:g}:1"
    assert problem.value == (":".join(reversed(sides.split(":"))) if up else sides)
    assert problem.count == 1
    assert "split_jump" not in rules(raw.assign(adj_close=raw["close"] / factor))


def test_a_crash_within_the_day_or_of_another_size_is_no_split():
    raw = frame()
    raw.loc[30:, ["open", "high", "low", "close"]] *= 0.8
    assert "split_jump" not in rules(raw)
    raw = frame()
    raw.loc[31:, ["open", "high", "low", "close"]] *= 0.5
    raw.loc[30, ["low", "close"]] *= 0.5  # opened where it was
    assert "split_jump" not in rules(raw)


def test_a_split_that_the_adjusted_close_forgets_is_warned_of():
    raw = frame()
    raw.loc[30:, ["open", "high", "low", "close"]] /= 2
    assert rules(raw.assign(adj_close=raw["close"]))["split_jump"].value == "2:1"


@pytest.mark.parametrize(("equal", "stale"), [(STALE - 1, False), (STALE, True)])
def test_prices_are_stale_from_twenty_equal_bars_on(equal, stale):
    raw = frame()
    raw.loc[10 : 9 + equal, ["open", "high", "low", "close"]] = [50.0, 51.0, 49.0, 50.0]
    assert ("stale_prices" in rules(raw)) is stale


def test_a_close_that_was_rounded_apart_from_its_high_is_no_fault():
    raw = frame()
    raw["high"] = raw["close"] * (1 - 1e-7)
    assert set(rules(raw.assign(open=raw["close"] - 0.5))) == {"unadjusted"}


def test_of_copies_one_stays_and_of_bars_that_differ_none():
    raw = frame(5)
    twice = pd.concat([raw, raw.iloc[[1]], raw.iloc[[3]].assign(volume=99.0)])
    bars = normalise_bars("ABC", twice, "x", on_bad_bars="drop")
    assert bars.index.tolist() == raw["date"].drop(3).tolist()
    assert {problem.rule: problem.count for problem in bars.problems} == {"copy": 1, "duplicate": 2, "unadjusted": 1}


def test_a_daily_file_with_a_copied_row_stays_daily():
    raw = frame(5)
    raw["date"] += pd.Timedelta(hours=16)
    bars = normalise_bars("ABC", pd.concat([raw, raw.iloc[[1]]]), "x", on_bad_bars="drop")
    assert (bars.index == bars.index.normalize()).all()


def test_the_hour_that_comes_twice_when_summer_time_ends_is_explained():
    stamps = pd.date_range("2015-10-24 20:00", periods=30, freq="h", tz="Europe/Berlin")
    raw = frame(30).assign(date=stamps.tz_localize(None))
    with pytest.raises(BadBarsError, match=r"summer time ends, write dates in UTC"):
        normalise_bars("ABC", raw, "x")
    assert len(normalise_bars("ABC", raw.assign(date=stamps.map(str)), "x").frame) == 30


def test_an_unclear_order_of_day_and_month_is_warned_of_and_a_proven_one_is_not():
    unclear = frame(5).assign(date=[f"{month}/1/2015" for month in range(1, 6)])
    assert "no day above 12 proves it" in rules(unclear)["date_order"].text()
    proven = frame(5).assign(date=[f"{month}/13/2015" for month in range(1, 6)])
    assert "date_order" not in rules(proven)


def test_intraday_bars_need_no_adjusted_close():
    raw = frame().assign(date=pd.date_range("2015-01-05 09:00", periods=60, freq="15min"))
    assert rules(raw) == {}


@pytest.mark.parametrize(
    ("freq", "name"),
    [
        ("B", "daily"),
        ("D", "daily"),
        ("W", "weekly"),
        ("MS", "monthly"),
        ("QS", "quarterly"),
        ("h", "hourly"),
        ("4h", "every 4 hours"),
        ("15min", "every 15 minutes"),
        ("min", "every minute"),
        ("30s", "every 30 seconds"),
    ],
)
def test_frequencies_have_names(freq, name):
    assert frequency(pd.date_range("2015-01-05", periods=100, freq=freq)) == name
    assert frequency(pd.date_range("2015-01-05", periods=1, freq=freq)) == "a single bar"


def test_short_trading_days_are_no_mixed_frequency():
    days = pd.bdate_range("2015-01-05", periods=30)
    stamps = [day + pd.Timedelta(hours=9.5 + hour) for day in days for hour in range(7 if day.day % 9 else 4)]
    assert rules(frame(len(stamps)).assign(date=stamps)) == {}


# ---------------------------------------------------------------------- columns of one's own


def with_mood(values):
    return frame().assign(**{" News  MOOD ": values})


def test_own_columns_are_read_whatever_their_case_and_follow_the_five():
    mood = np.linspace(-1, 1, 60)
    bars = normalise_bars("ABC", with_mood(mood.astype(str)), "x", columns=("news mood",))
    assert tuple(bars.frame.columns) == (*COLUMNS, "news mood")
    assert bars.frame["news mood"].tolist() == pytest.approx(mood.tolist())
    assert bars.frame.dtypes.unique().tolist() == [np.dtype("float64")]
    plain = normalise_bars("ABC", with_mood(mood), "x")
    other = normalise_bars("ABC", with_mood(mood + 1), "x", columns=("news mood",))
    assert len({plain.sha256, bars.sha256, other.sha256}) == 3


def test_own_columns_are_not_adjusted():
    raw = with_mood(np.ones(60)).assign(adj_close=25.0)
    assert (normalise_bars("ABC", raw, "x", columns=("news mood",)).frame["news mood"] == 1).all()


def test_missing_values_of_own_columns_are_counted_and_stay_missing():
    mood = np.where(np.arange(60) < 7, np.nan, 1.0)
    bars = normalise_bars("ABC", with_mood(mood), "x", columns=("news mood",))
    assert bars.frame["news mood"].isna().sum() == 7
    (problem,) = [each for each in bars.problems if each.rule == "own_missing"]
    assert problem.text().endswith(
        "news mood is missing in 7 bars, the first 2015-01-05; windows with such a bar are left out"
    )


@pytest.mark.parametrize(
    ("columns", "values", "message"),
    [
        (
            ("sentiment",),
            1.0,
            r"misses the column sentiment of data\.feature_columns \(it has: date, .*MOOD\); name columns that",
        ),
        (("news mood", "News_Mood"), 1.0, r"columns News_Mood, news mood of data\.feature_columns are twice there"),
        (("Close",), 1.0, r"data\.feature_columns names Close, of which features are made anyway"),
        (("date",), 1.0, r"data\.feature_columns names date, of which"),
        (("news mood",), np.nan, r"the column news mood of data\.feature_columns holds no number"),
        (("news mood",), np.inf, r"news mood must be finite, but row 1 \(2015-01-05\) has inf \(60 such rows\)"),
        (("news mood",), "good", r"news mood must hold numbers, not text, but row 1 \(2015-01-05\) has 'good'"),
    ],
)
def test_faults_of_own_columns_are_named(columns, values, message):
    with pytest.raises(BadBarsError, match=r"^ABC \(x\): " + message):
        normalise_bars("ABC", with_mood(values), "x", columns=columns)


def test_own_columns_are_for_files_only():
    with pytest.raises(
        DataError, match=r"data\.feature_columns \(mood\) are columns of your own files, but the source is embedded"
    ):
        load_bars(DataSettings(source="embedded", feature_columns=("mood",)))
