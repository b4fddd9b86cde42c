"""Writer of ``run.log``, which has the log messages of the package during a run, without secrets.

Each phase starts with a line ``Phase: NAME``. The names are stable: search, search ended, confirmation, retraining,
results, finished.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.run_dir.paths import LOG_FILE
from cnn_lstm_hyperopt.utils.secrets import masked
from cnn_lstm_hyperopt.utils.text import typed_line

log = logging.getLogger(__name__)


def log_phase(name: str) -> None:
    """Log the start of a phase of the run."""
    log.info("Phase: %s", name)


class _Masking(logging.Formatter):
    """Formatter that masks passwords and tokens of URIs in the log."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a log line with passwords masked. If an error is logged, its traceback is included."""
        return masked(super().format(record))


class _Terminal(_Masking):
    """Formatter for the terminal, which shows an error as one line."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name that logging calls
        """Return the type and the message of an error."""
        return typed_line(ei[1])


class _RunLog(logging.FileHandler):
    """Handler of the log file.

    If the file can't be written, the handler warns once instead of printing a traceback for each line.
    """

    _warned = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        """Warn if the disk is full or missing. Pass other errors to the module ``logging``."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self._warn(error)
        else:
            super().handleError(record)

    def close(self) -> None:
        """Close the log file. Ignore the error that occurs if the last lines do not fit on the disk."""
        try:
            super().close()
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            with contextlib.suppress(OSError):  # the terminal is closed, too
                print(f"Warning: {self.baseFilename} can no longer be written: {error.strerror}", file=sys.stderr)


@contextlib.contextmanager
def run_log(save_dir: Path, prefix: str = "") -> Iterator[None]:
    """Context in which the package's log messages are appended to ``run.log``. Several processes may write at once."""
    handler = _RunLog(save_dir / LOG_FILE, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_Masking(f"%(asctime)s %(levelname)s {prefix}%(message)s"))
    with logging_to(handler):
        yield


@contextlib.contextmanager
def warnings_on_terminal() -> Iterator[None]:
    """Context in which the package's warnings appear on stderr, for commands that write no ``run.log``."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_Terminal("Warning: %(message)s"))
    with logging_to(handler):
        yield


@contextlib.contextmanager
def logging_to(handler: logging.Handler) -> Iterator[None]:
    """Context in which a handler gets the package's log messages from level INFO. The handler is closed at the end."""
    logger = logging.getLogger("cnn_lstm_hyperopt")
    before = logger.level
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        handler.close()
