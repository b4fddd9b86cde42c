"""The wording of the messages about bars and data sets that users meet most."""

import pytest
import torch

from builders.frames import csv_lines, random_frame, with_cell, write
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.errors import DataError

pytestmark = pytest.mark.wording
LINES, FRAME = csv_lines(150), random_frame(400)
LEAK = FRAME.assign(mood=FRAME["close"].shift(-1)).to_csv().encode()
PLACE, DROP = "X (FOLDER/X.csv): ", " (or --on-bad-bars drop)"
MESSAGES = [  # content of a file, settings, message
    (
        with_cell(LINES, 3, "open", "abc"),
        {},
        f"{PLACE}open must hold numbers, not text, but row 3 (2015-01-07) has 'abc' (1 such row); write plain numbers such as"
        f" 1234.5, without currency signs, units and thousands separators{DROP}",
    ),
    (
        with_cell(LINES, 3, "date", "soon"),
        {},
        f"{PLACE}date must be a date in every row, but row 3 has 'soon' (1 such row); write dates as 2015-04-01 or"
        f" 2015-04-01 09:30:00; 4/1/2015 is read as month/day/year{DROP}",
    ),
    (
        [line.rsplit(",", 1)[0] for line in LINES],
        {},
        f"{PLACE}has no column volume (it has: date, open, high, low, close); rename the columns",
    ),
    (b"PK\x03\x04", {}, f"{PLACE}is an Excel file (or another archive), not CSV; save it as CSV UTF-8"),
    (
        FRAME[:93].to_csv().encode(),
        {"lookback": 60},
        "too few bars for a single window: lookback 60, horizon 1 and target direction need 94 bars of a symbol without a hole of"
        " more than 10 days, but there are: X 93; give more bars or a shorter lookback",
    ),
    (
        LEAK,
        {"feature_columns": ("mood",)},
        "X: the feature mood seems to contain bars after its own (t), above all the close of bar t+1 (correlation 1.00): they"
        " explain 100 % of its new information; shift the column by one bar if it is known only afterwards, else leave it out",
    ),
]


@pytest.mark.parametrize(("content", "settings", "message"), MESSAGES)
def test_messages_about_files(tmp_path, content, settings, message):
    with pytest.raises(DataError) as caught:
        prepare_dataset(DataSettings(**{"data_dir": write(tmp_path, content), "lookback": 5, **settings}))
    assert str(caught.value).replace(str(tmp_path), "FOLDER") == message


def batch(windows, classes=2):
    generator = torch.Generator().manual_seed(windows)
    return torch.rand((windows, 5, 3), generator=generator), torch.arange(windows) % classes


LOADER_MESSAGES = [  # training batch, message
    (
        (batch(12)[0][0], batch(12)[1]),
        "x in batch 0 of the train loader must be a float tensor (batch, time, features), but is torch.float32 (5, 3)",
    ),
    (
        batch(12),
        "the train loader lacks the classes [2] of 0..2; a model can't learn a class that it never sees; split again"
        " (stratified) or number the classes without gaps",
    ),
]


@pytest.mark.parametrize(("train", "message"), LOADER_MESSAGES)
def test_messages_about_loaders(train, message):
    with pytest.raises(DataError) as caught:
        dataset_from_loaders([[train], [batch(6, classes=3)], [batch(7)]], None)
    assert str(caught.value) == message
