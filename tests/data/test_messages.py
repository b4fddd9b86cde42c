"""The wording of the messages about files of bars that users meet most."""

import pytest

from builders.frames import csv_lines, random_frame, with_cell, write
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.errors import DataError

pytestmark = pytest.mark.wording
LINES, FRAME = csv_lines(150), random_frame(400)
PLACE, DROP = "X (FOLDER/X.csv): ", " (or --on-bad-bars drop)"
MESSAGES = [  # content of a file, settings, message
    (
        with_cell(LINES, 3, "open", "abc"),
        {},
        f"{PLACE}open must hold numbers, not text, but row 3 (2015-01-07) has 'abc' (1 such row); write plain numbers such as"
        f" 1234.5, without currency signs, units and thousands separators{DROP}",
    ),
    (
        [line.rsplit(",", 1)[0] for line in LINES],
        {},
        f"{PLACE}has no column volume (it has: date, open, high, low, close); add a column volume, of zeros if unknown",
    ),
    (b"PK\x03\x04", {}, f"{PLACE}is an Excel file (or another archive), not CSV; save it as CSV UTF-8"),
    (
        FRAME[:93].to_csv().encode(),
        {"lookback": 60},
        "too few bars for a single window: lookback 60, horizon 1 and target direction need 94 bars of a symbol without a hole of"
        " more than 10 days, but there are: X 93; give more bars or a shorter lookback",
    ),
]


@pytest.mark.parametrize(("content", "settings", "message"), MESSAGES)
def test_messages_about_files(tmp_path, content, settings, message):
    with pytest.raises(DataError) as caught:
        prepare_dataset(DataSettings(**{"data_dir": write(tmp_path, content), "lookback": 5, **settings}))
    assert str(caught.value).replace(str(tmp_path), "FOLDER") == message
