"""The wording of the messages about bars and data sets that users meet most."""

from datetime import date

import pytest
import torch

from builders.frames import csv_lines, random_frame, with_cell, with_column, write
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
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


def batch(x=(12, 5, 3), classes=2):
    return torch.rand(x, generator=torch.Generator().manual_seed(x[0])), torch.arange(x[0]) % classes


TRAIN, OTHERS = batch(), [[batch((6, 5, 3))], [batch((7, 5, 3))]]
LOADER_MESSAGES = {
    "a shape": (
        [[(TRAIN[0][0], TRAIN[1])], *OTHERS],
        "x in batch 0 of the train loader must be a float tensor (batch, time, features), but is torch.float32 (5, 3)",
    ),
    "labels": (
        [[(TRAIN[0], TRAIN[1].float())], *OTHERS],
        "y_class in batch 0 of the train loader must be an integer tensor (12,), but is torch.float32 (12,); give y_class.long()",
    ),
    "a class": (
        [[batch(classes=2)], [batch((6, 5, 3), classes=3)], OTHERS[1]],
        "the train loader lacks the classes [2] of 0..2; a model can't learn a class that it never sees; split again"
        " (stratified) or number the classes without gaps",
    ),
    "NaN": (
        [[(TRAIN[0] / 0 * 0, TRAIN[1])], *OTHERS],
        "x in batch 0 of the train loader has NaN or infinite values; remove or fill these windows",
    ),
    "two loaders": ([[TRAIN]] * 2, "data_loaders must be (train, validation, test), but there are 2"),
}


@pytest.mark.wording
def test_messages_about_loaders():
    found = {}
    for name, (loaders, _) in LOADER_MESSAGES.items():
        with pytest.raises(DataError) as caught:
            dataset_from_loaders(loaders, None)
        found[name] = str(caught.value)
    assert found == {name: message for name, (_, message) in LOADER_MESSAGES.items()}


DATASET_MESSAGES = {
    "few bars": (
        {"lookback": 60, "bars": 93},
        "too few bars for a single window: lookback 60, horizon 1 and target direction need 94 bars of a symbol without a hole of"
        " more than 10 days, but there are: A 93; give more bars or a shorter lookback",
    ),
    "folds": (
        {"cv_folds": 12},
        "cv_folds=12 are too many: each holds out 54 windows (validation's share in data.split), and the 254 before validation"
        " are too few for the first fold to have something to train on; take at most 5 cv_folds, a smaller share for validation,"
        " or more bars",
    ),
    "a class": (
        {"direction_classes": 3, "dead_zone_atr": 50.0},
        "all 253 training windows are of class 'flat', but a model needs at least two classes; give more or longer bars, or"
        " another target",
    ),
    "a leak": (
        {"feature_columns": ("mood",)},
        "A: the feature mood seems to contain bars after its own (t), above all the close of bar t+1 (correlation 1.00): they"
        " explain 100 % of its new information; shift the column by one bar if it is known only afterwards, else leave it out",
    ),
}


@pytest.mark.wording
def test_messages_about_data_sets(tmp_path):
    found = {}
    for name, (settings, _) in DATASET_MESSAGES.items():
        frame = random_frame(settings.pop("bars", 400))
        frame.assign(mood=frame["close"].shift(-1)).to_csv(tmp_path / "A.csv")
        with pytest.raises(DataError) as caught:
            prepare_dataset(DataSettings(**{"data_dir": tmp_path, "lookback": 5, **settings}))
        found[name] = str(caught.value)
    assert found == {name: message for name, (_, message) in DATASET_MESSAGES.items()}
