"""The check of a user's feature function in one process of its own, whose time, memory and processes are bounded.

The function is a user's program: it may loop, fork, take all memory or end its process. None of that may reach the run.

The command is ``python -P … cnn_lstm_hyperopt.data.bounded_check FOLDER``: it reads the question from the folder and writes the
answer there. The end of standard input tells that the run is gone.
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

_QUESTION, _ANSWER, _PROCESSES = "question.json", "answer.json", "processes"
_MOST_PROCESSES = 100
"""That the function may start during the whole check, theirs included."""
_MEMORY_SHARE, _LEAST_MEMORY = 0.8, 10**9
"""Of the memory that is free at the start, and bytes that are always allowed."""
_STARTS = ("os.fork", "os.forkpty", "os.posix_spawn", "subprocess.Popen")
"""Audit events of Python: a process is about to be started."""
_POLL_SECONDS = 0.05


def checked_feature_set(settings: DataSettings, bars: Sequence[Bars]) -> FeatureSet:
    """The inputs that the settings ask for, as :func:`feature_set` checks them; a function is checked in a bounded process.

    Raises:
        DataError: as of :func:`feature_set`, or the function takes too long, starts too many processes or ends its process.
    """
    segments = longest_segments(bars, settings.max_gap_days)
    if settings.features is None or not segments:
        return feature_set(settings, bars)
    added = _ask(settings, segments)
    return FeatureSet(settings.feature_columns, load_function(settings.features), tuple(added))


def _ask(settings: DataSettings, segments: Sequence[tuple[str, pd.DataFrame]]) -> list[str]:
    """Names of the features that the function adds, once it is checked."""
    with tempfile.TemporaryDirectory(prefix="cnn-lstm-hyperopt-") as name:
        folder = Path(name)
        for number, (_, frame) in enumerate(segments):
            frame.to_parquet(folder / f"{number}.parquet", compression=None)
        question = {
            "settings": settings.model_dump(mode="json"),
            "symbols": [symbol for symbol, _ in segments],
            "path": sys.path,
        }
        (folder / _QUESTION).write_text(json.dumps(question), encoding="utf-8")
        problem = _run(folder, settings.features_seconds)
        where = f"data.features {shown_name(settings.features or '')}"
        if (folder / _PROCESSES).exists():
            raise DataError(
                f"{where}: starts more than {_MOST_PROCESSES} processes while it is checked; compute the features in the process"
                " that calls the function"
            )
        if problem:
            raise DataError(f"{where}: {problem}")
        answer = json.loads((folder / _ANSWER).read_text(encoding="utf-8"))
    if "error" in answer:
        raise DataError(answer["error"])
    if "interrupted" in answer:
        raise KeyboardInterrupt
    return list(answer["added"])


def _run(folder: Path, seconds: float) -> str:
    """Run the process to its end, or end it with all that it started; return what went wrong, "" if it has answered."""
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
        return (
            f"the check took longer than {seconds:g} s, so it was ended; make the function faster, or raise"
            " data.features_seconds"
        )
    if code == RETURNED_TWICE:
        return (
            "returns in two processes: it calls os.fork(); compute the features in the process that calls the function"
        )
    if code or not (folder / _ANSWER).exists():
        ended = f"signal {-code}, perhaps for lack of memory" if code < 0 else f"exit code {code}"
        return f"ends the process that calls it ({ended}); it must return a frame, or raise an error"
    return ""


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise KeyboardInterrupt: a run that would end in good order has nothing to save yet."""
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
    """The process and what it has started, also if it has ended itself."""
    if hasattr(os, "killpg"):
        try:
            os.killpg(process.pid, signal.SIGKILL)  # a group keeps its number until its last process has ended
        except (ProcessLookupError, PermissionError):  # nothing of it is left (macOS says that it is not permitted)
            process.poll()
    process.kill()
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


# ---------------------------------------------------------------------- in the process


def main(arguments: Sequence[str]) -> int:
    """Answers the question in a folder; returns the exit code."""
    folder = Path(arguments[0])
    question = json.loads((folder / _QUESTION).read_text(encoding="utf-8"))
    sys.path[:] = question["path"]
    settings = DataSettings.model_validate(question["settings"])
    bars = [
        Bars(symbol, pd.read_parquet(folder / f"{number}.parquet"), "none")
        for number, symbol in enumerate(question["symbols"])
    ]
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    _bound_memory()
    _bound_processes(folder)
    answer: dict[str, Any]
    try:
        answer = {"added": feature_set(settings, bars).added}
    except DataError as error:
        answer = {"error": str(error)}
    except KeyboardInterrupt:
        answer = {"interrupted": True}
    if _has_returned_twice():
        return RETURNED_TWICE
    (folder / _ANSWER).write_text(json.dumps(answer), encoding="utf-8")
    return 0


def _end_with_the_run() -> None:
    while os.read(0, 1):  # not sys.stdin: the interpreter could not end while a thread reads it
        continue
    _end_group()


def _end_group() -> None:
    if hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def _bound_memory() -> None:
    """Beyond the limit Python raises MemoryError, which is reported like any other error of the function."""
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
    limit, hard = now + max(_LEAST_MEMORY, int(_MEMORY_SHARE * free)), resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _bound_processes(folder: Path) -> None:
    """Counts the processes that this one and its descendants start; ends them all when there are too many.

    The count lies in memory that all of them share.
    """
    started = mmap.mmap(-1, 8)

    def count(event: str, _: tuple[Any, ...]) -> None:
        if event not in _STARTS:
            return
        number = int.from_bytes(started[:8], "little") + 1
        started[:8] = number.to_bytes(8, "little")
        if number > _MOST_PROCESSES:
            (folder / _PROCESSES).touch()
            _end_group()

    sys.addaudithook(count)


def _has_returned_twice() -> bool:
    """Whether a copy of this process came back from the function."""
    if not hasattr(os, "fork"):
        return False
    try:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if os.waitstatus_to_exitcode(ended[1]) == RETURNED_TWICE:
                return True
    except ChildProcessError:  # there are no children
        return False
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
