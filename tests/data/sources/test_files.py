"""The folder of a user's files, and what every source keeps to."""

from dataclasses import fields
from datetime import date
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from builders.frames import PRICES, random_frame
from cnn_lstm_hyperopt.config.schema.data import DataSettings, SourceName
from cnn_lstm_hyperopt.data.bars import COLUMNS
from cnn_lstm_hyperopt.data.problems import BadBarsError
from cnn_lstm_hyperopt.data.sources import SOURCES, open_source
from cnn_lstm_hyperopt.data.sources.files import FileSource
from cnn_lstm_hyperopt.errors import DataError


@pytest.fixture
def folder(tmp_path):
    random_frame(50).reset_index().to_csv(tmp_path / "aaa.csv", index=False)
    random_frame(30, 1, "2011-01-03").to_parquet(tmp_path / "BBB.parquet")
    (tmp_path / "notes.txt").write_text("not bars")
    (tmp_path / ".hidden.csv").write_text("not bars")
    return tmp_path


def error_of(folder, symbols=(), start=None, end=None):
    with pytest.raises(DataError) as caught:
        FileSource(folder).load(symbols, start, end)
    assert str(caught.value).isprintable()
    return caught.value.field, caught.value.code, str(caught.value)


def test_csv_and_parquet_of_all_symbols_are_read(folder):
    bars, warnings = FileSource(folder).load([], None, None)
    assert [each.symbol for each in bars] == ["BBB", "aaa"]
    assert warnings == []
    pd.testing.assert_frame_equal(bars[0].frame, random_frame(30, 1, "2011-01-03"), check_freq=False)
    np.testing.assert_allclose(bars[1].frame, random_frame(50))
    bars, _ = FileSource(folder).load(["AAA", "bbb"], None, None)
    assert [each.symbol for each in bars] == ["aaa", "BBB"]
    spans = {"BBB": (date(2011, 1, 3), date(2011, 2, 11)), "aaa": (date(2010, 1, 4), date(2010, 3, 12))}
    assert FileSource(folder).available() == spans


def test_start_and_end_are_inclusive_also_for_intraday_bars(tmp_path):
    random_frame(100, start="2020-01-01", step="h").to_csv(tmp_path / "X.csv")
    (bars,), _ = FileSource(tmp_path).load(["X"], date(2020, 1, 2), date(2020, 1, 3))
    assert (str(bars.index[0]), str(bars.index[-1])) == ("2020-01-02 00:00:00", "2020-01-03 23:00:00")


def test_an_unknown_symbol_lists_what_is_available_and_names_unreadable_files(folder):
    (folder / "ZZZ.csv").write_text("date,open\n1,2\n")
    field, code, text = error_of(folder, ["CCC", "aaa", "DDD"])
    assert (field, code) == ("data.symbols", "unknown-symbol")
    assert all(each in text for each in ("CCC, DDD", "BBB 2011-01-03", "aaa 2010-01-04 to 2010-03-12", "ZZZ.csv"))
    assert len(error_of(folder, [f"S{number}" for number in range(1_000)])[2]) < 400


def test_a_range_without_bars_is_an_error_that_names_the_bars_around_it(folder, tmp_path):
    field, code, text = error_of(folder, ["BBB"], date(2012, 1, 1))
    assert (field, code) == ("BBB", "no-bars-in-range")
    assert "BBB 2011-01-03 to 2011-02-11" in text
    assert error_of(folder, end=date(2001, 1, 1))[:2] == ("", "no-bars-in-range")
    random_frame(50, holes=(25,)).to_csv(tmp_path / "X.csv")
    _, code, text = error_of(tmp_path, ["X"], date(2010, 2, 10), date(2010, 3, 1))
    assert code == "no-bars-in-range"
    assert all(each in text for each in ("2010-02-05", "2010-03-22", "X 2010-01-04 to"))


def test_a_symbol_without_bars_or_with_part_of_the_range_is_a_warning(folder):
    bars, (warning,) = FileSource(folder).load([], date(2011, 1, 1), None)
    assert [each.symbol for each in bars] == ["BBB"]
    assert warning.startswith("aaa ")
    _, (warning,) = FileSource(folder).load(["BBB"], date(2010, 6, 1), date(2011, 1, 31))
    dates = {each.strip(",") for each in warning.split() if each[0].isdigit()}
    assert dates == {"2010-06-01", "2011-01-03", "2011-01-31"}


