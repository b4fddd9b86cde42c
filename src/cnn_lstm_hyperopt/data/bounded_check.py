"""Check of a user's feature function in a process with limited time, memory and number of child processes.

The function may loop forever, fork, use all memory or end its process. None of these may affect the run.

The command ``python -P … cnn_lstm_hyperopt.data.bounded_check FOLDER`` reads the request from the folder and writes the
answer into the folder. The process of this command ends when its standard input closes, because then the run has ended.
"""

import contextlib
import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.data.bars import Bars
from cnn_lstm_hyperopt.data.own_features import FeatureSet, feature_set, longest_segments
from cnn_lstm_hyperopt.data.own_function import RETURNED_TWICE, load_function
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.processes import module_command
from cnn_lstm_hyperopt.utils.text import shown_name

_REQUEST, _ANSWER, _PROCESSES = "request.json", "answer.json", "processes"
_MAX_PROCESSES = 100
"""Maximum number of processes that the function and its child processes may start during the check."""
_MEMORY_SHARE, _MIN_MEMORY = 0.8, 10**9
"""Limit of additional memory for the check: a share of the memory that is free at the start, and a minimum in bytes."""
_STARTS = ("os.fork", "os.forkpty", "os.posix_spawn", "subprocess.Popen")
"""Audit events that Python raises before it starts a process."""
_POLL_SECONDS = 0.05


def checked_feature_set(settings: DataSettings, bars: Sequence[Bars]) -> FeatureSet:
    """Return the inputs that the settings name. A bounded process first checks the user's function, see :func:`feature_set`.

    Raises:
        DataError: in the same cases as :func:`feature_set`; or the function takes too long, starts too many processes or ends
            the process of the check.
    """
    segments = longest_segments(bars, settings.max_gap_days)
    if settings.features is None or not segments:
        return feature_set(settings, bars)
    added = _check(settings, segments)
    return FeatureSet(settings.feature_columns, load_function(settings.features), tuple(added))


def _check(settings: DataSettings, segments: Sequence[tuple[str, pd.DataFrame]]) -> list[str]:
    """Check the user's function in a bounded process. Return the names of its features."""
    with tempfile.TemporaryDirectory(prefix="cnn-lstm-hyperopt-") as name:
        folder = Path(name)
        for number, (_, frame) in enumerate(segments):
            frame.to_parquet(folder / f"{number}.parquet", compression=None)
        request = {
            "settings": settings.model_dump(mode="json"),
            "symbols": [symbol for symbol, _ in segments],
            "path": sys.path,
        }
        (folder / _REQUEST).write_text(json.dumps(request), encoding="utf-8")
        code, problem = _run(folder, settings.features_seconds)
        if (folder / _PROCESSES).exists():
            code, problem = (
                "too-many-processes",
                f"starts more than {_MAX_PROCESSES} processes while it is checked; compute the features in the process that calls"
                " the function",
            )
        if problem:
            text = f"data.features {shown_name(settings.features or '')}: {problem}"
            raise DataError(text, field="data.features", code=code)
        answer = json.loads((folder / _ANSWER).read_text(encoding="utf-8"))
    if "error" in answer:
        raise DataError(answer["error"], field=answer["field"], code=answer["code"])
    if "interrupted" in answer:
        raise KeyboardInterrupt
    return list(answer["added"])


def _run(folder: Path, seconds: float) -> tuple[str, str]:
    """Run the process of the check, then kill its child processes.

    Return the code and the text of its error, or empty texts.
    """
    command = module_command("cnn_lstm_hyperopt.data.bounded_check", folder)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603 - our own module, no shell
    deadline = time.monotonic() + seconds
    try:
        with _interruptible():
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
        code = process.poll()
    finally:
        _kill_group(process)
    if code is None:
        return "check-too-long", (
            f"the check took longer than {seconds:g} s, so it was ended; make the function faster, or raise"
            " data.features_seconds"
        )
    if code == RETURNED_TWICE:
        return "returns-twice", (
            "returns in two processes: it calls os.fork(); compute the features in the process that calls the function"
        )
    if code or not (folder / _ANSWER).exists():
        ended = f"signal {-code}, perhaps for lack of memory" if code < 0 else f"exit code {code}"
        text = f"ends the process that calls it ({ended}); it must return a frame, or raise an error"
        return "process-ended", text
    return "", ""


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Context in which Ctrl-C and SIGTERM raise KeyboardInterrupt.

    Interrupting is safe because the run has nothing to save yet.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and all of its descendants, even if the process itself has ended."""
    if hasattr(os, "killpg"):
        try:
            os.killpg(process.pid, signal.SIGKILL)  # a group keeps its number until its last process ends
        except (ProcessLookupError, PermissionError):  # all have ended (macOS raises PermissionError then)
            process.poll()
    process.kill()
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


# ---------------------------------------------------------------------- in the bounded process


def main(arguments: Sequence[str]) -> int:
    """Check the user's function that the request in a folder names. Return the exit code of the process."""
    folder = Path(arguments[0])
    request = json.loads((folder / _REQUEST).read_text(encoding="utf-8"))
    sys.path[:] = request["path"]
    settings = DataSettings.model_validate(request["settings"])
    bars = [
        Bars(symbol, pd.read_parquet(folder / f"{number}.parquet"), "none")
        for number, symbol in enumerate(request["symbols"])
    ]
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    _bound_memory()
    _bound_processes(folder)
    answer: dict[str, Any]
    try:
        answer = {"added": feature_set(settings, bars).added}
    except DataError as error:
        answer = {"error": str(error), "field": error.field, "code": error.code}
    except KeyboardInterrupt:
        answer = {"interrupted": True}
    if _has_returned_twice():
        return RETURNED_TWICE
    (folder / _ANSWER).write_text(json.dumps(answer), encoding="utf-8")
    return 0


def _end_with_the_run() -> None:
    while os.read(0, 1):  # not sys.stdin: a thread that reads sys.stdin blocks the exit of the interpreter
        continue
    _end_group()


def _end_group() -> None:
    if hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def _bound_memory() -> None:
    """Limit the memory of this process.

    Above the limit Python raises MemoryError, which is reported as an error of the user's function.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    status = Path("/proc/self/statm")
    if not status.exists():  # macOS has no limit of this kind
        return
    page = os.sysconf("SC_PAGE_SIZE")
    now = int(status.read_text(encoding="ascii").split()[0]) * page
    free = os.sysconf("SC_AVPHYS_PAGES") * page
    limit, hard = now + max(_MIN_MEMORY, int(_MEMORY_SHARE * free)), resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _bound_processes(folder: Path) -> None:
    """Count the processes that this process and its descendants start. Kill all of them if there are too many."""
    started = mmap.mmap(-1, 8)

    def count(event: str, _: tuple[Any, ...]) -> None:
        if event not in _STARTS:
            return
        number = int.from_bytes(started[:8], "little") + 1
        started[:8] = number.to_bytes(8, "little")
        if number > _MAX_PROCESSES:
            (folder / _PROCESSES).touch()
            _end_group()

    sys.addaudithook(count)


def _has_returned_twice() -> bool:
    """Return True if the user's function copied this process with ``os.fork`` and also returned in the copy."""
    if not hasattr(os, "fork"):
        return False
    try:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if os.waitstatus_to_exitcode(ended[1]) == RETURNED_TWICE:
                return True
    except ChildProcessError:  # this process has no child processes
        return False
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
