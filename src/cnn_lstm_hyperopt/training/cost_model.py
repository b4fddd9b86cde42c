"""Predicted cost of a training, computed from the work of a configuration and the speeds of a device.

For each kind of work, the seconds of a training step are the amount of work times the seconds per unit of work. The duration of
the step is the sum of these seconds (a roofline model without overlap, Williams et al. 2009). The seconds per unit are fitted to
a few timed steps (:mod:`.machine_benchmark`) by non-negative least squares of the *relative* errors.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from cnn_lstm_hyperopt.models import Profile
from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS
from cnn_lstm_hyperopt.training.runtime.precision import Precision

TERMS = (
    "step",
    "parameter",
    "recurrent multiply-add",
    "recurrent weight read",
    "recurrent state",
    "narrow multiply-add",
    "other multiply-add",
    "sequence element",
    "attention score",
    "layer",
    "GRU step",
)
"""Kinds of work of a training step. A speed is the number of seconds per unit of one kind of work."""
EARLIER_TERMS = TERMS[:9]
"""Kinds of work in studies of versions without the architecture ``full``."""


def work(profile: Profile, batch_size: int) -> NDArray[np.float64]:
    """Return the amount of each kind of work (:data:`TERMS`) in one training step, ``(terms,)``."""
    other = profile.multiply_adds - profile.recurrent_multiply_adds - profile.narrow_multiply_adds
    by_window = (
        profile.recurrent_states,
        profile.narrow_multiply_adds,
        other,
        profile.sequence_elements,
        profile.attention_scores,
    )
    return np.array(
        [
            1,
            profile.parameters,
            batch_size * profile.recurrent_multiply_adds,
            profile.recurrent_reads,
            *(batch_size * amount for amount in by_window),
            profile.layers,
            profile.gru_steps,
        ],
        dtype=np.float64,
    )


def fit_speeds(amounts: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the non-negative seconds per unit of each kind of work, ``(terms,)``, with the least sum of squared relative errors.

    Args:
        amounts: ``(steps, terms)`` work of each timed step, see :func:`work`.
        seconds: ``(steps,)`` measured seconds of each step.
    """
    relative = amounts / seconds[:, None]
    scale = np.linalg.norm(relative, axis=0)
    scale[scale == 0] = 1.0
    speeds, _ = nnls(relative / scale, np.ones(len(seconds)))
    return np.asarray(speeds / scale)