def test_errors_of_the_folder(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    codes = {"none": "data-dir-missing", "notes.txt": "data-dir-not-directory", "empty": "data-dir-empty"}
    for name, code in {**codes, "x" * 5_000: "data-dir-unreadable"}.items():
        assert error_of(folder / name)[:2] == ("data.data_dir", code)
    (folder / "AAA.parquet").write_bytes(b"")
    assert error_of(folder)[:2] == ("data.data_dir", "two-files-for-symbol")


def test_a_source_is_opened_by_name_or_by_its_folder(tmp_path):
    assert set(SOURCES) == set(get_args(SourceName)) - {"loaders"} >= {"synthetic", "embedded", "files", "yahoo"}
    assert open_source(DataSettings(data_dir=tmp_path)) == FileSource(tmp_path)
    assert open_source(DataSettings()).name == "synthetic"
    with pytest.raises(DataError) as caught:
        open_source(DataSettings(source="loaders"))
    assert (caught.value.field, caught.value.code) == ("data.source", "source-needs-python")


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_keeps_the_contract(name, tmp_path):
    """It names and describes itself, reads settings of data alone, and its bars are normalised ones in a range of dates."""
    random_frame(400).to_csv(tmp_path / "X.csv")
    source = open_source(DataSettings(source=name, data_dir=tmp_path if name == "files" else None))
    assert source.name == name
    assert {field.name for field in fields(source)} <= set(DataSettings.model_fields)
    assert source.description
    assert source.survivorship
    assert (source.best_accuracy("direction", 1) is None) == (name != "synthetic")
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
    asked = (["NO-SUCH"], None, None), ([symbol], date(1900, 1, 1), date(1900, 12, 31)), ([symbol] * 2, None, None)
    for arguments, code in zip(asked, ("unknown-symbol", "no-bars-in-range", "duplicate-symbol"), strict=True):
        with pytest.raises(DataError, match=symbol) as caught:
            source.load(*arguments)
        assert caught.value.code == code


SPAN = date(2010, 2, 1), date(2010, 4, 30)


def changed(column, value):
    return lambda raw, row: raw.assign(**{column: raw[column].astype(object).where(raw.index != row, value)})


def jump(raw, row):
    factor = np.where((raw.index < row) if row < 60 else (raw.index >= row), 10.0, 1.0)
    return raw.assign(**{name: raw[name] * factor for name in PRICES})


BROKEN = {
    "high below low": changed("high", 0.001),
    "a price of 0": changed("close", 0.0),
    "text": changed("open", "closed"),
    "nothing": changed("volume", None),
    "a date twice": lambda raw, row: pd.concat([raw, raw.loc[[row]].assign(volume=5.0)]),
    "a jump": jump,
    "no volume": changed("volume", 0.0),
}


@pytest.fixture
def raw():
    return random_frame(120).reset_index()


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("row", [3, 115])
def test_invalid_rows_outside_the_dates_are_ignored(tmp_path, raw, broken, row):
    raw.to_csv(tmp_path / "A.csv", index=False)
    (sound,), _ = FileSource(tmp_path).load(["A"], *SPAN)
    BROKEN[broken](raw, row).to_csv(tmp_path / "A.csv", index=False)
    (bars,), warnings = FileSource(tmp_path).load(["A"], *SPAN)
    pd.testing.assert_frame_equal(bars.frame, sound.frame)
    assert (bars.problems, warnings) == (sound.problems, [])


@pytest.mark.parametrize("broken", [*BROKEN][:5])
def test_invalid_rows_inside_the_dates_have_their_number_in_the_file(tmp_path, raw, broken):
    BROKEN[broken](raw, 50).to_csv(tmp_path / "A.csv", index=False)
    with pytest.raises(BadBarsError) as caught:
        FileSource(tmp_path).load(["A"], *SPAN)
    assert (caught.value.problems[0].row, caught.value.problems[0].first) == (51, "2010-03-15")


def test_an_unreadable_date_counts_as_inside(tmp_path, raw):
    changed("date", "soon")(raw, 3).to_csv(tmp_path / "A.csv", index=False)
    assert error_of(tmp_path, ["A"], *SPAN)[:2] == ("A", "date")
    (bars,), _ = FileSource(tmp_path, "drop").load(["A"], *SPAN)
    assert len(bars.frame) == 65
