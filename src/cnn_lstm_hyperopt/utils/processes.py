"""Command lines of Python processes that import nothing from the current directory, and handling of signals."""

import contextlib
import itertools
import os
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables that set the number of threads of numerical libraries."""

PROGRAM = "cnn-lstm-hyperopt"
"""Name of the command that this package installs."""

_RUN_MODULE = (
    "import runpy, sys; sys.path.append(sys.argv.pop(1));"
    " runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)
"""Python code that runs a module like ``python -m``, with the package's own folder last in the module search path."""

_continued = 0


def module_command(module: str, *arguments: object) -> list[str]:
    """Return the command line that runs one of the package's modules in a new process.

    The option ``-P`` keeps the current directory out of the module search path. Without this option, ``python -m`` would import a
    file of the user that is named like a library, such as ``optuna.py``. The folder of this package is appended to the path, so
    that the new process finds the same package as this process.

    Args:
        module: module to run, such as ``cnn_lstm_hyperopt.execution.worker``.
        arguments: command line arguments of the module.
    """
    package_root = str(Path(__file__).resolve().parents[1])
    return [sys.executable, "-P", "-c", _RUN_MODULE, package_root, module, *map(str, arguments)]


def program() -> str:
    """Return the command by which the user started this program, for the commands in messages.

    The result is ``cnn-lstm-hyperopt``, a path that ends with this name, ``python -m cnn_lstm_hyperopt`` or ``python
    scripts/run_cnn_lstm_hyperopt.py``.
    """
    original, called = sys.orig_argv, Path(sys.argv[0])
    if any(pair == ("-m", "cnn_lstm_hyperopt") for pair in itertools.pairwise(original)):
        return shlex.join([original[0], "-m", "cnn_lstm_hyperopt"])
    if called.name == "run_cnn_lstm_hyperopt.py":
        return shlex.join([original[0], sys.argv[0]])
    if called.stem == PROGRAM and shutil.which(PROGRAM) != sys.argv[0]:
        return shlex.quote(sys.argv[0])
    return PROGRAM


@contextlib.contextmanager
def outliving_the_terminal() -> Iterator[None]:
    """Context in which this process and its child processes survive the end of their terminal (SIGHUP is ignored)."""
    with _handling("SIGHUP", signal.SIG_IGN):
        yield


def times_continued() -> int:
    """Return how often this process was stopped (Ctrl-Z, ``kill -STOP``) and continued within :func:`noticing_stops`."""
    return _continued


@contextlib.contextmanager
def noticing_stops() -> Iterator[None]:
    """Context that counts the SIGCONT signals to this process; the system sends one when a stopped process continues."""
    with _handling("SIGCONT", _count_continued):
        yield


def _count_continued(number: int, frame: object) -> None:
    global _continued
    _continued += 1


@contextlib.contextmanager
def _handling(name: str, handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    """Context in which ``handler`` handles the signal with this name.

    The signal is handled as before outside the main thread, on systems without this signal, and if the program has set another
    handler.
    """
    number = getattr(signal, name, None)
    if (
        number is None
        or threading.current_thread() is not threading.main_thread()
        or signal.getsignal(number) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL)


def ignore_signals_of_the_group() -> None:
    """Ignore signals that a terminal sends to all its processes, because the main process ends its child processes itself."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, signal.SIG_IGN)


def leave_current_directory_out() -> None:
    """Remove the current directory from the module search path, where ``python -m`` puts the current directory first."""
    if sys.path and not sys.flags.safe_path and sys.path[0] in ("", _current_directory()):
        del sys.path[0]


def _current_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # the current directory was removed
        return None
