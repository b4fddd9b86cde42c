"""A user's baseline: fit and forecasts in a process of their own, with a time limit."""

import json
import sys
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.evaluation.baselines.base import Floats
from cnn_lstm_hyperopt.evaluation.baselines.own_model import (
    ANSWER,
    ARRAYS,
    PARTS,
    PROBABILITIES,
    REQUEST,
    SETTING,
    VALUES,
    baseline_error,
)
from cnn_lstm_hyperopt.evaluation.baselines.own_windows import BaselineWindows
from cnn_lstm_hyperopt.utils.bounded_process import ended_text, run_bounded


@dataclass(frozen=True, eq=False)
class OwnForecast:
    """Forecasts of a user's baseline.

    Attributes:
        probabilities: ``(windows, classes)``; each row sums to 1.
        values: ``(windows,)`` forecasts of the regression target; None: the baseline has none.
    """

    probabilities: Floats
    values: Floats | None


def own_forecast(
    reference: str,
    train: BaselineWindows,
    validation: BaselineWindows,
    test: BaselineWindows,
    *,
    seconds: float,
    check: bool = False,
) -> OwnForecast:
    """Fit a user's baseline on training windows, and return its forecasts for test windows.

    Args:
        reference: name of the function, as ``module:function``.
        train, validation: windows with labels.
        test: windows to forecast, without labels and values.
        seconds: time limit of the fit and the forecasts together.
        check: True if a forecast is to be compared with a second forecast of fewer windows.

    Raises:
        DataError: the function can't be loaded, raises an error, takes too long, ends its process, or returns something else
            than class probabilities.
        KeyboardInterrupt: Ctrl-C or SIGTERM ended the call.
    """
    if test.labels is not None or test.values is not None:
        raise ValueError("test windows of a user's baseline must have no labels and no values")
    with tempfile.TemporaryDirectory(prefix="cnn-lstm-hyperopt-") as name:
        folder = Path(name)
        _write_request(folder, reference, dict(zip(PARTS, (train, validation, test), strict=True)), check=check)
        code = run_bounded("cnn_lstm_hyperopt.evaluation.baselines.own_process", folder, seconds)
        if code is None:
            text = (
                f"took longer than {seconds:g} s, so it was ended; make it faster, or raise evaluation.baseline_seconds"
            )
            raise baseline_error(reference, text, "too-long")
        if code or not (folder / ANSWER).exists():
            text = f"ends the process that calls it ({ended_text(code)}); it must return a model, or raise an error"
            raise baseline_error(reference, text, "process-ended")
        answer = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
        if "error" in answer:
            raise DataError(answer["error"], field=SETTING, code=answer["code"])
        if "interrupted" in answer:
            raise KeyboardInterrupt
        values = np.load(folder / VALUES) if answer["has_values"] else None
        return OwnForecast(np.load(folder / PROBABILITIES), values)


def _write_request(folder: Path, reference: str, parts: dict[str, BaselineWindows], *, check: bool) -> None:
    """Write the arrays of all windows and the request into the folder. An array that several parts share is written once."""
    written: dict[int, str] = {}
    files: dict[str, dict[str, str]] = {part: {} for part in parts}
    for part, windows in parts.items():
        for name in ARRAYS:
            array = getattr(windows, name)
            if array is None:
                continue
            if id(array) not in written:
                written[id(array)] = f"{part}{name}.npy"
                np.save(folder / written[id(array)], array)
            files[part][name] = written[id(array)]
    facts: dict[str, Any] = {
        each.name: getattr(parts["train"], each.name) for each in fields(BaselineWindows) if each.name not in ARRAYS
    }
    request = {"reference": reference, "path": sys.path, "check": check, "facts": facts, "files": files}
    (folder / REQUEST).write_text(json.dumps(request), encoding="utf-8")
