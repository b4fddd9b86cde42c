"""The follower: ``python -m cnn_lstm_hyperopt.tracking SAVE_DIR``, started by a run (``process.py``).

It looks again and again for what is new in the directory and writes it to MLflow. A line on standard input says that the run
comes to its end; the end of that stream, that its process is gone. On standard output it tells, line by line, what is written.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.run_dir.paths import CONFIG_FILE, run_log
from cnn_lstm_hyperopt.tracking.standing import Standing
from cnn_lstm_hyperopt.tracking.target import Target, tracking_target
from cnn_lstm_hyperopt.utils.processes import ignore_signals_of_the_group

log = logging.getLogger("cnn_lstm_hyperopt.tracking")

LOOK_SECONDS, LONGEST_SECONDS = 1.0, 60.0
"""Between two looks; the pause doubles, up to the longest, while the store can't be written to."""
LAST_TRIES = 3
"""To write the rest; the run waits for them no longer than it was told to."""
NICE = 10


def main(arguments: Sequence[str]) -> int:
    """Follows a study until it is asked to end; the exit code is 0 when everything is written."""
    save_dir = Path(arguments[0])
    ignore_signals_of_the_group()
    if hasattr(os, "nice"):
        os.nice(NICE)
    ending = threading.Event()
    threading.Thread(target=_listen, args=(ending,), daemon=True).start()
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print

    last = Standing()

    def tell(standing: Standing) -> None:
        nonlocal last
        last = standing
        try:
            print(standing.line(), file=pipe, flush=True)
        except BrokenPipeError:
            os._exit(1)  # nobody is there any more

    with run_log(save_dir, "tracking: "):
        try:
            target = tracking_target(
                load_settings(save_dir / CONFIG_FILE, {"mlflow": {"enabled": True}}, environment={})
            )
            whole = target is not None and _follow(save_dir, target, ending, tell)
        except Exception as error:  # whatever it is, the run goes on without
            log.exception("the follower ends")
            problem = str(error) if isinstance(error, HyperoptError) else type(error).__name__
            tell(replace(last, problem=problem, whole=False))
            return 1
    return 0 if whole else 1


def _follow(save_dir: Path, target: Target, ending: threading.Event, tell: Callable[[Standing], None]) -> bool:
    """Returns whether everything is written."""
    from cnn_lstm_hyperopt.tracking.following import Following

    following = Following(save_dir, target, tell)
    pause, tries = LOOK_SECONDS, 0
    try:
        while True:
            final = ending.is_set()
            written = following.look(final=final)
            tries += final
            if final and (written or tries == LAST_TRIES):
                return written
            if final:
                time.sleep(LOOK_SECONDS)
            pause = LOOK_SECONDS if written else min(2 * pause, LONGEST_SECONDS)
            ending.wait(pause)
    finally:
        following.close()


def _listen(ending: threading.Event) -> None:
    """Ends with the run: its death, even by kill -9, closes the stream."""
    for _ in sys.stdin:
        ending.set()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
