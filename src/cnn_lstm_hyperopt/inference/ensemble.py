"""Ensembles: weighted averages of the predictions of models, or logarithmic pools (:mod:`cnn_lstm_hyperopt.evaluation.stacking`).

Source of the greedy selection: Caruana, Niculescu-Mizil, Crew and Ksikes 2004, "Ensemble Selection from Libraries of Models",
ICML: forward selection with replacement that starts with the best single model.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, field_validator, model_validator

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation.stacking import log_pool
from cnn_lstm_hyperopt.inference.conformal import CONFORMAL, Conformal
from cnn_lstm_hyperopt.inference.metadata import Features, ModelDescription, legible
from cnn_lstm_hyperopt.inference.predictor import Predictor
from cnn_lstm_hyperopt.inference.stored_form import FormError, StoredForm
from cnn_lstm_hyperopt.inference.temperature import scaled, stored
from cnn_lstm_hyperopt.metrics.log_loss import MIN_PROBABILITY
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.run_dir.paths import ENSEMBLE_FILE
from cnn_lstm_hyperopt.training import Predictions
from cnn_lstm_hyperopt.utils.atomic_io import write_json
from cnn_lstm_hyperopt.utils.text import shown

FORMAT = 1
ROUNDS = 20
"""Maximum number of selections. A model may be selected several times. Each selection adds at least 1/20 to its weight."""
_MAX_MEMBERS, _MAX_VALUE_WEIGHT = 1_000, 100.0
_FOLDER = re.compile(r"member_[1-9]\d{0,3}")
"""Pattern of the folder names of members, which matches only folders inside the ensemble's folder."""

Pooling = Literal["linear", "logarithmic"]
LINEAR: Pooling = "linear"
"""The probabilities of several networks are combined as their weighted mean."""
LOGARITHMIC: Pooling = "logarithmic"
"""The probabilities of several networks are combined as the softmax of the weighted sum of their logarithms."""

Score = Callable[[NDArray[np.int64], NDArray[np.floating]], float]
"""Function of labels (windows,) and probabilities (windows, classes) that returns a score.

Higher is better; NaN means undefined.
"""


def select(
    probabilities: NDArray[np.floating], labels: NDArray[np.int64], score: Score, rounds: int = ROUNDS
) -> NDArray[np.float64]:
    """Return weights of models whose weighted mean of predictions scores at least as well as the best single model.

    Each round adds one model to the mean: the model with which the mean has the best score. A model may be added again. If
    models give equal scores, the lower log loss decides, then the order of the models. The result is the mean after the round
    with the best score. If rounds have equal scores, the first is used.

    Args:
        probabilities: ``(models, windows, classes)`` class probabilities of each model; no dimension is empty.
        labels: ``(windows,)`` true classes.
        score: the score to maximise.
        rounds: maximum number of selections, ≥ 1.

    Returns:
        ``(models,)`` weights: the share of all selections in which each model was selected. The weights add up to 1.
    """

    def merit(mean: NDArray[np.float64]) -> tuple[float, float]:
        """Return the score and the mean log likelihood of a mean of probabilities."""
        found = float(score(labels, mean))
        likelihoods = np.maximum(mean[np.arange(len(labels)), labels], MIN_PROBABILITY)
        return (-math.inf if math.isnan(found) else found), float(np.log(likelihoods).mean())

    total = np.zeros(probabilities.shape[1:])
    selected: list[int] = []
    best, kept = (-math.inf, -math.inf), 0
    for count in range(1, rounds + 1):
        merits = [merit((total + each) / count) for each in probabilities]
        place = max(range(len(merits)), key=merits.__getitem__)  # of equal scores, the first
        selected.append(place)
        total = total + probabilities[place]
        if merits[place] > best:
            best, kept = merits[place], count
    kept = max(kept, 1)
    weights: NDArray[np.float64] = np.bincount(selected[:kept], minlength=len(probabilities)) / kept
    return weights


