"""Looks for what is new in a study and hands it to the mirror; what MLflow can't take now, it takes at a later look."""

import contextlib
import logging
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from cnn_lstm_hyperopt.config.messages import printable
from cnn_lstm_hyperopt.errors import HyperoptError, TrackingError
from cnn_lstm_hyperopt.tracking.problems import problem_text
from cnn_lstm_hyperopt.tracking.quiet import prepare_mlflow
from cnn_lstm_hyperopt.tracking.source import Source
from cnn_lstm_hyperopt.tracking.standing import Standing
from cnn_lstm_hyperopt.tracking.target import Target

log = logging.getLogger(__name__)

LOCK = ".tracking.lock"
"""In ``save_dir``: two that mirror the same study at once would both make the runs that are missing."""


class Following:
    """Of one study. Only one process at a time has one."""

    def __init__(self, save_dir: Path, target: Target, tell: Callable[[Standing], None]) -> None:
        """Loads MLflow, which takes a while.

        Raises:
            TrackingError: another process mirrors the study, or MLflow can't be loaded.
            SaveDirError: there is no study, or it is damaged.
        """
        self._target, self._tell = target, tell
        self._lock = FileLock(save_dir / LOCK, timeout=1)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise TrackingError(
                f"another process mirrors {save_dir} to MLflow now; wait until the run at work has ended"
            ) from error
        try:
            try:
                prepare_mlflow(target.artifacts)
                from cnn_lstm_hyperopt.tracking.mirror import Mirror
            except ImportError as error:
                raise TrackingError(f"MLflow can't be loaded ({error}); pip install mlflow") from error
            self._mirror = Mirror(target, tell)
            self._source = Source(save_dir)
        except BaseException:
            self._lock.release()
            raise
        self._behind = True
        self._ended = 0

    def look(self, *, final: bool) -> bool:
        """Writes what is new; returns whether everything that there is now is written."""
        if not (self._source.changed() or self._behind or final):
            return True
        standing = self._mirror.standing
        try:
            snapshot = self._source.snapshot()
        except (HyperoptError, OSError) as error:  # somebody has it open, or edits it
            log.warning("the study can't be read: %s", error)
            self._behind = True
            self._tell(replace(standing, problem=f"the study can't be read: {printable(str(error), 300)}", whole=False))
            return False
        if not (self._behind or final) and len(snapshot.ended) == self._ended:
            return True  # an epoch is over, and no trial
        self._behind = True
        try:
            with (
                warnings.catch_warnings()
            ):  # of MLflow's own libraries; where they are errors, nothing could be written
                warnings.simplefilter("ignore")
                self._mirror.sync(snapshot, final=final)
        except Exception as error:
            problem = problem_text(error, self._target)
            log.warning("%s", problem)
            log.debug("%s", problem, exc_info=not isinstance(error, HyperoptError))
            standing = self._mirror.standing
            self._tell(replace(standing, of_trials=len(snapshot.ended), problem=problem, whole=False))
            return False
        self._behind, self._ended = False, len(snapshot.ended)
        return True

    def news(self) -> list[str]:
        """Return sentences about trials that other programs added to the study or changed."""
        return self._source.news()

    def close(self) -> None:
        """Lets go of the study and of the lock, which goes away."""
        self._source.close()
        with contextlib.suppress(OSError):  # it does no harm where it is
            Path(self._lock.lock_file).unlink()
        self._lock.release()

    def __enter__(self) -> "Following":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
