"""Start and end of the processes that export a study to trackers, and reports of the sync status."""

import contextlib
import json
import logging
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.errors import HyperoptError, InterruptedRunError, TrackingError
from cnn_lstm_hyperopt.run_dir.paths import command
from cnn_lstm_hyperopt.search import StudyStorage, database_in
from cnn_lstm_hyperopt.tracking.base import Tracker
from cnn_lstm_hyperopt.tracking.sync_status import SyncStatus
from cnn_lstm_hyperopt.tracking.target import Target
from cnn_lstm_hyperopt.utils.passwords import passwords_for_child
from cnn_lstm_hyperopt.utils.processes import THREAD_VARIABLES, module_command
from cnn_lstm_hyperopt.utils.text import counted

log = logging.getLogger(__name__)

INTERRUPTED_SECONDS = 5.0
"""Maximum time in seconds that a run waits for the export after Ctrl-C."""
SILENT_SECONDS = 5.0
"""Time in seconds that a run waits for the export before it says so."""
_FIXED = {"PYTHONWARNINGS": "ignore", **dict.fromkeys(THREAD_VARIABLES, "1")}
"""Values of environment variables for the exporting process."""


class ExportProcess:
    """Background process that runs ``worker.py``.

    The background process also ends when the run's process ends, because its standard input then closes.
    """

    def __init__(self, save_dir: Path, tracker: type[Tracker], target: Target) -> None:
        """Start the process that exports the study to a tracker.

        Raises:
            TrackingError: the system can't start the process.
        """
        self._target = target
        try:
            with contextlib.ExitStack() as on_error:
                self._folder = tempfile.TemporaryDirectory(prefix="cnn-lstm-hyperopt-")
                on_error.enter_context(self._folder)
                self._status, self._output = (Path(self._folder.name) / name for name in ("status.json", "output.txt"))
                with self._output.open("w") as output:
                    self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                        module_command("cnn_lstm_hyperopt.tracking.worker", save_dir, self._status, tracker.name),
                        stdin=subprocess.PIPE,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        env={**tracker.environment, **os.environ, **_FIXED, **passwords_for_child()},
                        text=True,
                    )
                on_error.pop_all()
        except OSError as error:
            text = f"its process can't be started ({error.strerror or error})"
            raise TrackingError(text, code="process-not-started") from error
        self._send(json.dumps(vars(target)))  # not in the command line, which would show the password to every user

    def _send(self, line: str) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # the process has ended; its exit code shows the error
                self._process.stdin.write(f"{line}\n")
                self._process.stdin.flush()

    def finish(
        self, seconds: float | None, limit: str = "", *, on_wait: Callable[[], None] = lambda: None
    ) -> SyncStatus:
        """Ask the process for the final export and return the last sync status. Kill the process when the time limit ends.

        ``on_wait`` is called once if the export takes longer than :data:`SILENT_SECONDS`.
        """
        with self._folder:
            self._send("finish")
            error = f"it took longer than {seconds or 0:g} s ({limit})"
            try:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = self._wait(seconds, on_wait)
                    lines = self._output.read_text(encoding="utf-8", errors="replace").split("\n")
                    last = [f": {self._target.without_secrets(line.strip())}" for line in lines if line.strip()][-1:]
                    error = f"its process ended with exit code {code}{''.join(last)}" if code else ""
            finally:
                self._process.kill()
                self._process.communicate()
            exists = self._status.is_file()
            status = SyncStatus(**json.loads(self._status.read_text(encoding="utf-8"))) if exists else SyncStatus()
            return replace(status, error=status.error or error)

    def _wait(self, seconds: float | None, on_wait: Callable[[], None]) -> int:
        """Return the exit code of the process; raise ``subprocess.TimeoutExpired`` after ``seconds``."""
        if seconds is not None and seconds <= SILENT_SECONDS:
            return self._process.wait(seconds)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(SILENT_SECONDS)
        on_wait()
        return self._process.wait(None if seconds is None else seconds - SILENT_SECONDS)


