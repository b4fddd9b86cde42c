"""The folder of a user's files."""

from dataclasses import fields
from datetime import date
from typing import ClassVar, get_args

import numpy as np
import pandas as pd
import pytest

from cnn_lstm_hyperopt.config.schema.data import DataSettings, SourceName
from cnn_lstm_hyperopt.data.bars import COLUMNS
from cnn_lstm_hyperopt.data.problems import BadBarsError
from cnn_lstm_hyperopt.data.sources import SOURCES, open_source
from cnn_lstm_hyperopt.data.sources.files import FileSource
from cnn_lstm_hyperopt.errors import DataError


@pytest.fixture
def folder(tmp_path, make_frame):
    make_frame(50).reset_index().to_csv(tmp_path / "aaa.csv", index=False)
    make_frame(30, 1, "2011-01-03").to_parquet(tmp_path / "BBB.parquet")
    (tmp_path / "notes.txt").write_text("not bars")
    (tmp_path / ".hidden.csv").write_text("not bars")
    return tmp_path


def test_loads_csv_and_parquet_of_all_symbols(folder, make_frame):
    bars, warnings = FileSource(folder).load([], None, None)
    assert [each.symbol for each in bars] == ["BBB", "aaa"]
    assert warnings == []
    pd.testing.assert_frame_equal(bars[0].frame, make_frame(30, 1, "2011-01-03"), check_freq=False)
    np.testing.assert_allclose(bars[1].frame, make_frame(50))


def test_symbols_match_in_any_case_and_keep_the_order_asked_for(folder):
    bars, _ = FileSource(folder).load(["AAA", "bbb"], None, None)
    assert [each.symbol for each in bars] == ["aaa", "BBB"]


def test_available_says_first_and_last_date(folder):
    assert FileSource(folder).available() == {
        "BBB": (date(2011, 1, 3), date(2011, 2, 11)),
        "aaa": (date(2010, 1, 4), date(2010, 3, 12)),
    }


def test_start_and_end_are_inclusive_also_for_intraday_bars(tmp_path, make_frame):
    stamps = pd.date_range("2020-01-01", periods=100, freq="h", name="datetime")
    make_frame(100).set_axis(stamps, axis=0).to_csv(tmp_path / "X.csv")
    bars, _ = FileSource(tmp_path).load(["X"], date(2020, 1, 2), date(2020, 1, 3))
    assert (str(bars[0].index[0]), str(bars[0].index[-1])) == ("2020-01-02 00:00:00", "2020-01-03 23:00:00")


def test_an_unknown_symbol_lists_what_there_is(folder):
    message = r"has no file for CCC, DDD; there are: BBB 2011-01-03 to 2011-02-11, aaa 2010-01-04 to 2010-03-12$"
    with pytest.raises(DataError, match=message):
        FileSource(folder).load(["CCC", "aaa", "DDD"], None, None)


def test_an_unknown_symbol_is_the_error_even_if_another_file_is_broken(folder):
    (folder / "ZZZ.csv").write_text("date,open\n1,2\n")
    with pytest.raises(DataError, match=r"no file for CCC; there are: .*, ZZZ\.csv \(unreadable\)$"):
        FileSource(folder).load(["CCC"], None, None)


def test_a_range_without_bars_lists_what_there_is(folder):
    message = r"BBB has no bars from 2012-01-01 to the last bar; there are: BBB 2011-01-03 to 2011-02-11$"
    with pytest.raises(DataError, match=message):
        FileSource(folder).load(["BBB"], date(2012, 1, 1), None)
    with pytest.raises(DataError, match=r"no symbol has bars from the first bar to 2001-01-01; there are: BBB"):
        FileSource(folder).load([], None, date(2001, 1, 1))


def test_a_range_inside_a_hole_names_the_bars_around_it(tmp_path, make_frame):
    make_frame(50, holes=(25,)).to_csv(tmp_path / "X.csv")
    with pytest.raises(DataError, match=r"X has no bars .* \(none between 2010-02-05 and 2010-03-22\)"):
        FileSource(tmp_path).load(["X"], date(2010, 2, 10), date(2010, 3, 1))


