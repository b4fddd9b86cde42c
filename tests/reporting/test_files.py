"""Files are whole or not there."""

import contextlib
import csv
import io
import json
import sys
from unittest.mock import Mock

import pandas as pd
import pytest

from cnn_lstm_hyperopt.progress import CONTINUE
from cnn_lstm_hyperopt.search import StudyStorage
from cnn_lstm_hyperopt.training.checkpoint import Checkpoint, write_checkpoint
from cnn_lstm_hyperopt.utils.atomic_io import new_part, remove_parts, write_json, write_text, written_beside
from cnn_lstm_hyperopt.utils.spreadsheets import csv_cell, csv_frame, csv_text


def test_text_is_written_as_given_and_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_text(path, "ü\r\nline\n")
    write_text(tmp_path / ("ä" * 127), "a name of the largest length")
    assert path.read_bytes() == "ü\r\nline\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]


def test_json_is_strict_and_readable_and_keeps_the_old_file_where_it_can_not_be(tmp_path):
    path, tree = tmp_path / "x.json", {"a": [1, 2.5, None, True], "ü": "–"}
    write_json(path, tree)
    for bad in (float("nan"), float("inf"), -float("inf"), object()):
        with pytest.raises((ValueError, TypeError)):
            write_json(path, {"deep": [{"value": bad}]})
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == tree
    assert "ü" in text
    assert text.endswith("}\n")


def write_bytes_beside(path, text):
    with written_beside(path) as beside:
        beside.write_text(text)


def write_checkpoint_file(path, text):
    checkpoint = Checkpoint(str(path), {}, 1, False, CONTINUE, (), {"weights": {}})
    write_checkpoint(path.with_name("trial.pt"), checkpoint)


def write_a_study_and_its_backup(path, text):
    with contextlib.closing(StudyStorage(path.with_name("study.db"), create="mine", attributes={})) as storage:
        storage.back_up()
    assert path.with_name("study.backup.db").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
@pytest.mark.parametrize("write", [write_text, write_bytes_beside, write_checkpoint_file, write_a_study_and_its_backup])
def test_a_link_at_a_name_that_could_be_guessed_is_not_followed(tmp_path, write):
    victim, folder = tmp_path / "victim", tmp_path / "results"
    victim.write_text("precious")
    folder.mkdir()
    for name in ("x.txt", "study.db", "study.backup.db", "trial.pt"):
        (folder / f".{name}.part").symlink_to(victim)
        (folder / f"{name}.part").symlink_to(victim)
    write(folder / "x.txt", "new")
    assert victim.read_text() == "precious"
    assert [path for path in folder.iterdir() if not path.is_symlink() and path.name.endswith(".part")] == []


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    kept = [tmp_path / ".mine.part", tmp_path / "x.txt"]
    for path in (*kept, new_part(tmp_path / "x.txt"), new_part(tmp_path / "y.db")):
        path.with_name(f"{path.name}").write_text("half")
    remove_parts(tmp_path, tmp_path / "nowhere")
    assert sorted(tmp_path.iterdir()) == kept


@pytest.mark.parametrize("broken", ["os.fsync", "pathlib.Path.replace"])
def test_a_write_that_breaks_off_leaves_the_old_content(tmp_path, monkeypatch, broken):
    path = tmp_path / "x.txt"
    write_text(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(broken, Mock(side_effect=OSError("no space left on device")))
        with pytest.raises(OSError, match="no space"):
            write_text(path, "new and longer")
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\n=1", "'=1", "''=1", "＝1"]
PLAIN = ["up", "-1", "+1", "-.5e-3", "'quoted'", "", "down-up", "3"]


@pytest.mark.parametrize("text", [*FORMULAS, *PLAIN])
def test_no_text_of_a_table_is_a_formula_and_each_can_be_read_back(text):
    frame = pd.DataFrame({text: [-1.5, 2.0], "name": [text, text], "count": [-1, 2]})
    header, *rows = csv.reader(io.StringIO(csv_frame(frame).to_csv(index=False)))
    assert [csv_text(cell) for cell in (header[0], rows[0][1])] == [text, text]
    assert (header[0] == text) is (text in PLAIN)
    assert csv_text(csv_cell("\r=1")) == "\r=1" != csv_cell("\r=1")
    assert [(row[0], row[2]) for row in rows] == [("-1.5", "-1"), ("2.0", "2")]
