"""What a URI gives away is hidden, and nothing else is changed."""

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_lstm_hyperopt.cli import main
from cnn_lstm_hyperopt.run_dir.paths import LOG_FILE
from cnn_lstm_hyperopt.run_dir.run_log import run_log
from cnn_lstm_hyperopt.utils.secrets import masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:pa55@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("postgresql+psycopg://me:p@ss:w@host/db", "postgresql+psycopg://me:***@host/db"),
        ("can't reach https://TOKEN@tracking.example/x; see", "can't reach https://***@tracking.example/x; see"),
        ("http://host/?user=me&password=geheim&x=1", "http://host/?user=me&password=***&x=1"),
        ("https://h/a?X-Amz-Signature=abc#part", "https://h/a?X-Amz-Signature=***#part"),
        ("redis://:secret@host", "redis://:***@host"),
        ("postgresql:/me:pa55@host/db as a path", "postgresql:/me:***@host/db as a path"),
        ("postgresql://me:ge/he?i#m@host/db", "postgresql://me:***@host/db"),
        ("mysql://me:ge/heim@h/d, mssql://a:b/c@d", "mysql://me:***@h/d, mssql://a:***@d"),
        ("mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3Dgeheim&x=1", "mssql+pyodbc:///?odbc_connect=***&x=1"),
        ("a mysql://u:p@h/d and a mysql://u:q@h/d", "a mysql://u:***@h/d and a mysql://u:***@h/d"),
    ],
)
def test_secrets_are_hidden(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////home/me/results/study.db",
        "https://host:8080/path?x=1",
        "write to me@example.org",
        "C:/me@work/study.db",
        "trial 7 failed: RuntimeError: a:b@c",
        "",
    ],
)
def test_all_else_is_left(text: str) -> None:
    assert masked(text) == text


@given(st.from_regex(r"[A-Za-z0-9!$%^*+=._~-]{1,20}", fullmatch=True))
def test_no_password_is_left(password: str) -> None:
    shown = masked(f"cannot connect to postgresql://user:{password}@db.example:5432/studies today")
    assert shown == "cannot connect to postgresql://user:***@db.example:5432/studies today"


@given(st.text())
def test_masking_twice_changes_nothing_more(text: str) -> None:
    assert masked(masked(text)) == masked(text)


def test_nothing_secret_is_logged_not_even_by_a_traceback(tmp_path: Path) -> None:
    log = logging.getLogger("cnn_lstm_hyperopt.anything")
    with run_log(tmp_path):
        log.info("at %s", "postgresql://me:geheim@host/db")
        try:
            raise ConnectionError("no way to https://h/?token=geheim")
        except ConnectionError:
            log.exception("failed")
    written = (tmp_path / LOG_FILE).read_text(encoding="utf-8")
    assert "postgresql://me:***@host/db" in written
    assert "ConnectionError: no way to https://h/?token=***" in written
    assert "geheim" not in written


def test_nothing_secret_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--save-dir", "postgresql://me:geheim@host/db"]) == 2
    said = capsys.readouterr()
    assert "geheim" not in said.out + said.err
    assert "me:***@host" in said.err