def test_symbols_that_came_with_all_and_have_no_bar_in_the_range_are_left_out_with_a_warning(folder):
    bars, warnings = FileSource(folder).load([], date(2011, 1, 1), None)
    assert [each.symbol for each in bars] == ["BBB"]
    assert warnings == ["aaa is left out: it has no bars from 2011-01-01 to the last bar"]


def test_bars_that_cover_only_part_of_the_range_are_warned_of(folder):
    _, warnings = FileSource(folder).load(["BBB"], date(2010, 6, 1), date(2011, 1, 31))
    assert warnings == [
        "BBB was asked for from 2010-06-01 to 2011-01-31, but has bars from 2011-01-03 to 2011-01-31 only"
    ]


def test_two_files_of_one_symbol_are_an_error(folder):
    (folder / "AAA.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"two files for aaa: AAA\.parquet and aaa\.csv; remove one"):
        FileSource(folder).load(["BBB"], None, None)


def test_a_symbol_named_twice_is_an_error(folder):
    with pytest.raises(DataError, match="symbols names AAA twice"):
        FileSource(folder).load(["aaa", "AAA"], None, None)


def test_missing_wrong_and_empty_folders_say_the_cure(tmp_path):
    with pytest.raises(
        DataError, match=r"does not exist; give --data-dir a folder with SYMBOL\.csv or SYMBOL\.parquet"
    ):
        FileSource(tmp_path / "none").available()
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(DataError, match=r"is no folder; give --data-dir"):
        FileSource(tmp_path / "x.txt").available()
    with pytest.raises(DataError, match=r"holds no bars; put SYMBOL\.csv or SYMBOL\.parquet into it"):
        FileSource(tmp_path).available()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("E.csv", b"", r"E \(.*E\.csv\): is empty; give a file with a header"),
        ("E.csv", b"date,open,high,low,close,volume\n", r"has no rows of bars"),
        (
            "E.csv",
            b"date,open,high,low,close,volume\n2020-01-01,1,2,1,2,3,\n",
            r"every line must have 6 fields, as the header has, but line 2 has 7: '2020-01-01,1,2,1,2,3,' \(1 such line\);",
        ),
        ("E.csv", b"date open\n2020-01-01 1\n", r"has one column only: 'date open'; separate the columns with commas"),
        ("E.csv", b"date,open\n\x00\x01,\x02\n", r"is no text; export it again as CSV UTF-8"),
        ("E.parquet", b"PAR1 no", r"can't be read as Parquet: .*; export it again"),
    ],
)
def test_unreadable_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        FileSource(tmp_path).load([], None, None)
    assert "\n" not in str(caught.value)


def test_a_source_is_opened_by_name_or_by_its_folder(tmp_path):
    assert set(SOURCES) == set(get_args(SourceName)) - {"loaders"} >= {"synthetic", "embedded", "files", "yahoo"}
    assert open_source(DataSettings(source="embedded")).name == "embedded"
    assert open_source(DataSettings(data_dir=tmp_path)) == FileSource(tmp_path)
    assert open_source(DataSettings(source="files", data_dir=tmp_path)).name == "files"
    assert open_source(DataSettings()).name == "synthetic"


