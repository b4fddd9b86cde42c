"""When to stop: time, Ctrl-C, a scheduler's SIGTERM, or word from elsewhere."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

from cnn_lstm_hyperopt.utils.processes import noticing_stops, outliving_the_terminal

TIMEOUT, CTRL_C, SIGTERM = "timeout", "Ctrl-C", "SIGTERM"
_REASONS = {signal.SIGINT: CTRL_C, signal.SIGTERM: SIGTERM}


class StopSignal:
    """Whether the run should end, and why."""

    def __init__(self, timeout: float | None = None) -> None:
        self._told: str | None = None
        self.set_deadline(timeout)

    @property
    def reason(self) -> str | None:
        """``timeout``, ``Ctrl-C``, ``SIGTERM`` or what :meth:`end` was told; None: go on."""
        if self._told is None and self._deadline is not None and time.monotonic() >= self._deadline:
            return TIMEOUT
        return self._told

    @property
    def interrupted(self) -> bool:
        """Whether the user pressed Ctrl-C, or the system asked the process to end."""
        return self._told in _REASONS.values()

    @property
    def seconds_left(self) -> float | None:
        """Until the timeout; None without one."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def end(self, reason: str) -> None:
        """Ends the run in good order."""
        self._told = reason

    def wait(self, seconds: float) -> None:
        """Sleeps."""
        time.sleep(seconds)

    def set_deadline(self, seconds: float | None) -> None:
        """From here on so many seconds are left, or as many as it takes: search and retraining have limits of their own."""
        self._deadline = None if seconds is None else time.monotonic() + seconds

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM ends the run in good order, the second at once; a terminal that closes does not end it.

        Outside the main thread nothing is changed.
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
                # None: it was not set from Python, and Python can't set it back
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
