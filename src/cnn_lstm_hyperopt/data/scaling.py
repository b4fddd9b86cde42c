"""Scaler that standardises features with the mean and the standard deviation of training rows."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.models.inputs import CLIP

_PART = 2**16  # rows scaled at a time


@dataclass(frozen=True)
class Scaler:
    """Scales each feature x to (x − mean) / std, clipped at ±10.

    Attributes:
        mean: (features,) mean of each feature in the training rows.
        std: (features,) population standard deviation of each feature in the training rows; 1 where a feature is constant.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(
        cls, rows: NDArray[np.floating[Any]], chosen: NDArray[np.bool_] | None = None, *, unit: float = 1.0
    ) -> "Scaler":
        """Return a scaler with the mean and the standard deviation of ``rows``, which must be bars of training windows only.

        Args:
            rows: (bars, features) unscaled features.
            chosen: (bars,) mask of the rows to use; None: all rows. A mask avoids a copy of these rows.
            unit: usual size of a feature. A deviation of at most 1e-12 × max(unit, |mean|) is a rounding error of a constant. 0:
                the size is unknown, as with MEG signals in tesla.
        """
        count = len(rows) if chosen is None else int(np.count_nonzero(chosen))
        mean = _sum(rows, chosen, lambda part: part) / count
        std = np.sqrt(_sum(rows, chosen, lambda part: (part - mean) ** 2) / count)
        constant = std <= 1e-12 * np.maximum(unit, np.abs(mean))
        return cls(tuple(mean.tolist()), tuple(np.where(constant, 1.0, std).tolist()))

    def transform(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scaled rows, (bars, features). NaN stays NaN."""
        scaled: NDArray[np.float64] = np.clip((rows - np.array(self.mean)) / np.array(self.std), -CLIP, CLIP)
        return scaled

    def transform_to_float32(
        self, rows: NDArray[np.float64], chosen: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Return the scaled rows as float32. The values are those of :meth:`transform`, computed part by part to save memory.

        Args:
            rows: (bars, features) unscaled features.
            chosen: (bars,) mask of the rows to return; None: all rows.
        """
        count = len(rows) if chosen is None else int(np.count_nonzero(chosen))
        scaled, done = np.empty((count, rows.shape[1]), np.float32), 0
        for part in _parts(len(rows)):
            taken = rows[part] if chosen is None else rows[part][chosen[part]]
            scaled[done : done + len(taken)] = self.transform(taken)
            done += len(taken)
        return scaled

    def as_dict(self) -> dict[str, list[float]]:
        """Return the mean and the standard deviation as lists, for JSON."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Scaler":
        """Return the scaler from the dict that :meth:`as_dict` returned."""
        return cls(tuple(float(x) for x in values["mean"]), tuple(float(x) for x in values["std"]))


def _parts(rows: int) -> Iterator[slice]:
    return (slice(start, start + _PART) for start in range(0, rows, _PART))


def _sum(
    rows: NDArray[np.floating[Any]],
    chosen: NDArray[np.bool_] | None,
    of: Callable[[NDArray[np.floating[Any]]], NDArray[np.floating]],
) -> NDArray[np.float64]:
    """Return the sum of ``of(row)`` over the chosen rows, (features,).

    The order of the additions is that of ``of(rows).sum(axis=0)``.
    """
    total: NDArray[np.float64] = np.empty((0, rows.shape[1]))
    for part in _parts(len(rows)):
        terms = of(rows[part] if chosen is None else rows[part][chosen[part]])
        total = np.concatenate([total, terms]).sum(axis=0, keepdims=True)
    return total.reshape(-1)
