"""How the package starts Python processes, never with a module from the current directory, and what does not end them."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables that set the number of threads of numerical libraries."""

_RUN_MODULE = (
    "import runpy, sys; sys.path.append(sys.argv.pop(1));"
    " runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)
"""Run a module like ``python -m``; the package's own folder comes last in the module search path."""


def module_command(module: str, *arguments: object) -> list[str]:
    """Return the command line that runs one of the package's modules in a new process.

    ``-P`` keeps the current directory out of the module search path: ``python -m`` alone would import a file of the user that is
    named like a library, such as ``optuna.py``. The folder of this package is appended, so that the new process finds the same
    package as this one.

    Args:
        module: to run, such as ``cnn_lstm_hyperopt.worker``.
        arguments: of the module, as text.
    """
    package_root = str(Path(__file__).resolve().parents[1])
    return [sys.executable, "-P", "-c", _RUN_MODULE, package_root, module, *map(str, arguments)]


@contextlib.contextmanager
def outliving_the_terminal() -> Iterator[None]:
    """A context in which this process, and those that it starts, go on when their terminal closes (SIGHUP is ignored).

    Outside the main thread, on systems without the signal, and where the program has a handler of its own, nothing is changed.
    """
    hangup = getattr(signal, "SIGHUP", None)
    if (
        hangup is None
        or threading.current_thread() is not threading.main_thread()
        or signal.getsignal(hangup) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(hangup, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(hangup, signal.SIG_DFL)


def ignore_signals_of_the_group() -> None:
    """Ignore the signals that reach all processes of a terminal: what a child process does, the main process says."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, signal.SIG_IGN)


def leave_current_directory_out() -> None:
    """Remove the entry of the current directory that ``python -m`` puts first in the module search path."""
    if sys.path and not sys.flags.safe_path and sys.path[0] in ("", _current_directory()):
        del sys.path[0]


def _current_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None
