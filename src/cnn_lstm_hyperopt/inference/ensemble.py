"""Several models as one: chosen greedily on validation, averaged with weights, and on disk a folder of its own.

Ensemble selection as of Caruana, Niculescu-Mizil, Crew and Ksikes 2004 ("Ensemble Selection from Libraries of Models", ICML):
forward, with replacement, begun with the best single model.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.inference.metadata import Features, ModelDescription
from cnn_lstm_hyperopt.inference.predictor import Predictor
from cnn_lstm_hyperopt.inference.stored_form import FormError, StoredForm
from cnn_lstm_hyperopt.metrics.log_loss import LEAST_PROBABILITY
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.run_dir.paths import ENSEMBLE_FILE
from cnn_lstm_hyperopt.training import Predictions
from cnn_lstm_hyperopt.utils.atomic_io import write_json
from cnn_lstm_hyperopt.utils.text import shown

FORMAT = 1
ROUNDS = 20
"""Models that are taken at most, the same one again and again among them: weights are twentieths, or larger parts."""
_MOST_MEMBERS = 1_000
_FOLDER = re.compile(r"member_[1-9]\d{0,3}")
"""Folders of members lie within the ensemble's and have such names, so that no file can lead elsewhere."""

Score = Callable[[NDArray[np.int64], NDArray[np.floating]], float]
"""``(labels (windows,), probabilities (windows, classes)) → score``, more is better; NaN where it is not defined."""


def select(
    probabilities: NDArray[np.floating], labels: NDArray[np.int64], score: Score, rounds: int = ROUNDS
) -> NDArray[np.float64]:
    """Weights of models whose weighted mean scores at least as well on these windows as the best of them alone.

    Begun with the best single model, the model is added (again, perhaps) with which the mean scores best, ``rounds`` in all; of
    the means on the way the best is kept, of equal ones the first. What scores alike is told apart by its log loss, then by the
    order of the models.

    Args:
        probabilities: ``(models, windows, classes)``, at least one of each.
        labels: ``(windows,)``.
        score: that is to be maximised.
        rounds: models that are taken at most, ≥ 1.

    Returns:
        ``(models,)`` shares of what was taken, which add up to 1.
    """

    def merit(mean: NDArray[np.float64]) -> tuple[float, float]:
        """What is better is larger."""
        found = float(score(labels, mean))
        happened = np.maximum(mean[np.arange(len(labels)), labels], LEAST_PROBABILITY)
        return (-math.inf if math.isnan(found) else found), float(np.log(happened).mean())

    total = np.zeros(probabilities.shape[1:])
    taken: list[int] = []
    best, kept = (-math.inf, -math.inf), 0
    for count in range(1, rounds + 1):
        merits = [merit((total + each) / count) for each in probabilities]
        place = max(range(len(merits)), key=merits.__getitem__)  # of equal ones the first
        taken.append(place)
        total = total + probabilities[place]
        if merits[place] > best:
            best, kept = merits[place], count
    kept = max(kept, 1)
    weights: NDArray[np.float64] = np.bincount(taken[:kept], minlength=len(probabilities)) / kept
    return weights


def mean_of(said: Sequence[Predictions], weights: Sequence[float]) -> Predictions:
    """Weighted means of probabilities and of values, summed in float64 in that order; of one model what it says."""
    if len(said) == 1:
        return said[0]
    values = [each.values for each in said if each.values is not None]
    return Predictions(
        _weighted([each.probabilities for each in said], weights),
        _weighted(values, weights) if len(values) == len(said) else None,
    )


def _weighted(parts: Sequence[NDArray[np.float32]], weights: Sequence[float]) -> NDArray[np.float32]:
    total = np.zeros(parts[0].shape)
    for part, weight in zip(parts, weights, strict=True):
        total += weight * part
    return total.astype(np.float32)


