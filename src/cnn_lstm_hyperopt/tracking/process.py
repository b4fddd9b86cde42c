"""The follower from the side of the run: started with it, asked to come to its end, and waited for no longer than was agreed."""

import atexit
import contextlib
import logging
import os
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.errors import InterruptedRunError
from cnn_lstm_hyperopt.reporting.wording import counted
from cnn_lstm_hyperopt.tracking.standing import Standing
from cnn_lstm_hyperopt.tracking.target import URI_VARIABLE, Target
from cnn_lstm_hyperopt.utils.processes import THREAD_VARIABLES, module_command
from cnn_lstm_hyperopt.utils.secrets import masked

log = logging.getLogger(__name__)

HURRIED_SECONDS = 5.0
"""That the end waits at most when the user has pressed Ctrl-C."""
LAST_WORDS_SECONDS = 5.0
Say = Callable[[str], None]


class Follower:
    """The process that mirrors. Its standard input is held open: when that ends, this process is gone, and so is the follower."""

    def __init__(self, save_dir: Path, target: Target) -> None:
        # The URI may hold a password, so it goes through the environment: everybody can read a command line.
        environment = {**os.environ, URI_VARIABLE: target.uri, **dict.fromkeys(THREAD_VARIABLES, "1")}
        self.standing = Standing()
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - end() closes it
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                module_command("cnn_lstm_hyperopt.tracking", save_dir),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment,
                text=True,
            )
        except OSError:
            self._errors.close()
            raise
        self._listener = threading.Thread(target=self._listen, daemon=True)
        try:
            self._listener.start()
        except RuntimeError:
            self._process.kill()
            self._process.wait()
            self._errors.close()
            raise

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            self.standing = Standing.read(line) or self.standing

    def _last_line(self) -> str:
        """The last line that the process wrote to its standard error, after a colon and without secrets."""
        self._errors.seek(0)
        lines = self._errors.read().split("\n")
        return next((f": {masked(line.strip())}" for line in reversed(lines) if line.strip()), "")

    @property
    def running(self) -> bool:
        """Whether the process is still there."""
        return self._process.poll() is None

    def end(self, seconds: float, limit: str = "mlflow.wait_seconds") -> Standing:
        """Asks it to write the rest and to end, and ends it after so many seconds; returns what was written.

        Args:
            seconds: at most.
            limit: what sets them.
        """
        deadline = time.monotonic() + seconds
        try:
            if self._process.stdin is not None:
                with contextlib.suppress(OSError):  # it is gone, which its standing shows
                    self._process.stdin.write("end\n")
                    self._process.stdin.flush()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, deadline - time.monotonic()))
        finally:
            code = self._process.poll()
            if code is None:
                self._process.kill()
                self._process.wait()
            self._listener.join(LAST_WORDS_SECONDS)
            last_line = self._last_line()
            for stream in (self._process.stdin, self._process.stdout, self._errors):
                with contextlib.suppress(OSError):  # what was not read by a process that is gone
                    if stream is not None:
                        stream.close()
        if code is None and not self.standing.problem:
            return Standing(**{**vars(self.standing), "problem": f"it took longer than {seconds:g} s ({limit})"})
        if code and not self.standing.problem:
            problem = f"its process ended with exit code {code}{last_line}"
            return Standing(**{**vars(self.standing), "problem": problem})
        return self.standing


@contextlib.contextmanager
def tracked(
    settings: Settings, target: Target | None, *, ended: Callable[[], int], say: Say, warn: Say
) -> Iterator[None]:
    """A context in which the study is mirrored to MLflow; its end says what was written and what was not.

    Args:
        settings: of the run.
        target: where to; None: nowhere.
        ended: counts the study's trials of which nothing more will come.
        say: shows a line.
        warn: shows a warning.
    """
    if target is None:
        yield
        return
    try:
        follower = Follower(settings.save_dir, target)
    except (OSError, RuntimeError) as error:  # no more processes, threads or memory: the run goes on
        why = getattr(error, "strerror", None) or error
        warn(f"MLflow is not written to: its process can't be started ({why}); {_cure(settings.save_dir)}")
        yield
        return
    told = threading.Lock()

    def finish(seconds: float, limit: str = "mlflow.wait_seconds") -> None:
        if told.acquire(blocking=False):  # once: at the end of the context, or of a program that never gets there
            _tell(follower.end(seconds, limit), settings, target, ended=ended, say=say, warn=warn)

    def at_exit() -> None:
        finish(settings.mlflow.wait_seconds)

    atexit.register(at_exit)
    seconds, limit = settings.mlflow.wait_seconds, "mlflow.wait_seconds"
    try:
        yield
    except InterruptedRunError:
        if seconds > HURRIED_SECONDS:
            seconds, limit = HURRIED_SECONDS, "since you end the run"
        raise
    except KeyboardInterrupt:
        seconds, limit = 0.0, "since you end the run at once"
        raise
    finally:
        finish(seconds, limit)
        atexit.unregister(at_exit)


def _tell(
    standing: Standing, settings: Settings, target: Target, *, ended: Callable[[], int], say: Say, warn: Say
) -> None:
    try:
        total = ended()
    except Exception as error:  # noqa: BLE001 - why the study can't be read is what the run itself says
        log.warning("the trials can't be counted for MLflow: %s", error)
        total = standing.of_trials
    if standing.whole and not standing.missing(total):
        say(whole_text(standing, target))
    else:
        what = standing.lacking(total)
        why = standing.problem or "it was not done in time"
        warn(f"{what} in MLflow at {target.shown} yet: {why}; {_cure(settings.save_dir)}")


def whole_text(standing: Standing, target: Target) -> str:
    """What MLflow has, and how to look at it."""
    models = f" and {counted(standing.models, 'retrained model')}" if standing.models else ""
    return (
        f"MLflow has all {counted(standing.trials, 'trial')}{models} in its experiment {target.experiment}; look at them with:"
        f" {target.how_to_look(standing.experiment_id)}"
    )


def _cure(save_dir: Path) -> str:
    return f"write them with: cnn-lstm-hyperopt track --save-dir {shlex.quote(str(save_dir))}"
