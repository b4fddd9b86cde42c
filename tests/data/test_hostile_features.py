"""Feature functions that end the process, return nonsense or raise what Python code does not expect."""

import pytest

from builders.frames import csv_lines, write
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.errors import DataError

IMPORTS = """import asyncio
import sys

import pandas as pd


class Mute(Exception):
    def __str__(self):
        raise RuntimeError


class Base(BaseException):
    pass
"""
CASES = {  # name: source, field, code
    "leaves": ("def more(frame):\n    sys.exit(3)", "data.features", "function-raises"),
    "shouts": ('def more(frame):\n    raise ValueError("no\\n" * 5000)', "data.features", "function-raises"),
    "mute": ("def more(frame):\n    raise Mute", "data.features", "function-raises"),
    "cancelled": ('def more(frame):\n    raise asyncio.CancelledError("late")', "data.features", "function-raises"),
    "closed": ("def more(frame):\n    raise GeneratorExit", "data.features", "function-raises"),
    "base": ('def more(frame):\n    raise Base("boo")', "data.features", "function-raises"),
    "later": ("async def more(frame):\n    return frame", "data.features", "not-a-frame"),
    "huge": ('def more(frame):\n    return pd.DataFrame({"mood": frame["close"] * 1e300})', "mood", "too-large"),
    "odd": (
        'def more(frame):\n    return pd.DataFrame({"mood\\x1b[31m": frame["close"]})',
        "data.features",
        "name-not-printable",
    ),
    "many": (
        'def more(frame):\n    return pd.DataFrame({f"mood {n}": frame["close"] for n in range(1001)})',
        "data.features",
        "too-many-columns",
    ),
    "leaves_at_once": ("sys.exit(7)", "data.features", "import-raises"),
    "base_at_once": ('raise BaseException("boo")', "data.features", "import-raises"),
}


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Prepares a dataset whose features a module makes, of a name and with a source."""

    def call(name, source):
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / f"hostile_{name}.py").write_text(f"{IMPORTS}\n\n{source}\n")
        write(tmp_path, csv_lines(150))
        prepare_dataset(DataSettings(data_dir=tmp_path, lookback=5, features=f"hostile_{name}:more"))

    return call


@pytest.mark.parametrize("name", CASES)
def test_a_function_that_does_harm_is_one_printable_line(name, prepare):
    source, field, code = CASES[name]
    with pytest.raises(DataError) as caught:
        prepare(name, source)
    assert (caught.value.field, caught.value.code) == (field, code)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_ctrl_c_in_a_function_is_not_an_error_of_it(prepare):
    with pytest.raises(KeyboardInterrupt):
        prepare("interrupted", "def more(frame):\n    raise KeyboardInterrupt")