def mean_of(predictions: Sequence[Predictions], weights: Sequence[float]) -> Predictions:
    """Return the weighted mean of predictions, summed in float64 in the given order.

    A single prediction is returned unchanged.
    """
    if len(predictions) == 1:
        return predictions[0]
    values = [each.values for each in predictions if each.values is not None]
    return Predictions(
        _weighted([each.probabilities for each in predictions], weights),
        _weighted(values, weights) if len(values) == len(predictions) else None,
        predictions[0].decision_weights,
    )


def pool_of(
    predictions: Sequence[Predictions], weights: Sequence[float], value_weights: Sequence[float], value_mean: float
) -> Predictions:
    """Return the logarithmic pool of predictions, with the weighted sum of the values' distances from their mean.

    Args:
        predictions: predictions of each model.
        weights: weight of each model's log probabilities.
        value_weights: weight of each model's values, which need not add up to 1; empty without values.
        value_mean: mean of the target over the training windows, in the target's units.
    """
    first = predictions[0]
    probabilities = log_pool([each.probabilities for each in predictions], weights).astype(np.float32)
    if not value_weights:
        return Predictions(probabilities, None, first.decision_weights)
    values = [each.values.astype(np.float64) - value_mean for each in predictions if each.values is not None]
    total = sum(weight * each for weight, each in zip(value_weights, values, strict=True)) + value_mean
    return Predictions(probabilities, np.asarray(total, dtype=np.float32), first.decision_weights)


def _weighted(parts: Sequence[NDArray[np.float32]], weights: Sequence[float]) -> NDArray[np.float32]:
    total = np.zeros(parts[0].shape)
    for part, weight in zip(parts, weights, strict=True):
        total += weight * part
    return total.astype(np.float32)


@dataclass(frozen=True)
class Member:
    """Member of an ensemble: a model and its weight.

    Attributes:
        model: the model of the member.
        weight: weight of the model's predictions, above 0.
        model_rank: rank of the finalist whose configuration the model has; None for a baseline.
        trial_number: number of the finalist's trial; None for a baseline.
        seed: seed with which the model was trained; None for a baseline.
        baseline: name of the baseline that the model is; None for a finalist's model.
        value_weight: weight of the model's values in a logarithmic pool; None: values have the weight ``weight``.
    """

    model: Predictor
    weight: float
    model_rank: int | None = None
    trial_number: int | None = None
    seed: int | None = None
    baseline: str | None = None
    value_weight: float | None = None

    @property
    def origin(self) -> dict[str, Any]:
        """Facts that identify the model, for JSON files."""
        if self.baseline is not None:
            return {"baseline": self.baseline}
        return {"model_rank": self.model_rank, "trial_number": self.trial_number, "seed": self.seed}


@dataclass(frozen=True, repr=False)
class Ensemble(Predictor):
    """Ensemble of models with the same inputs and target. The ensemble predicts the weighted mean of the models' predictions.

    With the pooling :data:`.LOGARITHMIC`, the probabilities are the softmax of the weighted sum of log probabilities, and the
    values have their own weights.

    Attributes:
        members: members of the ensemble, at least one; their weights add up to 1.
        pooling: how probabilities are combined.
        features, conformal, temperature: see :class:`.Predictor`.
        description: description of the first member. The descriptions of other members differ only in ``params``.
    """

    members: tuple[Member, ...]
    features: Features | None = field(default=None, repr=False, compare=False)
    conformal: Conformal | None = None
    temperature: float = 1.0
    pooling: Pooling = LINEAR
    description: ModelDescription = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "description", self.members[0].model.description)

    def parts(self) -> tuple[tuple[Network, float], ...]:
        """Return the networks of the members with their weights."""
        return tuple((network, weight * each.weight) for each in self.members for network, weight in each.model.parts())

    def value_weights(self) -> list[float]:
        """Return the weights of the members' values in a logarithmic pool; empty without values."""
        return [each.value_weight for each in self.members if each.value_weight is not None]

    def combined(self, predictions: Sequence[Predictions]) -> Predictions:
        """Return the predictions of the ensemble before temperature scaling, from the predictions of each member."""
        weights = [each.weight for each in self.members]
        if self.pooling == LINEAR:
            return mean_of(predictions, weights)
        value_weights = self.value_weights()
        mean = self.description.value_scale.mean if value_weights else 0.0
        return pool_of(predictions, weights, value_weights, mean)

    def predict_windows(self, windows: Windows) -> Predictions:
        """Return the combined predictions of the members; see :meth:`.Predictor.predict_windows`."""
        predictions = [each.model.predict_windows(windows) for each in self.members]
        return scaled(self.combined(predictions), self.temperature)

    def save(self, folder: Path) -> None:
        """Write ``ensemble.json`` and a folder for each member into ``folder``. Create ``folder`` if it is missing."""
        folder.mkdir(parents=True, exist_ok=True)
        entries = []
        for number, each in enumerate(self.members, start=1):
            name = f"member_{number}"
            each.model.save(folder / name)
            values = {} if each.value_weight is None else {"value_weight": each.value_weight}
            entries.append({"folder": name, "weight": each.weight, **values, **each.origin})
        sets = {} if self.conformal is None else {CONFORMAL: asdict(self.conformal)}
        pooling = {} if self.pooling == LINEAR else {"pooling": self.pooling}
        content = {"format": FORMAT, "members": entries, **pooling, **stored(self.temperature), **sets}
        write_json(folder / ENSEMBLE_FILE, content)


