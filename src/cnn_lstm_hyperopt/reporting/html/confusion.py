"""The confusion matrix of a retrained model on the test set."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

MAX_CLASSES = 20
"""Maximum of classes with a matrix in the page; ``predictions.csv`` has all."""


class Confusion(NamedTuple):
    """Actual classes in rows, predicted ones in columns.

    Attributes:
        names: of the classes.
        counts: windows, a row for each actual class.
    """

    names: list[str]
    counts: list[list[int]]


def confusion(frame: pd.DataFrame | None, names: Sequence[str]) -> Confusion | None:
    """Count the predictions; None without any, and for more than :data:`MAX_CLASSES` classes.

    Args:
        frame: columns ``label`` and ``class``, a row for each window.
        names: of the classes, as far as they are known.
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
