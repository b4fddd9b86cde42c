"""Waiting for something that a run in another process does."""

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

GIVE_UP = 300
"""Seconds after which a test fails; only a broken run takes so long."""

T = TypeVar("T")


def wait_for(condition: Callable[[], T], process: "subprocess.Popen[str]", *, seconds: float = GIVE_UP) -> T:
    """Return what the condition gives once it is true; fail when the process ends before."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run got nowhere"
        time.sleep(0.02)
    return found