class StoredMember(StoredForm):
    """Entry of a member in ``ensemble.json``."""

    folder: str
    weight: float = Field(gt=0, le=1)
    value_weight: float | None = Field(None, ge=0, le=_MAX_VALUE_WEIGHT)
    model_rank: int | None = Field(None, ge=1, le=1_000_000)
    trial_number: int | None = Field(None, ge=0, le=1_000_000_000)
    seed: int | None = Field(None, ge=0, le=1_000_000_000)
    baseline: Annotated[str, Field(max_length=200), AfterValidator(legible)] | None = None

    @field_validator("folder")
    @classmethod
    def _inside_the_ensemble(cls, value: str) -> str:
        if _FOLDER.fullmatch(value) is None:
            raise ValueError(
                f"must be a folder inside the ensemble, named member_1, member_2, …, but got {shown(value)}"
            )
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> "StoredMember":
        known = [each is not None for each in (self.model_rank, self.trial_number, self.seed)]
        if all(known) if self.baseline is None else not any(known):
            return self
        raise ValueError("baseline must be given, or else model_rank, trial_number and seed, but not both")


class StoredEnsemble(StoredForm):
    """``ensemble.json``."""

    format: Literal[1]
    members: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=_MAX_MEMBERS)]
    pooling: Pooling = LINEAR


def stored_members(raw: Any) -> tuple[list[StoredMember], Pooling]:
    """Return the entries of the members in ``ensemble.json``, and how their probabilities are combined.

    Raises:
        FormError: the content is invalid. The text has a line for each error.
    """
    if not isinstance(raw, dict):
        raise FormError(f"it must be an ensemble, but is {shown(raw)}", "", "not-a-mapping")
    if raw.get("format") != FORMAT:
        text = f"format must be {FORMAT}, which this version reads, but got {shown(raw.get('format'))}"
        raise FormError(text, "format", "unknown-format")
    whole = StoredEnsemble.read(raw)
    entries = whole.members
    members = [StoredMember.read(each, f"members.{number}: ") for number, each in enumerate(entries)]
    names = [each.folder for each in members]
    if len(set(names)) < len(names):
        raise FormError(f"members must have different folders, but got {shown(names)}", "members", "shared-folder")
    total = sum(each.weight for each in members)
    if abs(total - 1) > 1e-6:
        text = f"members must have weights that add up to 1, but they add up to {total:.6g}"
        raise FormError(text, "members", "weight-sum")
    with_values = sum(each.value_weight is not None for each in members)
    if with_values not in ((0, len(members)) if whole.pooling == LOGARITHMIC else (0,)):
        text = f"members must have a value_weight only with the pooling {LOGARITHMIC}, and then all or none of them"
        raise FormError(text, "members", "value-weights")
    return members, whole.pooling


def difference(first: ModelDescription, other: ModelDescription) -> str | None:
    """Return the first difference between two model descriptions that makes a mean of predictions meaningless, if any."""
    one, two = first.as_dict(), other.as_dict()
    return next((name for name in one if name != "params" and one[name] != two[name]), None)
