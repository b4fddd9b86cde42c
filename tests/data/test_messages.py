"""The wording of the messages about bars that users meet most."""

from datetime import date

import pytest

from builders.frames import csv_lines, with_cell, with_column, write
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.sources import load_bars
from cnn_lstm_hyperopt.errors import DataError

LINES = csv_lines(150)
PLACE = "X (FOLDER/X.csv): "
DROP = " (or --on-bad-bars drop)"
DAY_NUMBER = with_column(LINES, "date", lambda _: "42009")
MESSAGES = {
    "a text": (
        with_cell(LINES, 3, "open", "abc"),
        {},
        f"{PLACE}open must hold numbers, not text, but row 3 (2015-01-07) has 'abc' (1 such row); write plain numbers such as"
        f" 1234.5, without currency signs, units and thousands separators{DROP}",
    ),
    "a date": (
        with_cell(LINES, 3, "date", "soon"),
        {},
        f"{PLACE}date must be a date in every row, but row 3 has 'soon' (1 such row); write dates as 2015-04-01 or"
        f" 2015-04-01 09:30:00; 4/1/2015 is read as month/day/year{DROP}",
    ),
    "day numbers": (
        DAY_NUMBER,
        {},
        f"{PLACE}date must be a date in every row, but row 1 has '42009' (150 such rows); these look like Excel's day numbers:"
        f" format the column as a date, export it again{DROP}",
    ),
    "a price": (
        with_cell(LINES, 3, "low", "0"),
        {},
        f"{PLACE}low must be above 0, but row 3 (2015-01-07) has 0 (1 such row); correct or remove these rows{DROP}",
    ),
    "keep": (
        with_cell(LINES, 3, "low", "0"),
        {"on_bad_bars": "keep"},
        f"{PLACE}low must be above 0, but row 3 (2015-01-07) has 0 (1 such row); correct or remove these rows (or --on-bad-bars"
        " drop; keep is not possible, because nothing can be computed from them)",
    ),
    "a column": (
        [line.rsplit(",", 1)[0] for line in LINES],
        {},
        f"{PLACE}has no column volume (it has: date, open, high, low, close); rename the columns",
    ),
    "a feature column": (
        LINES,
        {"feature_columns": ("volum",)},
        f"{PLACE}has no column volum of data.feature_columns (it has: date, open, high, low, close, volume); name columns"
        " that every file has; did you mean volume?",
    ),
    "another kind": (b"PK\x03\x04", {}, f"{PLACE}is an Excel file (or another archive), not CSV; save it as CSV UTF-8"),
    "a symbol": (
        LINES,
        {"symbols": ("X.csv",)},
        "data_dir FOLDER has no file for X.csv; did you mean X? Available: X 2015-01-05 to 2015-07-31",
    ),
    "a range": (
        LINES,
        {"symbols": ("X",), "start": date(2016, 1, 1)},
        "X has no bars from 2016-01-01 to the last bar; available: X 2015-01-05 to 2015-07-31",
    ),
}


@pytest.mark.wording
def test_messages(tmp_path):
    found = {}
    for name, (content, settings, _) in MESSAGES.items():
        with pytest.raises(DataError) as caught:
            load_bars(DataSettings(data_dir=write(tmp_path, content), **settings))
        found[name] = str(caught.value).replace(str(tmp_path), "FOLDER")
    assert found == {name: message for name, (_, _, message) in MESSAGES.items()}
