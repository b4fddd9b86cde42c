"""Process that calls a user's baseline. It never gets the labels and values that are to be forecast.

The command ``python -P … cnn_lstm_hyperopt.evaluation.baselines.own_process FOLDER`` reads the request and the arrays from the
folder, and writes the forecasts or the error into the folder.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnn_lstm_hyperopt.data.own_function import load_callable
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.evaluation.baselines.own_model import (
    ANSWER,
    ARRAYS,
    PARTS,
    PROBABILITIES,
    REQUEST,
    SETTING,
    VALUES,
    OwnModel,
)
from cnn_lstm_hyperopt.evaluation.baselines.own_windows import BaselineWindows
from cnn_lstm_hyperopt.utils.bounded_process import end_with_the_run


def _windows(folder: Path, part: str, request: dict[str, Any]) -> BaselineWindows:
    """Return the windows of one part from the arrays in the folder."""
    given: dict[str, Any] = {}
    for name in ARRAYS:
        path = folder / request["files"][part].get(name, "")
        given[name] = np.load(path) if path.is_file() else None
    for name, fact in request["facts"].items():
        given[name] = tuple(fact) if isinstance(fact, list) else fact
    return BaselineWindows(**given)


def _answer(folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Fit and forecast. Write the forecasts, and return the answer."""
    train, validation, test = (_windows(folder, part, request) for part in PARTS)
    try:
        model = OwnModel(request["reference"], load_callable(request["reference"], SETTING), train, validation)
        if request["check"]:
            model.require_separate(test)
        np.save(folder / PROBABILITIES, model.probabilities(test))
        values = model.values(test)
    except DataError as error:
        return {"error": str(error), "code": error.code}
    except KeyboardInterrupt:
        return {"interrupted": True}
    if values is not None:
        np.save(folder / VALUES, values)
    return {"has_values": values is not None}


def main(arguments: Sequence[str]) -> int:
    """Call the user's baseline that the request in a folder names. Return the exit code of the process."""
    folder = Path(arguments[0])
    request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    sys.path[:] = request["path"]
    end_with_the_run()
    (folder / ANSWER).write_text(json.dumps(_answer(folder, request)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
