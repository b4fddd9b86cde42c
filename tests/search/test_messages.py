"""Wording of the messages of the search that users meet most; other tests check codes and fields."""

from pathlib import Path

import pytest

from builders.records import make_plan
from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.search import StudyStorage
from cnn_lstm_hyperopt.search.initial_trials.enqueueing import read_enqueued
from cnn_lstm_hyperopt.search.narrowing import narrow_study

pytestmark = pytest.mark.wording


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def after_the_file_was_removed(path: Path) -> None:
    storage = StudyStorage(path, create="x")
    path.rename(path.with_name("moved.db"))
    storage.records()


def created_twice(path: Path) -> None:
    for _ in range(2):
        StudyStorage(path, create="x").close()


def enqueued(text: str) -> object:
    return lambda path: read_enqueued(written(path.with_name("mine.yaml"), text), make_plan())


NO_BACKUP = "there is no intact study.backup.db beside it: choose another --save-dir"
MESSAGES = [
    (StudyStorage, "DB does not exist, so there is no study to resume; start one with: run --save-dir DIR"),
    (created_twice, "DB already exists; resume it or choose another --save-dir"),
    (lambda path: StudyStorage(written(path, "")), f"DB holds no study; {NO_BACKUP}"),
    (
        lambda path: StudyStorage(written(path, "text " * 500)),
        f"DB can't be opened as a study: it is damaged or not a study (file is not a database); {NO_BACKUP}",
    ),
    (
        after_the_file_was_removed,
        "DB was removed, moved or replaced during the run, so nothing more can be stored. Put it back, then resume:"
        " cnn-lstm-hyperopt resume --save-dir DIR (in Python: resume=True). Without it, start a new study",
    ),
    (
        enqueued("- {cnn.droput: 0.2}"),
        "--enqueue DIR/mine.yaml: entry 1: cnn.droput is not a parameter; did you mean cnn.dropout?",
    ),
    (
        enqueued("[]"),
        "--enqueue DIR/mine.yaml must hold a list of configurations, such as"
        " [{cnn.num_filters: 64, lstm.hidden_dim: 128}], or be a results.json, but holds an empty list",
    ),
    (
        lambda path: narrow_study(path.parent, written(path.with_name("my.yaml"), "")),
        "--output DIR/my.yaml exists and was not written by narrow, so it is not replaced; name another file or remove it",
    ),
]


@pytest.mark.parametrize(("trigger", "message"), MESSAGES, ids=[message[:30] for _, message in MESSAGES])
def test_errors_read_as_intended(tmp_path, trigger, message):
    with pytest.raises(HyperoptError) as caught:
        trigger(tmp_path / "study.db")
    assert str(caught.value).replace(f"{tmp_path}/study.db", "DB").replace(str(tmp_path), "DIR") == message
