"""``run.log``: what the package logs during a run, without secrets.

Each phase starts with a line ``Phase: NAME``, whose names do not change: search, search ended, confirmation, retraining, results,
finished.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from cnn_lstm_hyperopt.run_dir.paths import LOG_FILE
from cnn_lstm_hyperopt.utils.secrets import masked

log = logging.getLogger(__name__)


def log_phase(name: str) -> None:
    """Log the start of a phase."""
    log.info("Phase: %s", name)


class _Masking(logging.Formatter):
    """Writes no password and no token of a URI into the log."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with a traceback if there is one."""
        return masked(super().format(record))


class _RunLog(logging.FileHandler):
    """Prints one warning when it can't write, instead of a traceback for each line."""

    _warned = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        """Warn about a full or missing disk; leave other errors to logging."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self._warn(error)
        else:
            super().handleError(record)

    def close(self) -> None:
        """Close the file; its last lines may not fit on the disk."""
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
    """Append what the package logs to ``run.log``; several processes may do so at once."""
    logger = logging.getLogger("cnn_lstm_hyperopt")
    handler = _RunLog(save_dir / LOG_FILE, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_Masking(f"%(asctime)s %(levelname)s {prefix}%(message)s"))
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
