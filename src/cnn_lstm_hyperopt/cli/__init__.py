"""The command line ``cnn-lstm-hyperopt``. Slow libraries are imported only when a command runs."""

import contextlib
import errno
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence

from cyclopts import CycloptsError, UnknownCommandError

from cnn_lstm_hyperopt.cli import models as models  # importing a module registers its commands
from cnn_lstm_hyperopt.cli import report as report
from cnn_lstm_hyperopt.cli import study as study
from cnn_lstm_hyperopt.cli import tracking as tracking
from cnn_lstm_hyperopt.cli import updates as updates
from cnn_lstm_hyperopt.cli import worker as worker
from cnn_lstm_hyperopt.cli.application import app, help_text
from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.reporting.console.screen import PLAIN_CHARACTERS
from cnn_lstm_hyperopt.utils.secrets import masked
from cnn_lstm_hyperopt.utils.text import one_line, printable

COMMANDS = (
    "run",
    "data",
    "resume",
    "status",
    "report",
    "predict",
    "export",
    "update",
    "evaluate",
    "rollback",
    "narrow",
    "track",
    "worker",
)
"""Names of the commands, in the order in which the help lists them."""
for _place, _name in enumerate(COMMANDS):
    app[_name].sort_key = _place
    app[_name].help = help_text(app[_name].help)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of the command line and return its exit code.

    The code is 0 for success, 1 for a failure, 2 for wrong input, and 130 for an interruption after which results were saved.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # a character that the terminal can't show must not end a command
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors=PLAIN_CHARACTERS)
    try:
        with _ended_by_signals():
            app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - no traceback without --debug
        if "--debug" in tokens:
            traceback.print_exc()
        return _report(error)
    return 0


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Context in which Ctrl-C and SIGTERM print a line and end the process with code 130. A run replaces this signal handler.

    The handler does not raise an exception, because Python ignores exceptions in some places while it imports modules.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: object) -> None:
        os.write(2, b"Interrupted.\n")
        os._exit(130)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _report(error: BaseException) -> int:
    """Print one line about an error and return the exit code of the command line."""
    if isinstance(error, HyperoptError):
        return _fail(str(error), error.exit_code)
    text = one_line(error, 500)
    if isinstance(error, UnknownCommandError):  # the list in cyclopts' message ends after eight commands
        return _fail(f"{text.partition(' Available')[0]} Commands: {', '.join(COMMANDS)} (see --help)", 2)
    if isinstance(error, CycloptsError):
        return _fail(f"{text.rstrip('.')} (see --help)", 2)
    if isinstance(error, KeyboardInterrupt):
        return _fail("interrupted; there is nothing to resume", 130)
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise Python prints a second error at exit
        return 1
    if isinstance(error, PermissionError) and error.filename is not None:
        return _fail(f"{error.filename} can't be opened: {error.strerror}; change its permissions, or name another", 2)
    if isinstance(error, OSError) and error.filename is None and error.errno in (errno.ENOSPC, errno.EIO):
        return _fail(f"the output can't be written: {error.strerror}", 1)
    return _fail(f"{type(error).__name__}: {text} (a bug in this program; --debug shows the traceback)", 1)


def _fail(text: str, code: int) -> int:
    legible = "\n".join(printable(line, 4_000) for line in masked(text).split("\n"))
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(f"Error: {legible}" if code != 130 else legible[0].upper() + legible[1:], file=sys.stderr, flush=True)
    return code
