"""A run whose output can't be written continues. Real pipes and terminals."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from builders.runs import GIVE_UP, require_whole, start

pytestmark = pytest.mark.slow


def test_a_reader_that_goes_away_does_not_end_the_run(config: Callable[..., Path], save_dir: Path) -> None:
    """``cnn-lstm-hyperopt run … | head -1``."""
    process = start("run", "--config", config(2), "--workers", "1")
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(GIVE_UP) in (0, 1), err
    assert "Traceback" not in err
    require_whole(save_dir, 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no pseudoterminals of this kind")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_terminal_that_closes_does_not_end_the_run(config: Callable[..., Path], save_dir: Path, workers: str) -> None:
    """Its end sends SIGHUP to the run and its workers; every write to it fails from then on."""
    import pty

    command = ["-m", "cnn_lstm_hyperopt", "run", "--config", str(config(4)), "--workers", workers, "--retrain-best"]
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, *command])  # noqa: S606
    seen = b""
    while b"complete" not in seen and b"pruned" not in seen:  # a trial has ended
        seen += os.read(terminal, 4096)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    log = (save_dir / "run.log").read_text(encoding="utf-8")
    assert os.WIFEXITED(status), log
    assert os.waitstatus_to_exitcode(status) in (0, 1), log
    assert "Traceback" not in log
    require_whole(save_dir, 4)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_encoding_without_our_characters_does_not_end_a_command(
    config: Callable[..., Path], save_dir: Path, encoding: str
) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for command in (["run", "--config", config(2), "--workers", "1"], ["status", "--save-dir", save_dir]):
        process = start(*command, env=environment, encoding=encoding)
        _, err = process.communicate(timeout=GIVE_UP)  # decoding fails where a byte is not of the encoding
        assert process.returncode in (0, 1), err
        assert "UnicodeEncodeError" not in err
    require_whole(save_dir, 2)
