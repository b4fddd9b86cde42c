"""Start Python processes, never with a module from the current directory; the signals that a run handles."""

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
"""Name of the installed command."""

_RUN_MODULE = (
    "import runpy, sys; sys.path.append(sys.argv.pop(1));"
    " runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)
"""Run a module like ``python -m``; the package's own folder comes last in the module search path."""

_continued = 0


def module_command(module: str, *arguments: object) -> list[str]:
    """Return the command line that runs one of the package's modules in a new process.

    ``-P`` keeps the current directory out of the module search path: ``python -m`` alone would import a file of the user that is
    named like a library, such as ``optuna.py``. The folder of this package is appended, so that the new process finds the same
    package as this one.

    Args:
        module: to run, such as ``cnn_lstm_hyperopt.execution.worker``.
        arguments: of the module, as text.
    """
    package_root = str(Path(__file__).resolve().parents[1])
    return [sys.executable, "-P", "-c", _RUN_MODULE, package_root, module, *map(str, arguments)]


def program() -> str:
    """Return the program as the user called it, for the commands that messages name.

    ``cnn-lstm-hyperopt``, or a path to it, ``python -m cnn_lstm_hyperopt``, ``python scripts/run_cnn_lstm_hyperopt.py``.
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
    """A context in which this process, and those that it starts, go on when their terminal closes (SIGHUP is ignored)."""
    with _handling("SIGHUP", signal.SIG_IGN):
        yield


def times_continued() -> int:
    """Number of times that this process continued after a stop (Ctrl-Z, ``kill -STOP``) within :func:`noticing_stops`."""
    return _continued


@contextlib.contextmanager
def noticing_stops() -> Iterator[None]:
    """A context in which the signal that ends a stop (SIGCONT) is counted."""
    with _handling("SIGCONT", _count_continued):
        yield


def _count_continued(number: int, frame: object) -> None:
    global _continued
    _continued += 1


@contextlib.contextmanager
def _handling(name: str, handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    """A context in which a signal has this handler.

    Nothing changes outside the main thread, on systems without the signal, and where the program has a handler of its own.
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