@dataclass(frozen=True)
class Member:
    """A model of an ensemble.

    Attributes:
        model: what it predicts with.
        weight: of its predictions, above 0.
        model_rank: of the finalist whose configuration it has.
        trial_number: of that finalist.
        seed: that it was trained with.
    """

    model: Predictor
    weight: float
    model_rank: int
    trial_number: int
    seed: int


@dataclass(frozen=True, repr=False)
class Ensemble(Predictor):
    """Models that read the same inputs and answer the same question; it predicts the weighted mean of what they say.

    Attributes:
        members: at least one; their weights add up to 1.
        features: as of any model.
        description: of the first member; those of the others differ in ``params`` alone.
    """

    members: tuple[Member, ...]
    features: Features | None = field(default=None, repr=False, compare=False)
    description: ModelDescription = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "description", self.members[0].model.description)

    def parts(self) -> tuple[tuple[Network, float], ...]:
        """The members' networks."""
        return tuple((network, weight * each.weight) for each in self.members for network, weight in each.model.parts())

    def predict_windows(self, windows: Windows) -> Predictions:
        """See :meth:`.Predictor.predict_windows`."""
        said = [each.model.predict_windows(windows) for each in self.members]
        return mean_of(said, [each.weight for each in self.members])

    def save(self, folder: Path) -> None:
        """Writes ``ensemble.json`` and a folder for each member into ``folder``, which is made if it is missing."""
        folder.mkdir(parents=True, exist_ok=True)
        entries = []
        for number, each in enumerate(self.members, start=1):
            name = f"member_{number}"
            each.model.save(folder / name)
            entries.append(
                {
                    "folder": name,
                    "weight": each.weight,
                    "model_rank": each.model_rank,
                    "trial_number": each.trial_number,
                    "seed": each.seed,
                }
            )
        write_json(folder / ENSEMBLE_FILE, {"format": FORMAT, "members": entries})


class StoredMember(StoredForm):
    """An entry of ``ensemble.json``."""

    folder: str
    weight: float = Field(gt=0, le=1)
    model_rank: int = Field(ge=1, le=1_000_000)
    trial_number: int = Field(ge=0, le=1_000_000_000)
    seed: int = Field(ge=0, le=1_000_000_000)

    @field_validator("folder")
    @classmethod
    def _lies_within(cls, value: str) -> str:
        if _FOLDER.fullmatch(value) is None:
            raise ValueError(
                f"must be a folder of the ensemble's own, named member_1, member_2, …, but got {shown(value)}"
            )
        return value


class StoredEnsemble(StoredForm):
    """``ensemble.json``."""

    format: Literal[1]
    members: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=_MOST_MEMBERS)]


def stored_members(raw: Any) -> list[StoredMember]:
    """What ``ensemble.json`` says of the members.

    Raises:
        ValueError: it is no such file; a line for each fault.
    """
    if not isinstance(raw, dict):
        raise FormError(f"it must hold an ensemble's members, but holds {shown(raw)}", "", "not-a-mapping")
    if raw.get("format") != FORMAT:
        text = f"format must be {FORMAT}, which this version reads, but got {shown(raw.get('format'))}"
        raise FormError(text, "format", "unknown-format")
    entries = StoredEnsemble.read(raw).members
    members = [StoredMember.read(each, f"members.{number}: ") for number, each in enumerate(entries)]
    names = [each.folder for each in members]
    if len(set(names)) < len(names):
        raise FormError(
            f"members must each have a folder of its own, but got {shown(names)}", "members", "shared-folder"
        )
    total = sum(each.weight for each in members)
    if abs(total - 1) > 1e-6:
        text = f"members must have weights that add up to 1, but they add up to {total:.6g}"
        raise FormError(text, "members", "weight-sum")
    return members


def other_than(first: ModelDescription, other: ModelDescription) -> str | None:
    """In what a member differs from the first so that their mean would mean nothing; None: in nothing."""
    one, two = first.as_dict(), other.as_dict()
    return next((name for name in one if name != "params" and one[name] != two[name]), None)
