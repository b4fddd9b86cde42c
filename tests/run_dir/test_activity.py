"""The file in which a run tells other processes what it trains."""

import pytest

from cnn_lstm_hyperopt.execution.trial_events import ActivityReporter
from cnn_lstm_hyperopt.run_dir.activity import Activity, activity_text, read_activity, write_activity
from cnn_lstm_hyperopt.run_dir.paths import ACTIVITY_FILE

TWO = [Activity(1, 17, 3.0, 400.2), Activity(2, 18, 0.5, 411.9)]


def test_activities_are_read_as_written(tmp_path):
    write_activity(tmp_path, TWO)
    assert read_activity(tmp_path) == TWO
    assert activity_text([]) == ""
    assert all(part in activity_text(TWO) for part in ("17", "3.0", "18", "0.5", "812 MB"))  # the sum of both


NUMBERS = ['"worker": 1e999, "trial": 1, "epoch": 1', '"worker": 1, "trial": 1, "epoch": 1e999']
JSON = ["", "{", "[1]", '[{"worker": 1}]', '{"worker": 1}', "null", *(f'[{{{n}, "memory_mb": 1}}]' for n in NUMBERS)]


@pytest.mark.parametrize("text", [None, *JSON])
def test_a_missing_or_damaged_file_is_no_activity(tmp_path, text):
    if text is not None:
        (tmp_path / ACTIVITY_FILE).write_text(text, encoding="utf-8")
    assert read_activity(tmp_path) == []


def test_a_removed_directory_does_not_stop_the_report(tmp_path):
    reported = []
    ActivityReporter(tmp_path / "gone", reported.append).report(TWO)
    assert reported == [TWO]
