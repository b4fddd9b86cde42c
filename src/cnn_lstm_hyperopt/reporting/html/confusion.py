"""Confusion matrix of a retrained model on the test set."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

MAX_CLASSES = 20
"""Maximum number of classes for which the page shows a confusion matrix."""


class Confusion(NamedTuple):
    """Confusion matrix (rows: actual classes, columns: predicted classes).

    Attributes:
        names: names of the classes.
        counts: number of windows for each pair of actual class (row) and predicted class (column).
    """

    names: list[str]
    counts: list[list[int]]


def confusion(frame: pd.DataFrame | None, names: Sequence[str]) -> Confusion | None:
    """Return the confusion matrix of a model. Return None without predictions or with more than :data:`MAX_CLASSES` classes.

    Args:
        frame: predictions with the columns ``label`` and ``class`` and a row for each window.
        names: names of the classes. A class without a name is shown by its number.
    """
    if frame is None or frame.empty:
        return None
    n_classes = max(len(names), int(frame[["label", "class"]].to_numpy().max()) + 1)
    if n_classes > MAX_CLASSES:
        return None
    order = range(n_classes)
    table = pd.crosstab(frame["label"], frame["class"]).reindex(index=order, columns=order, fill_value=0)
    shown = [str(names[k]) if k < len(names) else f"class {k}" for k in order]
    return Confusion(shown, table.to_numpy().tolist())
