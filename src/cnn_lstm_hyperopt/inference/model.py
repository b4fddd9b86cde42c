"""Models on disk: weights as safetensors, all other facts as JSON. Loading needs no study and unpickles nothing."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.errors import DataError, SaveDirError, Violation
from cnn_lstm_hyperopt.inference.conformal import CONFORMAL, Conformal, StoredConformal
from cnn_lstm_hyperopt.inference.ensemble import LOGARITHMIC, Ensemble, Member, difference, mean_of, stored_members
from cnn_lstm_hyperopt.inference.metadata import Features, ModelDescription
from cnn_lstm_hyperopt.inference.network_files import NETWORKS, WEIGHTS, network_files, stored_seeds
from cnn_lstm_hyperopt.inference.predictor import Predictor
from cnn_lstm_hyperopt.inference.refit import REFIT, Refit, StoredRefit, refit_folder
from cnn_lstm_hyperopt.inference.stored_form import FormError
from cnn_lstm_hyperopt.inference.temperature import StoredTemperature, scaled, stored
from cnn_lstm_hyperopt.inference.versions import ModelVersion, read_history, version_folder
from cnn_lstm_hyperopt.inference.weight_check import weight_errors
from cnn_lstm_hyperopt.models.build import new_network
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.run_dir.paths import ENSEMBLE_FILE, SEEDS, VERSIONS_FILE
from cnn_lstm_hyperopt.training import Predictions, as_predictions, predict
from cnn_lstm_hyperopt.utils.reading import MAX_JSON_BYTES, parse_json, read_text
from cnn_lstm_hyperopt.utils.text import listed, one_line, printable, shown, shown_name

log = logging.getLogger(__name__)

DESCRIPTION = "model.json"
_LONGEST_HEADER = 100_000_000
"""Maximum length of a safetensors header in bytes. A file begins with this length (8 bytes, little-endian), then the header."""


class SeedNetwork(NamedTuple):
    """Network that was trained with one seed."""

    seed: int
    network: Network


@dataclass(frozen=True, repr=False)
class SavedModel(Predictor):
    """Trained networks of one configuration with their description. The model predicts the mean of the networks' predictions.

    Attributes:
        network: the only network, or the network with the lowest validation loss.
        description: architecture, features, scaler and labels.
        features: user's function that computes features; None: the model has no such features, or no function was passed.
        seed: seed of ``network``; 0: unknown.
        others: networks of the same configuration that were trained with other seeds.
        conformal, temperature: see :class:`.Predictor`.
        refit: facts about the final refit; None: the model is no refit.
        version: facts about the version that an update created; None: the model is the first version.
    """

    network: Network
    description: ModelDescription
    features: Features | None = field(default=None, repr=False, compare=False)
    seed: int = 0
    others: tuple[SeedNetwork, ...] = ()
    conformal: Conformal | None = None
    temperature: float = 1.0
    refit: Refit | None = None
    version: ModelVersion | None = None

    def with_seeds(self, seed: int, others: Mapping[int, "SavedModel"]) -> "SavedModel":
        """Return a model that predicts the mean of this model and of models with other seeds.

        This model was trained with ``seed``. The other models have the same configuration; their keys are their seeds.
        """
        return replace(self, seed=seed, others=tuple(SeedNetwork(key, each.network) for key, each in others.items()))

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors``, ``model.json`` and the networks of other seeds. Create ``folder`` if it is missing.

        To replace a model on disk, save into a new folder and then move this folder. So weights and description always match.
        """
        folder.mkdir(parents=True, exist_ok=True)
        content = self.description.as_dict() | stored(self.temperature)
        if self.conformal is not None:
            content[CONFORMAL] = asdict(self.conformal)
        if self.refit is not None:
            content[REFIT] = self.refit.as_dict()
        if self.others:
            (folder / SEEDS).mkdir(exist_ok=True)
            seeds = [self.seed, *(each.seed for each in self.others)]
            files = network_files(seeds)
            content[NETWORKS] = [{"file": file, "seed": seed} for file, seed in zip(files, seeds, strict=True)]
            for file, each in zip(files[1:], self.others, strict=True):
                _save_weights(each.network, folder / file)
        _save_weights(self.network, folder / WEIGHTS)
        text = json.dumps(content, indent=2, allow_nan=False)
        (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")

    def parts(self) -> tuple[tuple[Network, float], ...]:
        """Return the networks of the model with equal weights."""
        networks = (self.network, *(each.network for each in self.others))
        return tuple((network, 1 / len(networks)) for network in networks)

    def predict_windows(self, windows: Windows) -> Predictions:
        """Return the mean of the networks' predictions for scaled windows, with tempered probabilities.

        Raises:
            DataError: a prediction is not finite.
        """
        networks, weights = zip(*self.parts(), strict=True)
        mean = mean_of([self._predictions(network, windows) for network in networks], weights)
        return scaled(mean, self.temperature)

    def _predictions(self, network: Network, windows: Windows) -> Predictions:
        about = self.description
        predictions = as_predictions(*predict(network, windows, about.value_scale))
        if about.decision_weights is not None:
            predictions = replace(predictions, decision_weights=np.array(about.decision_weights))
        finite = np.asarray(np.isfinite(predictions.probabilities).all(axis=1))
        if predictions.values is not None:
            finite &= np.isfinite(predictions.values)
        if not finite.all():
            raise DataError(
                f"predictions must be finite, but {int((~finite).sum()):,} of {len(finite):,} are not:"
                " the windows or the weights have too large numbers; scale the windows as in training, or use another model",
                code="predictions-not-finite",
            )
        return predictions


def _save_weights(network: Network, path: Path) -> None:
    weights = {name: weight.detach().cpu().contiguous() for name, weight in network.state_dict().items()}
    # The function save_file would write a file that only its owner can read.
    path.write_bytes(save(weights))


def load_model(folder: str | Path, features: Features | None = None, *, tested: bool = False) -> SavedModel | Ensemble:
    """Load the model in ``folder``, such as ``retrained_model_1`` or ``ensemble``, on the CPU.

    If updates have created versions, the present version is loaded. Otherwise, if the folder has a final refit, the refit is
    loaded. The log says so in both cases. Code that the folder names is never run.

    Args:
        folder: folder of a model (``model.json``, ``model.safetensors``) or of an ensemble (``ensemble.json``,
            members).
        features: user's function that computes features, such as ``mine.more``. This function is needed if the model was
            trained with such a function; ``predict_bars`` calls the function.
        tested: True to load the tested model even if the folder has a final refit or later versions.

    Raises:
        SaveDirError: a file is missing or invalid.
        DataError: ``features`` is not a function, or it was given although the model was trained without a function.
    """
    if not isinstance(folder, (str, os.PathLike)) or not str(folder):
        raise SaveDirError(
            "folder must be the path of a model's directory, such as hyperopt_results/retrained_model_1, but got"
            f" {shown(folder)}",
            field="folder",
            code="not-a-path",
        )
    folder = Path(folder)
    if not _holds(folder, DESCRIPTION) and _holds(folder, ENSEMBLE_FILE):
        return _load_ensemble(folder, features)
    present = None if tested else read_history(folder).present
    if present is not None:
        return _load_version(folder, present, features)
    place = refit_folder(folder)
    if tested or not _holds(place, DESCRIPTION):
        return _load_single(folder, features)
    if place.is_symlink():
        text = f"{REFIT} is a link, which may point elsewhere; copy the folder itself, or load the tested model"
        raise _refused(folder, REFIT, [text], code="refit-is-link")
    found = _load_single(place, features)
    if found.refit is None:
        text = f"the entry {REFIT} is missing, so this folder is no final refit; load the tested model"
        raise _refused(place, DESCRIPTION, [text], code="no-refit")
    log.info("%s: %s", folder, found.refit.sentence)
    return found


def _load_version(folder: Path, version: ModelVersion, features: Features | None) -> SavedModel:
    place = version_folder(folder, version.version)
    if place.is_symlink() or place.parent.is_symlink():
        text = f"version {version.version} is a link, which may point elsewhere; copy the folder itself, or load the tested model"
        raise _refused(folder, VERSIONS_FILE, [text], code="version-is-link")
    log.info("%s: %s", folder, version.sentence)
    return replace(_load_single(place, features), version=version)


def _holds(folder: Path, name: str) -> bool:
    try:
        return (folder / name).is_file()
    except OSError as error:
        text = f"{_place(folder)} holds no model: it can't be read: {error.strerror or error}"
        raise SaveDirError(text, field="folder", code="unreadable") from error


def _load_ensemble(folder: Path, features: Features | None) -> Ensemble:
    """Load an ensemble. Each member is checked like a model."""
    try:
        raw = parse_json(read_text(folder / ENSEMBLE_FILE, MAX_JSON_BYTES))
        conformal, temperature = StoredConformal.taken_from(raw), StoredTemperature.taken_from(raw)
        entries, pooling = stored_members(raw)
    except ValueError as error:
        raise _form_error(folder, ENSEMBLE_FILE, error) from error
    members: list[Member] = []
    for entry in entries:
        place = folder / entry.folder
        if place.is_symlink():
            text = f"{entry.folder} is a link, which may point elsewhere; copy the folder itself"
            raise _refused(folder, ENSEMBLE_FILE, [text], code="member-is-link")
        model = _load_single(place, None)
        other = None if not members else difference(members[0].model.description, model.description)
        if other is not None:
            text = f"{entry.folder} and {entries[0].folder} must have the same {other}, otherwise their mean is meaningless"
            raise _refused(folder, ENSEMBLE_FILE, [text], code="members-differ")
        if model.temperature != 1.0:
            text = f"{entry.folder} must have no temperature, because the ensemble scales the mean of its members"
            raise _refused(folder, ENSEMBLE_FILE, [text], code="member-scaled")
        if pooling == LOGARITHMIC and model.others:
            text = (
                f"{entry.folder} must have a single network, because the ensemble combines logarithms of probabilities"
            )
            raise _refused(folder, ENSEMBLE_FILE, [text], code="member-has-seeds")
        origin = (entry.model_rank, entry.trial_number, entry.seed, entry.baseline)
        members.append(Member(model, entry.weight, *origin, value_weight=entry.value_weight))
    about = members[0].model.description
    if pooling == LOGARITHMIC and about.has_regression != (entries[0].value_weight is not None):
        text = "members must have a value_weight if they have a regression head, and else none"
        raise _refused(folder, ENSEMBLE_FILE, [text], code="value-weights")
    _check_function(features, about)
    return Ensemble(tuple(members), features, conformal, temperature, pooling)


def _load_single(folder: Path, features: Features | None) -> SavedModel:
    for name in (DESCRIPTION, WEIGHTS):
        if not _holds(folder, name):
            raise SaveDirError(f"{_place(folder)} holds no model: {name} is missing", field=name, code="file-missing")
    try:
        raw = parse_json(read_text(folder / DESCRIPTION, MAX_JSON_BYTES))
        seeds = stored_seeds(raw) or [0]
        conformal, temperature = StoredConformal.taken_from(raw), StoredTemperature.taken_from(raw)
        refit = StoredRefit.taken_from(raw)
        description = ModelDescription.from_dict(raw)
    except ValueError as error:
        raise _form_error(folder, DESCRIPTION, error) from error
    _check_function(features, description)
    first, *others = [_load_network(folder, name, description) for name in network_files(seeds)]
    rest = tuple(map(SeedNetwork, seeds[1:], others))
    return SavedModel(first, description, features, seeds[0], rest, conformal, temperature, refit)


def _load_network(folder: Path, name: str, description: ModelDescription) -> Network:
    """Load one network of a model. ``name`` is the file of the network's weights in ``folder``."""
    if not _holds(folder, name):
        raise SaveDirError(f"{_place(folder)} holds no model: {name} is missing", field=name, code="file-missing")
    with torch.device("meta"):  # a network without memory: the weights may not fit the description
        expected = new_network(description.network_config()).state_dict()
    try:
        with safe_open(folder / name, framework="pt") as file:
            errors = weight_errors(file, expected)
        weights = {} if errors else load_file(folder / name)
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise _not_weights(folder, name, error) from error
    errors = errors or [f"{key} holds NaN or infinity" for key, each in weights.items() if not each.isfinite().all()]
    if errors:
        raise _refused(folder, name, errors, code="weights-differ")
    network = new_network(description.network_config())
    network.load_state_dict(weights)
    network.eval()
    return network


def _place(folder: Path) -> str:
    return printable(str(folder))


def _check_function(features: Any, description: ModelDescription) -> None:
    if features is None:
        return
    if not callable(features):
        cure = "; leave out the quotes" if isinstance(features, str) else ""
        raise DataError(
            f"features must be a function, such as mine.more after import mine, but got {shown(features)}{cure}",
            field="features",
            code="not-a-function",
        )
    if description.feature_function is None:
        name = shown_name(getattr(features, "__qualname__", type(features).__qualname__))
        text = f"features must be left out, because this model has no features of your own, but got {name}"
        raise DataError(text, field="features", code="no-feature-function")


def _refused(
    folder: Path, name: str, errors: Sequence[str], *, code: str = "", violations: Sequence[Violation] = ()
) -> SaveDirError:
    head = f"{_place(folder)} holds no model that this version can read: {name}: "
    text = head + printable(errors[0], 500) if len(errors) == 1 else listed(f"{head}{len(errors)} errors:", errors)
    return SaveDirError(text, field=name, code=code, violations=violations)


def _form_error(folder: Path, name: str, error: ValueError) -> SaveDirError:
    """Return the SaveDirError to raise for an error in a JSON file of a model."""
    violations = error.violations if isinstance(error, FormError) else ()
    return _refused(folder, name, str(error).split("\n"), code="not-json", violations=violations)


def _not_weights(folder: Path, name: str, error: Exception) -> SaveDirError:
    """Return the error to raise for a file that is not a safetensors file.

    The text names the type that the first bytes show.
    """
    try:
        with (folder / name).open("rb") as file:
            start = file.read(9)
    except OSError as fault:
        return _refused(folder, name, [f"it can't be read: {fault.strerror or fault}"], code="unreadable")
    if start[8:] in (b"", b"{") and int.from_bytes(start[:8], "little") <= _LONGEST_HEADER:
        text = f"it is truncated or damaged ({one_line(error)}); copy it again, or save the model again"
        return _refused(folder, name, [text], code="weights-damaged")
    if start.startswith((b"PK", b"\x80")):
        text = (
            "it is a pickle or a torch.save file, which is never loaded because it can run code; save the model again"
        )
        return _refused(folder, name, [text], code="pickle")
    return _refused(folder, name, [f"it is not a safetensors file: {one_line(error)}"], code="not-safetensors")
