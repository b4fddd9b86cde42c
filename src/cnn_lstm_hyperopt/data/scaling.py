"""Standardisation of features with the mean and deviation of training rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLIP = 10.0
"""Scaled features lie within ±10: a single freak bar must not swamp a network."""


@dataclass(frozen=True)
class Scaler:
    """(x − mean) / std per feature, clipped at ±10.

    Attributes:
        mean: (features,) of the training rows.
        std: (features,) population standard deviation; 1 where a feature is constant.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(cls, rows: NDArray[np.float64]) -> "Scaler":
        """Mean and deviation of ``rows`` (bars, features), which must be bars of training windows only."""
        mean, std = rows.mean(axis=0), rows.std(axis=0)
        constant = std <= 1e-12 * np.maximum(1.0, np.abs(mean))
        return cls(tuple(mean.tolist()), tuple(np.where(constant, 1.0, std).tolist()))

    def transform(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scaled rows, (bars, features); NaN stays NaN."""
        scaled: NDArray[np.float64] = np.clip((rows - np.array(self.mean)) / np.array(self.std), -CLIP, CLIP)
        return scaled

    def as_dict(self) -> dict[str, list[float]]:
        """For JSON."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Scaler":
        """The inverse of :meth:`as_dict`."""
        return cls(tuple(float(x) for x in values["mean"]), tuple(float(x) for x in values["std"]))
