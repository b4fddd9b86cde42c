"""What the processes of a run are at, told to another process."""

import pytest

from cnn_lstm_hyperopt.execution.trial_events import ActivityReporter
from cnn_lstm_hyperopt.run_dir.activity import Activity, activity_text, read_activity, write_activity
from cnn_lstm_hyperopt.run_dir.paths import ACTIVITY_FILE

TWO = [Activity(1, 17, 3.0, 400.2), Activity(2, 18, 0.5, 411.9)]


def test_what_is_written_is_read(tmp_path):
    write_activity(tmp_path, TWO)
    assert read_activity(tmp_path) == TWO


def test_it_is_told_in_a_line():
    assert activity_text(TWO) == "worker 1: trial 17 at epoch 3.0 · worker 2: trial 18 at epoch 0.5 · 812 MB"
    assert activity_text([Activity(0, 3, 1.25, 0.0)]) == "trial 3 at epoch 1.2"
    assert activity_text([]) == ""


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "{", "[1]", '[{"worker": 1}]', '{"worker": 1}', "null"),
        '[{"worker": 1e999, "trial": 1, "epoch": 1, "memory_mb": 1}]',
        '[{"worker": 1, "trial": 1, "epoch": 1e999, "memory_mb": 1}]',
    ],
)
def test_what_cannot_be_read_is_no_activity(tmp_path, text):
    if text is not None:
        (tmp_path / ACTIVITY_FILE).write_text(text, encoding="utf-8")
    assert read_activity(tmp_path) == []


def test_a_directory_that_is_gone_stops_nobody(tmp_path):
    heard = []
    ActivityReporter(tmp_path / "gone", heard.append).report(TWO)
    assert heard == [TWO]