@dataclass(frozen=True)
class CostModel:
    """Speeds of a device.

    Attributes:
        device: name of the device, see :func:`.device_name`.
        measured: time of the measurement, in ISO 8601.
        speeds: for each precision that the device supports, the seconds per unit of each kind of work in :data:`TERMS`.
        evaluation: for each precision, the seconds to evaluate a window divided by the seconds to train on a window.
        process_mb: memory of a process between trials, in MB.
        error: median relative error of the predicted seconds over the timed steps.
    """

    device: str
    measured: str
    speeds: Mapping[Precision, tuple[float, ...]]
    evaluation: Mapping[Precision, float]
    process_mb: float
    error: float

    def step_seconds(self, profile: Profile, batch_size: int, precision: Precision) -> float:
        """Return the predicted seconds of one training step."""
        return float(work(profile, batch_size) @ np.array(self.speeds[precision]))

    def faster_precision(self, profile: Profile, batch_size: int) -> Precision:
        """Return the precision in which a training step takes less time; float32 if both take the same time."""
        precisions: Sequence[Precision] = [p for p in ("float32", "bfloat16") if p in self.speeds]
        return min(precisions, key=lambda precision: self.step_seconds(profile, batch_size, precision))

    def evaluation_seconds(self, profile: Profile, batch_size: int, windows: int, precision: Precision) -> float:
        """Return the predicted seconds of one evaluation on ``windows`` windows."""
        return self.evaluation[precision] * windows * self.step_seconds(profile, batch_size, precision) / batch_size

    def as_dict(self) -> dict[str, Any]:
        """Return the cost model as JSON data."""
        return {**asdict(self), "terms": list(TERMS)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "CostModel":
        """Create the cost model from the result of :meth:`as_dict`.

        Speeds of earlier versions have no seconds for the kinds of work that they lack. Their studies have no such work.

        Raises:
            ValueError: the data are not the speeds of a device, or are speeds of other kinds of work.
        """
        if not isinstance(raw, Mapping):
            raise ValueError("it must contain the speeds of a device")
        missing = [each.name for each in fields(cls) if each.name not in raw]
        if missing:
            raise ValueError(f"{', '.join(missing)} is missing")
        if raw.get("terms") not in (list(TERMS), list(EARLIER_TERMS)):
            raise ValueError("it was measured by another version")
        for name in ("device", "measured"):
            if not isinstance(raw[name], str):
                raise ValueError(f"{name} must be text")
        speeds, evaluation = raw["speeds"], raw["evaluation"]
        for name, by_precision in (("speeds", speeds), ("evaluation", evaluation)):
            if (
                not isinstance(by_precision, Mapping)
                or "float32" not in by_precision
                or set(by_precision) - _PRECISIONS
            ):
                raise ValueError(f"{name} must have float32 and may have bfloat16, nothing else")
        if set(speeds) != set(evaluation):
            raise ValueError("speeds and evaluation must have the same precisions")
        count = len(raw["terms"])
        for precision, each in speeds.items():
            if not isinstance(each, (list, tuple)) or len(each) != count or not all(map(_is_amount, each)):
                raise ValueError(f"speeds.{precision} must be {count} finite numbers ≥ 0")
            if not any(each):
                raise ValueError(f"speeds.{precision} must not all be 0")
        for name, number in (("process_mb", raw["process_mb"]), ("error", raw["error"]), *evaluation.items()):
            if not _is_amount(number):
                raise ValueError(f"{name} must be a finite number ≥ 0")
        return cls(
            device=raw["device"],
            measured=raw["measured"],
            speeds={precision: (*each, *[0.0] * (len(TERMS) - count)) for precision, each in speeds.items()},
            evaluation=dict(evaluation),
            process_mb=raw["process_mb"],
            error=raw["error"],
        )


_PRECISIONS = {"float32", "bfloat16"}


def _is_amount(number: Any) -> bool:
    return isinstance(number, (int, float)) and not isinstance(number, bool) and 0 <= number <= sys.float_info.max


SAVED_BYTES = {"float32": 4.0, "bfloat16": 2.0}
BUFFERS_MB, WEIGHT_COPIES, COPIES_OF_EACH = 90.0, 2.0, 1.25
STATE_COPIES, SEQUENCE_COPIES = 13.0, 2.7
"""Constants of :func:`memory_mb` that were fitted to the memory peaks of 60 random configurations.

``benchmarks/cost.py`` prints the errors for other configurations. The constants include copies of the weights in bfloat16, in the
memory layout of the kernels, and during clipping and updating.
"""


def memory_mb(profile: Profile, batch_size: int, optimizer: str, precision: Precision, *, networks: int = 1) -> float:
    """Return the predicted peak memory of a training, in MB (10^6 bytes), without the memory of the process between trials.

    The weights, gradients, optimiser state and best weights of all ``networks`` networks are in memory at the same time. Only
    one network performs a step at a time, so the activations of only one batch are in memory.
    """
    copies = WEIGHT_COPIES + COPIES_OF_EACH * (3 + OPTIMIZERS[optimizer].states)
    others = COPIES_OF_EACH * (networks - 1) * (3 + OPTIMIZERS[optimizer].states)
    activations = STATE_COPIES * profile.recurrent_states + SEQUENCE_COPIES * profile.sequence_elements
    weights = 4 * (copies + others) * profile.parameters
    return BUFFERS_MB + (weights + SAVED_BYTES[precision] * batch_size * activations) / 1e6
