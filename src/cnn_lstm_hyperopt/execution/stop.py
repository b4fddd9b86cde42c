"""The stop signal of a run, which ends after a timeout, Ctrl-C, SIGTERM or a request of the main process."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

from cnn_lstm_hyperopt.utils.processes import noticing_stops, outliving_the_terminal

TIMEOUT, CTRL_C, SIGTERM = "timeout", "Ctrl-C", "SIGTERM"
_REASONS = {signal.SIGINT: CTRL_C, signal.SIGTERM: SIGTERM}


class StopSignal:
    """Stop signal of a run: whether the run should end, and the reason."""

    def __init__(self, timeout: float | None = None) -> None:
        self._reason: str | None = None
        self.set_deadline(timeout)

    @property
    def reason(self) -> str | None:
        """Reason to end the run: ``timeout``, ``Ctrl-C``, ``SIGTERM`` or the argument of :meth:`end`; None to continue."""
        if self._reason is None and self._deadline is not None and time.monotonic() >= self._deadline:
            return TIMEOUT
        return self._reason

    @property
    def interrupted(self) -> bool:
        """Whether the run must end because of Ctrl-C or SIGTERM."""
        return self._reason in _REASONS.values()

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the timeout; None without a timeout."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def end(self, reason: str) -> None:
        """Ask the run to save its state and end; ``reason`` is the reason."""
        self._reason = reason

    def wait(self, seconds: float) -> None:
        """Sleep for ``seconds`` seconds."""
        time.sleep(seconds)

    def set_deadline(self, seconds: float | None) -> None:
        """Set the timeout, in seconds from now; None removes the timeout. Search and retraining have separate timeouts."""
        self._deadline = None if seconds is None else time.monotonic() + seconds

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Context in which the run saves its state and ends after Ctrl-C or SIGTERM. A second signal ends the run at once.

        In this context, the signal SIGHUP is ignored. Outside the main thread, all signals are handled as before.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: object) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self.end(_REASONS[signal.Signals(number)])

        before = {number: signal.signal(number, handle) for number in _REASONS}
        try:
            with outliving_the_terminal(), noticing_stops():
                yield
        finally:
            for number, handler in before.items():
                # None: the handler was not set from Python, and Python can't restore it
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
