"""Check of a user's feature function in a process with limited time, memory and number of child processes.

The function may loop forever, fork, use all memory or end its process. None of these may affect the run.

The command ``python -P … cnn_lstm_hyperopt.data.bounded_check FOLDER`` reads the request from the folder and writes the
answer into the folder. The process of this command ends when its standard input closes, because then the run has ended.
"""

import json
import mmap
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.data.bars import Bars
from cnn_lstm_hyperopt.data.own_features import FeatureSet, feature_set, groups_of, longest_segments
from cnn_lstm_hyperopt.data.own_function import load_function
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.bounded_process import (
    RETURNED_TWICE,
    end_group,
    end_with_the_run,
    ended_text,
    has_returned_twice,
    run_bounded,
)
from cnn_lstm_hyperopt.utils.text import shown_name

_REQUEST, _ANSWER, _PROCESSES = "request.json", "answer.json", "processes"
_MAX_PROCESSES = 100
"""Maximum number of processes that the function and its child processes may start during the check."""
_MEMORY_SHARE, _MIN_MEMORY = 0.8, 10**9
"""Limit of additional memory for the check: a share of the memory that is free at the start, and a minimum in bytes."""
_STARTS = ("os.fork", "os.forkpty", "os.posix_spawn", "subprocess.Popen")
"""Audit events that Python raises before it starts a process."""


def checked_feature_set(settings: DataSettings, bars: Sequence[Bars], groups: Sequence[str] = ()) -> FeatureSet:
    """Return the inputs that the settings name. A bounded process first checks the user's function, see :func:`feature_set`.

    Raises:
        DataError: in the same cases as :func:`feature_set`; or the function takes too long, starts too many processes or ends
            the process of the check.
    """
    segments = longest_segments(bars, settings.max_gap_days)
    if settings.features is None or not segments:
        return feature_set(settings, bars, groups)
    added = _check(settings, segments)
    return FeatureSet(settings.feature_columns, load_function(settings.features), tuple(added), groups_of(bars, groups))


def _check(settings: DataSettings, segments: Sequence[tuple[str, pd.DataFrame]]) -> list[str]:
    """Check the user's function in a bounded process. Return the names of its features."""
    with tempfile.TemporaryDirectory(prefix="cnn-lstm-hyperopt-") as name:
        folder = Path(name)
        for number, (_, frame) in enumerate(segments):
            frame.to_parquet(folder / f"{number}.parquet", compression=None)
        request = {
            "settings": settings.model_dump(mode="json"),
            "symbols": [symbol for symbol, _ in segments],
            "path": sys.path,
        }
        (folder / _REQUEST).write_text(json.dumps(request), encoding="utf-8")
        code, problem = _run(folder, settings.features_seconds)
        if (folder / _PROCESSES).exists():
            code, problem = (
                "too-many-processes",
                f"starts more than {_MAX_PROCESSES} processes while it is checked; compute the features in the process that calls"
                " the function",
            )
        if problem:
            text = f"data.features {shown_name(settings.features or '')}: {problem}"
            raise DataError(text, field="data.features", code=code)
        answer = json.loads((folder / _ANSWER).read_text(encoding="utf-8"))
    if "error" in answer:
        raise DataError(answer["error"], field=answer["field"], code=answer["code"])
    if "interrupted" in answer:
        raise KeyboardInterrupt
    return list(answer["added"])


def _run(folder: Path, seconds: float) -> tuple[str, str]:
    """Run the process of the check. Return the code and the text of its error, or empty texts."""
    code = run_bounded("cnn_lstm_hyperopt.data.bounded_check", folder, seconds)
    if code is None:
        return "check-too-long", (
            f"the check took longer than {seconds:g} s, so it was ended; make the function faster, or raise"
            " data.features_seconds"
        )
    if code == RETURNED_TWICE:
        return "returns-twice", (
            "returns in two processes: it calls os.fork(); compute the features in the process that calls the function"
        )
    if code or not (folder / _ANSWER).exists():
        text = f"ends the process that calls it ({ended_text(code)}); it must return a frame, or raise an error"
        return "process-ended", text
    return "", ""


# ---------------------------------------------------------------------- in the bounded process


def main(arguments: Sequence[str]) -> int:
    """Check the user's function that the request in a folder names. Return the exit code of the process."""
    folder = Path(arguments[0])
    request = json.loads((folder / _REQUEST).read_text(encoding="utf-8"))
    sys.path[:] = request["path"]
    settings = DataSettings.model_validate(request["settings"])
    bars = [
        Bars(symbol, pd.read_parquet(folder / f"{number}.parquet"), "none")
        for number, symbol in enumerate(request["symbols"])
    ]
    end_with_the_run()
    _bound_memory()
    _bound_processes(folder)
    answer: dict[str, Any]
    try:
        answer = {"added": feature_set(settings, bars).added}
    except DataError as error:
        answer = {"error": str(error), "field": error.field, "code": error.code}
    except KeyboardInterrupt:
        answer = {"interrupted": True}
    if has_returned_twice():
        return RETURNED_TWICE
    (folder / _ANSWER).write_text(json.dumps(answer), encoding="utf-8")
    return 0


def _bound_memory() -> None:
    """Limit the memory of this process.

    Above the limit Python raises MemoryError, which is reported as an error of the user's function.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    status = Path("/proc/self/statm")
    if not status.exists():  # macOS has no limit of this kind
        return
    page = os.sysconf("SC_PAGE_SIZE")
    now = int(status.read_text(encoding="ascii").split()[0]) * page
    free = os.sysconf("SC_AVPHYS_PAGES") * page
    limit, hard = now + max(_MIN_MEMORY, int(_MEMORY_SHARE * free)), resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _bound_processes(folder: Path) -> None:
    """Count the processes that this process and its descendants start. Kill all of them if there are too many."""
    started = mmap.mmap(-1, 8)

    def count(event: str, _: tuple[Any, ...]) -> None:
        if event not in _STARTS:
            return
        number = int.from_bytes(started[:8], "little") + 1
        started[:8] = number.to_bytes(8, "little")
        if number > _MAX_PROCESSES:
            (folder / _PROCESSES).touch()
            end_group()

    sys.addaudithook(count)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