def test_loaders_are_no_source_of_bars_and_the_error_says_where_they_go():
    with pytest.raises(DataError, match=r"^source: loaders .* in Python: .*CNNLSTMHyperparameterOptimizer\(") as caught:
        open_source(DataSettings(source="loaders"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_keeps_the_contract(name, tmp_path, make_frame):
    """It names and describes itself, reads settings of data alone, and its bars are normalised ones in a range of dates."""
    make_frame(400).to_csv(tmp_path / "X.csv")
    source = open_source(DataSettings(source=name, data_dir=tmp_path if name == "files" else None))
    assert source.name == name
    assert {field.name for field in fields(source)} <= set(DataSettings.model_fields)
    assert source.description
    assert source.survivorship
    spans = source.available()
    assert all(first <= last for first, last in spans.values())
    if not spans:  # of the network
        return
    symbol, (first, last) = next(iter(spans.items()))
    (bars,), _ = source.load([symbol.lower()], first, last)
    assert (bars.symbol, bars.index[0].date(), bars.index[-1].date()) == (symbol, first, last)
    assert list(bars.frame.columns) == list(COLUMNS)
    assert bars.frame.notna().all(axis=None)
    assert bars.index.is_monotonic_increasing
    with pytest.raises(DataError, match=symbol):
        source.load(["NO-SUCH"], None, None)
    with pytest.raises(DataError, match=symbol):
        source.load([symbol], date(1900, 1, 1), date(1900, 12, 31))


def test_of_a_users_files_nobody_knows_the_best_accuracy(tmp_path):
    assert FileSource(tmp_path).best_accuracy("direction", 1) is None


class TestFaultsOutsideTheDates:
    """Faults of rows before ``start`` and after ``end`` stop nothing and are not counted; those inside are."""

    START, END = date(2010, 2, 1), date(2010, 4, 30)
    FAULTS: ClassVar = {
        "high below low": lambda raw, row: raw.assign(high=raw["high"].where(raw.index != row, 0.001)),
        "a price of 0": lambda raw, row: raw.assign(close=raw["close"].where(raw.index != row, 0.0)),
        "text": lambda raw, row: raw.assign(open=raw["open"].astype(str).where(raw.index != row, "closed")),
        "nothing": lambda raw, row: raw.assign(volume=raw["volume"].where(raw.index != row)),
        "a date twice": lambda raw, row: pd.concat([raw, raw.loc[[row]].assign(volume=5.0)]),
        "a jump": lambda raw, row: raw.assign(
            **{
                name: raw[name] * np.where((raw.index < row) if row < 60 else (raw.index >= row), 10.0, 1.0)
                for name in ("open", "high", "low", "close")
            }
        ),
        "no volume": lambda raw, row: raw.assign(volume=raw["volume"].where(raw.index != row, 0.0)),
    }

    @pytest.fixture
    def raw(self, make_frame):
        return make_frame(120).reset_index()

    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.parametrize("row", [3, 115])
    def test_are_left_alone(self, tmp_path, raw, fault, row):
        raw.to_csv(tmp_path / "A.csv", index=False)
        (sound,), _ = FileSource(tmp_path).load(["A"], self.START, self.END)
        self.FAULTS[fault](raw, row).to_csv(tmp_path / "A.csv", index=False)
        (bars,), warnings = FileSource(tmp_path).load(["A"], self.START, self.END)
        pd.testing.assert_frame_equal(bars.frame, sound.frame)
        assert (bars.problems, warnings) == (sound.problems, [])

    @pytest.mark.parametrize("fault", [name for name in FAULTS if name not in ("a jump", "no volume")])
    def test_inside_them_are_told_with_the_row_of_the_file(self, tmp_path, raw, fault):
        self.FAULTS[fault](raw, 50).to_csv(tmp_path / "A.csv", index=False)
        with pytest.raises(BadBarsError, match=r"row 51 \(2010-03-15\)"):
            FileSource(tmp_path).load(["A"], self.START, self.END)

    def test_a_date_that_can_not_be_read_may_be_inside(self, tmp_path, raw):
        raw.assign(date=raw["date"].astype(str).where(raw.index != 3, "soon")).to_csv(tmp_path / "A.csv", index=False)
        with pytest.raises(BadBarsError, match=r"date must be a date in every row, but row 4 has 'soon'"):
            FileSource(tmp_path).load(["A"], self.START, self.END)
        (bars,), _ = FileSource(tmp_path, "drop").load(["A"], self.START, self.END)
        assert len(bars.frame) == 65

    def test_without_a_row_inside_the_error_lists_all_that_there_is(self, tmp_path, raw):
        raw.drop(index=range(30, 60)).to_csv(tmp_path / "A.csv", index=False)
        asked = date(2010, 2, 22), date(2010, 3, 5)
        line = r"A has no bars .* \(none between 2010-02-12 and 2010-03-29\); there are: A 2010-01-04 to 2010-06-18"
        with pytest.raises(DataError, match=line):
            FileSource(tmp_path).load(["A"], *asked)
        raw.to_csv(tmp_path / "B.csv", index=False)
        bars, warnings = FileSource(tmp_path).load([], *asked)
        assert [each.symbol for each in bars] == ["B"]
        assert warnings == [
            "A is left out: it has no bars from 2010-02-22 to 2010-03-05 (none between 2010-02-12 and 2010-03-29)"
        ]
