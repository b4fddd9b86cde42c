"""The locked test set, which trials never see."""

import logging
from typing import Any

from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.windows import Windows

log = logging.getLogger(__name__)


class LockedPeriod:
    """Locked test set, which counts each access. Repeated evaluations on the test set would lead to overfitting.

    The dates and the groups of the test windows can be read without an access. The inputs and the labels can't.

    Args:
        windows: the test windows.
        name: name of the windows in the log.

    Attributes:
        times_opened: number of calls of :meth:`open`.
    """

    def __init__(self, windows: Windows, name: str = "the test windows") -> None:
        self._windows = windows
        self._name = name
        self.times_opened = 0

    def __len__(self) -> int:
        return len(self._windows)

    def __repr__(self) -> str:
        return f"LockedPeriod({len(self)} windows, opened {self.times_opened} times)"

    @property
    def dates(self) -> NDArray[Any]:
        """Date of each test window."""
        return self._windows.dates

    @property
    def groups(self) -> NDArray[Any] | None:
        """Group of each test window; None without groups."""
        return self._windows.groups

    @property
    def dated(self) -> bool:
        """True if the dates of the test windows are real dates, not window numbers."""
        return self._windows.dated

    def open(self) -> Windows:
        """Return the windows of the locked test set, and count this access."""
        self.times_opened += 1
        log.info("%s are read, time %d in this process", self._name, self.times_opened)
        return self._windows
