"""Process with a time limit that runs a user's code, so that the code can't stop or end the run.

The process and all of its descendants end at the limit, and when the run ends.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from cnn_lstm_hyperopt.utils.processes import module_command

RETURNED_TWICE = 77
"""Exit code for copies of this process in which a user's function returned. The function made the copies with ``os.fork``."""
_POLL_SECONDS = 0.05


def run_bounded(module: str, folder: Path, seconds: float) -> int | None:
    """Run a module of the package in a process of its own, then kill its child processes.

    Args:
        module: module whose ``__main__`` part calls the user's code. It calls :func:`end_with_the_run` first.
        folder: command line argument of the module.
        seconds: time limit.

    Returns:
        Exit code of the process, negative for a signal; None if the time limit ended the process.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM ended the call.
    """
    command = module_command(module, folder)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603 - our own module, no shell
    deadline = time.monotonic() + seconds
    try:
        with _interruptible():
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
        return process.poll()
    finally:
        _kill_group(process)


def ended_text(code: int) -> str:
    """Return how a process ended, for the text of an error: its exit code, or the signal that ended the process."""
    return f"signal {-code}, perhaps for lack of memory" if code < 0 else f"exit code {code}"


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Context in which Ctrl-C and SIGTERM raise KeyboardInterrupt.

    Interrupting is safe because the run has nothing to save at this time.
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


def end_with_the_run() -> None:
    """Start a thread that ends this process and its descendants when standard input closes, because then the run has ended."""
    threading.Thread(target=_end_at_end_of_input, daemon=True).start()


def _end_at_end_of_input() -> None:
    while os.read(0, 1):  # not sys.stdin: a thread that reads sys.stdin blocks the exit of the interpreter
        continue
    end_group()


def end_group() -> None:
    """Kill this process and all of its descendants."""
    if hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def end_copies(process: int) -> None:
    """End this process if it is a copy that the user's function made with ``os.fork``.

    After a fork, the function returns in both processes. ``process`` is the number of the process that called the function.
    """
    if os.getpid() != process:
        os._exit(RETURNED_TWICE)


def has_returned_twice() -> bool:
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
