"""Main loop of the exporting process: ``python -m cnn_lstm_hyperopt.tracking.worker SAVE_DIR STATUS_FILE``.

The first line of standard input is the MLflow target as JSON. A second line asks for the final export. If standard input
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

from filelock import FileLock, Timeout

from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.run_dir.run_log import run_log
from cnn_lstm_hyperopt.tracking.process import SyncStatus
from cnn_lstm_hyperopt.tracking.target import Target
from cnn_lstm_hyperopt.utils.processes import ignore_signals_of_the_group

log = logging.getLogger("cnn_lstm_hyperopt.tracking")

LOCK_FILE = ".tracking.lock"
"""Lock file in ``save_dir`` that lets only one process export the study. Two processes would create missing runs twice."""
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""First pause and longest pause between two checks of the study, in seconds. The pause doubles after each failed export."""
_FINAL_ATTEMPTS = 3


def main(save_dir: Path, status_file: Path) -> int:
    """Export a study until the run asks for the final export. Return 0 if MLflow then has all parts of the study, else 1."""
    ignore_signals_of_the_group()
    if hasattr(os, "nice"):
        os.nice(10)
    target = Target(**json.loads(sys.stdin.readline()))
    finishing = threading.Event()
    threading.Thread(target=_listen, args=(finishing,), daemon=True).start()
    with run_log(save_dir, "tracking: "):
        try:
            with FileLock(save_dir / LOCK_FILE, timeout=1):
                exported = _export(save_dir, target, status_file, finishing)
                (save_dir / LOCK_FILE).unlink(missing_ok=True)
                return 0 if exported else 1
        except Timeout:
            error = f"another process exports {save_dir} to MLflow now; wait until it has ended"
        except HyperoptError as found:
            error = str(found)
        except Exception:
            log.exception("the export to MLflow failed")
            raise  # the run reports the last line of the traceback
        SyncStatus(error=error).write(status_file)
        return 1


def _export(save_dir: Path, target: Target, status_file: Path, finishing: threading.Event) -> bool:
    from cnn_lstm_hyperopt.tracking.export import Exporter  # MLflow takes seconds to import

    with contextlib.closing(Exporter(save_dir, target, status_file)) as exporter:
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
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