@contextlib.contextmanager
def tracked(
    settings: Settings,
    tracker: type[Tracker],
    *,
    say: Callable[[str], None],
    warn: Callable[[str], None],
    on_wait: Callable[[str], None] = log.info,
) -> Iterator[None]:
    """Context during which the study in ``settings.save_dir`` is exported to a tracker. At its end, the sync status is reported.

    ``say`` shows a line, ``warn`` shows a warning, and ``on_wait`` shows a line if the export takes a while after the run.
    Nothing is exported if the settings do not choose the tracker.

    Raises:
        ConfigError: the target is wrong (see ``Tracker.target``). All other problems with the tracker are warnings.
    """
    if not tracker.chosen(settings):
        yield
        return
    target = tracker.target(settings)
    cure = f"write them with: {_track_command(settings.save_dir, tracker)}"
    try:
        process = ExportProcess(settings.save_dir, tracker, target)
    except TrackingError as error:
        warn(f"{tracker.label} is not written to: {error}; {cure}")
        yield
        return
    seconds, limit = tracker.wait_limit(settings)
    try:
        yield
    except InterruptedRunError:
        if seconds > INTERRUPTED_SECONDS:
            seconds, limit = INTERRUPTED_SECONDS, "since you end the run"
        raise
    except KeyboardInterrupt:
        seconds, limit = 0.0, "since you end the run at once"
        raise
    finally:
        status = process.finish(
            seconds, limit, on_wait=lambda: on_wait(f"Waiting at most {seconds:.0f} s for {tracker.label} …")
        )
        try:
            ended, _ = _read_study(settings.save_dir)
        except HyperoptError as error:  # the run itself reports this error
            log.warning("can't count the trials for %s: %s", tracker.label, error)
            ended = status.trials
        if status.error or not status.known or status.missing(ended):
            warn(f"{_missing_text(status, ended, tracker, target)}; {cure}")
        else:
            say(_complete_text(status, tracker, target))


def track_once(settings: Settings, tracker: type[Tracker]) -> None:
    """Export the study in ``settings.save_dir`` to a tracker now, and print the sync status.

    Raises:
        ConfigError: the tracker's package is missing, or its target is wrong.
        SaveDirError: the directory has no study, or the study is damaged.
        TrackingError: a part of the study was not exported. The text names the part, the reason and the command to try again.
    """
    tracker.check(settings)
    target = tracker.target(settings)
    console = Console(highlight=False, soft_wrap=True)
    ended, warnings = _read_study(settings.save_dir)
    for line in warnings:
        console.print(f"Warning: {line}", markup=False)
    with console.status(f"Writing to {tracker.label}"):
        status = ExportProcess(settings.save_dir, tracker, target).finish(None)
    if status.error:
        again = f"try again with: {_track_command(settings.save_dir, tracker)}"
        raise TrackingError(f"{_missing_text(status, ended, tracker, target)}; {again}", code="not-exported")
    console.print(_complete_text(status, tracker, target), markup=False)


def _read_study(save_dir: Path) -> tuple[int, list[str]]:
    """Return the number of ended trials in a study, and warnings about trials that other programs added or changed."""
    storage = StudyStorage(database_in(save_dir))
    try:
        return sum(record.state.ended for record in storage.records()), storage.news()
    finally:
        storage.close()


def _complete_text(status: SyncStatus, tracker: type[Tracker], target: Target) -> str:
    models = f" and {counted(status.models, 'retrained model')}" if status.models else ""
    return (
        f"{tracker.label} has all {counted(status.trials, 'trial')}{models}{target.inside}:\n"
        f"{target.how_to_look(status.experiment_id)}"
    )


def _missing_text(status: SyncStatus, ended: int, tracker: type[Tracker], target: Target) -> str:
    place, reason = f"in {tracker.label} at {target.shown}", status.error or "it was not done in time"
    if not status.known:
        return f"{ended} of {ended} trials may be missing {place}: {reason}"
    missing = status.missing(ended)
    what = f"{missing} are not" if missing else "the study's end is not"
    return f"{what} {place} yet: {reason}"


def _track_command(save_dir: Path, tracker: type[Tracker]) -> str:
    chosen = () if tracker.default else ("--trackers", tracker.name)
    return command("track", "--save-dir", save_dir, *chosen)
