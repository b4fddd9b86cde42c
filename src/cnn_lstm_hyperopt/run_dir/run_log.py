"""``run.log``: what the package logs during a run, without secrets."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from cnn_lstm_hyperopt.run_dir.paths import LOG_FILE
from cnn_lstm_hyperopt.utils.secrets import masked


class _Masking(logging.Formatter):
    """Writes no password and no token of a URI into the log."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback if there is one."""
        return masked(super().format(record))


class _RunLog(logging.FileHandler):
    """Says once when it can't write any more: a traceback for each line would bury what the run says itself."""

    _told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        """Anything else than a full or missing disk is shown as logging does."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self._tell(error)
        else:
            super().handleError(record)

    def close(self) -> None:
        """What could not be written before can't be written now."""
        try:
            super().close()
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            with contextlib.suppress(OSError):  # the terminal is gone, too
                print(f"Warning: {self.baseFilename} can't be written any more: {error.strerror}", file=sys.stderr)


@contextlib.contextmanager
def run_log(save_dir: Path, prefix: str = "") -> Iterator[None]:
    """Appends what the package logs to ``run.log``; several processes may do so at once."""
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
