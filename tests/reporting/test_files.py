"""Files are whole or not there."""

import json
import os

import pytest

from cnn_lstm_hyperopt.files import write_json, write_text


def test_text_is_written_as_given_and_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_text(path, "ü\r\nline\n")
    assert path.read_bytes() == "ü\r\nline\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]


def test_json_is_strict_readable_and_ends_with_a_newline(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": [1, 2.5, None, True], "ü": "–"})
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == {"a": [1, 2.5, None, True], "ü": "–"}
    assert "ü" in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_json_refuses_what_other_languages_can_not_read_and_keeps_the_old_file(tmp_path, bad):
    path = tmp_path / "x.json"
    write_json(path, {"old": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"deep": [{"value": bad}]})
    assert json.loads(path.read_text()) == {"old": 1}


def test_json_refuses_unknown_types_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, 1)
    with pytest.raises(TypeError):
        write_json(path, {"a": 1, "b": object()})
    assert path.read_text() == "1\n"


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_write_that_breaks_off_leaves_the_old_content(tmp_path, monkeypatch, broken):
    path = tmp_path / "x.txt"
    write_text(path, "old")

    def full(*_):
        raise OSError("no space left on device")

    if broken == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(type(path), "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_text(path, "new and longer")
    assert path.read_text() == "old"
    monkeypatch.undo()
    write_text(path, "new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]
