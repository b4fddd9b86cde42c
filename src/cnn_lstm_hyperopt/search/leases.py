"""Leases of the trials that this process runs in a shared study, which a thread renews."""

import logging
import threading
import time
import uuid

from cnn_lstm_hyperopt.search.rows.server import ServerRows
from cnn_lstm_hyperopt.search.storage_recovery import FAULTS, first_line

log = logging.getLogger(__name__)

_BEATS_PER_LEASE = 6
_BEATS_BEFORE_TAKEOVER = 2.5


def new_worker_id() -> str:
    """Return an identifier of a worker that is unique among all machines."""
    return uuid.uuid4().hex


class Leases:
    """Leases of this process in a study that several machines share.

    Args:
        rows: store of the trials.
        seconds: seconds without a heartbeat after which a lease has expired.
    """

    def __init__(self, rows: ServerRows, seconds: float) -> None:
        self._rows = rows
        self.seconds = seconds
        self._pause = seconds / _BEATS_PER_LEASE
        self._held: set[int] = set()
        self._lost: set[int] = set()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._connected_since = time.monotonic()

    def hold(self, trial_id: int) -> None:
        """Renew the lease of a trial from now on; the transaction that started the trial has begun the lease."""
        self._held.add(trial_id)
        if self._thread is None:
            self._thread = threading.Thread(target=self._renew, name="leases", daemon=True)
            self._thread.start()

    def release(self, trial_id: int) -> None:
        """Stop renewing the lease of a trial."""
        self._held.discard(trial_id)
        self._lost.discard(trial_id)

    def is_lost(self, trial_id: int) -> bool:
        """Return whether another process has ended a trial that this process runs."""
        return trial_id in self._lost

    def lose_contact(self) -> None:
        """Record that the server did not answer."""
        self._connected_since = time.monotonic()

    def expired(self) -> list[int]:
        """Return the ids of the running trials whose lease has expired.

        After the server or the network was down, all leases look expired. So nothing is returned until the other workers
        have had time to renew their leases.
        """
        if time.monotonic() - self._connected_since < _BEATS_BEFORE_TAKEOVER * self._pause:
            return []
        return self._rows.expired(self.seconds)

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(self._pause)

    def _renew(self) -> None:
        while not self._closed.wait(self._pause):
            held = set(self._held)
            if not held:
                continue
            try:
                self._lost |= (held - self._rows.beat(held)) & self._held
            except FAULTS as error:
                self.lose_contact()
                log.info("the leases of this worker can't be renewed: %s", first_line(error))
