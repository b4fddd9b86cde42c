"""A feature function that loops, forks, uses all memory or ends its process is an error and leaves no process."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from builders.frames import random_frame
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.bars import Bars
from cnn_lstm_hyperopt.data.bounded_check import checked_feature_set
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.execution import StopSignal

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")

NOTE = "open('processes', 'a').write(f'{os.getpid()}\\n')"
GOOD = "frame[['close']].pct_change().rename(columns={'close': 'mine'})"
CATCH = ["    except BaseException:", "        pass"]
ATTACKS = {
    "a fork that returns": (["os.fork()", NOTE], "returns-twice"),
    "a fork bomb": (["while True:", "    try:", "        os.fork()", *CATCH, f"    {NOTE}"], "too-many-processes"),
    "an error": (["frame['sentiment']"], "function-raises"),
    "a loop": ([NOTE, "while True:", "    try:", "        time.sleep(1)", *CATCH], "check-too-long"),
    "an exit": ([NOTE, "os._exit(3)"], "process-ended"),
    "a memory fault": ([NOTE, "os.kill(os.getpid(), 11)"], "process-ended"),
    "a child in the background": (
        ["child = subprocess.Popen(['sleep', '600'])", "open('processes', 'a').write(f'{child.pid}\\n')"],
        "",
    ),
    # memory that isn't touched counts, so the test needs none
    "all memory": (["held = []", "while True:", "    held.append(np.empty(2**28, np.uint8))"], "function-raises"),
}


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Checks a function with these lines before its ``return``; gives the code of the error, "" without one."""
    monkeypatch.chdir(tmp_path)

    def error_of(lines: list[str], seconds: float = 600.0) -> str:
        name = f"attack_{abs(hash(tuple(lines)))}"
        body = "\n    ".join([*lines, f"return {GOOD}"])
        (tmp_path / f"{name}.py").write_text(
            f"import os, subprocess, time\nimport numpy as np\n\ndef more(frame):\n    {body}\n"
        )
        settings = DataSettings(source="embedded", lookback=10, features=f"{name}:more", features_seconds=seconds)
        try:
            features = checked_feature_set(settings, [Bars("A", random_frame(700, 1), "none")])
        except DataError as error:
            return error.code
        assert features.added == ("mine",)
        return ""

    return error_of


def is_there(process: int) -> bool:
    """Whether a process runs; a zombie does not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.mostly_slow(3)
@pytest.mark.parametrize(("lines", "code"), ATTACKS.values(), ids=ATTACKS)
def test_an_attack_is_an_error_and_leaves_no_process(check, tmp_path, lines, code):
    assert check(lines, seconds=6.0 if code == "check-too-long" else 600.0) == code
    (tmp_path / "processes").touch()  # on a busy machine the process may have been ended before the function was called
    started = {int(line) for line in (tmp_path / "processes").read_text().split()}
    assert len(started) <= 101
    assert os.getpid() not in started
    deadline = time.monotonic() + 30  # until the system has ended what was killed
    while (left := [process for process in started if is_there(process)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


@pytest.mark.parametrize("sent", ["SIGINT", "SIGTERM"])
def test_the_first_ctrl_c_ends_the_check_at_once_in_a_run_too(check, tmp_path, sent):
    stop = StopSignal()
    before = signal.getsignal(signal.SIGINT)
    lines = [NOTE, f"import signal; os.kill(os.getppid(), signal.{sent})", "time.sleep(600)"]
    with stop.listening():
        listening = signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check(lines, seconds=30.0)
        assert signal.getsignal(signal.SIGINT) is listening
    assert signal.getsignal(signal.SIGINT) is before
    (started,) = (tmp_path / "processes").read_text().split()
    assert not is_there(int(started))
