"""Main loop of the exporting process: ``python -m cnn_lstm_hyperopt.tracking.worker SAVE_DIR STATUS_FILE TRACKER``.

The first line of standard input is the tracker's target as JSON. A second line asks for the final export. If standard input
closes, the run's process has ended; then the exporting process ends at once.
"""

import contextlib
import json
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.run_dir.run_log import run_log
from cnn_lstm_hyperopt.tracking.base import Tracker
from cnn_lstm_hyperopt.tracking.sync_status import SyncStatus
from cnn_lstm_hyperopt.tracking.trackers import TRACKERS
from cnn_lstm_hyperopt.utils.processes import ignore_signals_of_the_group

if TYPE_CHECKING:  # it imports torch
    from cnn_lstm_hyperopt.tracking.exporter import StudyExporter

log = logging.getLogger("cnn_lstm_hyperopt.tracking")

_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""First pause and longest pause between two checks of the study, in seconds. The pause doubles after each failed export."""
_FINAL_ATTEMPTS = 3


def lock_file(save_dir: Path, tracker: type[Tracker]) -> Path:
    """Return the lock file that lets only one process export the study to a tracker.

    Two processes would create missing runs twice.
    """
    return save_dir / f".tracking.{tracker.name}.lock"


def main(save_dir: Path, status_file: Path, tracker: type[Tracker]) -> int:
    """Export a study until the run asks for the final export.

    Return 0 if the tracker then has all parts of the study, else 1.
    """
    ignore_signals_of_the_group()
    if hasattr(os, "nice"):
        os.nice(10)
    target = json.loads(sys.stdin.readline())
    finishing = threading.Event()
    threading.Thread(target=_listen, args=(finishing,), daemon=True).start()
    with run_log(save_dir, f"{tracker.name}: "):
        try:
            with FileLock(lock_file(save_dir, tracker), timeout=1):
                exported = _export(tracker.exporter(save_dir, target, status_file), finishing)
                lock_file(save_dir, tracker).unlink(missing_ok=True)
                return 0 if exported else 1
        except Timeout:
            error = f"another process exports {save_dir} to {tracker.label} now; wait until it has ended"
        except HyperoptError as found:
            error = str(found)
        except Exception:
            log.exception("the export to %s failed", tracker.label)
            raise  # the run reports the last line of the traceback
        SyncStatus(error=error).write(status_file)
        return 1


def _export(exporter: "StudyExporter", finishing: threading.Event) -> bool:
    with contextlib.closing(exporter):
        pause = 0.0
        while not finishing.wait(pause):
            exported = exporter.sync(final=False)
            pause = _PAUSE_SECONDS if exported else min(max(2 * pause, _PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
        for attempt in range(_FINAL_ATTEMPTS):
            time.sleep(_PAUSE_SECONDS if attempt else 0)
            if exporter.sync(final=True):
                return True
        return False


def _listen(finishing: threading.Event) -> None:
    for _ in sys.stdin:
        finishing.set()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), TRACKERS[sys.argv[3]]))
