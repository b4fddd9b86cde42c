"""Table of the inputs that an estimator with ``features.select`` examined."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cnn_lstm_hyperopt.models.inputs import flag_of
from cnn_lstm_hyperopt.pipeline.results.input_selection import group_title
from cnn_lstm_hyperopt.space.domains import Scalar

NUMBERS = ("importance", "low", "high", "shadow")
COLUMNS = ("input", *NUMBERS, "recommended", "used")


def input_table(selection: Mapping[str, Any] | None, params: Mapping[str, Scalar]) -> pd.DataFrame | None:
    """Return a row for each group of inputs that can be left out, the most important first; None without a selection.

    Args:
        selection: the entry ``feature_selection`` of ``results.json``.
        params: full configuration of the final networks.

    Returns:
        Columns: ``input``; ``importance``, the increase of the log loss (nats) without the input, with the ends ``low`` and
        ``high`` of its 95 % interval; ``shadow``, the same for a permuted copy; ``recommended``; ``used`` by the final networks.
    """
    if selection is None:
        return None
    optional = [each for each in selection["groups"] if each["optional"]]
    rows = [
        (group_title(each), *(each[name] for name in NUMBERS), each["kept"], params[flag_of(each["group"])])
        for each in sorted(optional, key=lambda each: -each["importance"])
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
