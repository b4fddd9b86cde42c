"""Estimators on disk: ``estimator.json``, and a folder with safetensors and JSON for the model of each seed."""

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from cnn_lstm_hyperopt.api.estimators.fitting import Fitted
from cnn_lstm_hyperopt.api.estimators.input_table import COLUMNS
from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.evaluation.temperature import MAX_TEMPERATURE, MIN_TEMPERATURE
from cnn_lstm_hyperopt.inference.model import SavedModel, load_model
from cnn_lstm_hyperopt.inference.stored_form import StoredForm
from cnn_lstm_hyperopt.utils.atomic_io import write_json
from cnn_lstm_hyperopt.utils.reading import MAX_JSON_BYTES, parse_json, read_text
from cnn_lstm_hyperopt.utils.text import one_line

FILE, FORMAT = "estimator.json", 1
_MAX_MODELS = 1_000
_CLASS_KINDS = "biufUO"
"""Kinds of numpy types that the classes of a saved estimator may have; objects must be text."""


class _StoredScaler(StoredForm):
    mean: list[float]
    std: list[Annotated[float, Field(gt=0)]]


class _Stored(StoredForm):
    format: Literal[1]
    estimator: str
    params: dict[str, Any]
    classes: list[str | bool | int | float] | None
    classes_dtype: str | None
    n_features_in: int = Field(ge=1)
    n_timepoints_in: int = Field(ge=2)
    feature_names_in: list[str] | None
    flat: bool
    best_trial: int = Field(ge=0)
    above_chance: bool
    temperature: float = Field(ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE)
    leaderboard: Annotated[list[dict[str, bool | int | float]], Field(min_length=1)]
    inputs: list[dict[str, str | bool | float]] | None = None
    scalers: Annotated[list[_StoredScaler], Field(min_length=1, max_length=_MAX_MODELS)]


def save_estimator(estimator: Any, folder: Path) -> Path:
    """Write a fitted estimator. Return the folder.

    Raises:
        SaveDirError: the folder contains files, or the classes are neither text nor numbers.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        text = f"{folder} must be a new or empty folder, but contains files; name another folder"
        raise SaveDirError(text, field="folder", code="not-empty")
    fitted = estimator._fitted
    classes = getattr(estimator, "classes_", None)
    if classes is not None and not _is_plain(classes):
        text = f"classes must be text, numbers or booleans to be saved, but are {classes.dtype}; fit with another y"
        raise SaveDirError(text, field="classes_", code="classes-not-plain")
    names = getattr(estimator, "feature_names_in_", None)
    folder.mkdir(parents=True, exist_ok=True)
    for number, model in enumerate(fitted.models, start=1):
        model.save(_model_folder(folder, number))
    content = {
        "format": FORMAT,
        "estimator": type(estimator).__name__,
        "params": {name: value for name, value in estimator.get_params(deep=False).items() if _is_json(value)},
        "classes": None if classes is None else classes.tolist(),
        "classes_dtype": None if classes is None else classes.dtype.str,
        "n_features_in": int(estimator.n_features_in_),
        "n_timepoints_in": int(estimator.n_timepoints_in_),
        "feature_names_in": None if names is None else [str(name) for name in names],
        "flat": estimator._flat,
        "best_trial": fitted.best_trial,
        "above_chance": fitted.above_chance,
        "temperature": fitted.temperature,
        "leaderboard": _rows(fitted.board),
        "inputs": None if fitted.inputs is None else _rows(fitted.inputs),
        "scalers": [scaler.as_dict() for scaler in fitted.scalers],
    }
    write_json(folder / FILE, content, make_folder=False)  # last: a folder with this file is complete
    return folder


def load_estimator(kind: Any, folder: Path) -> Any:
    """Return the estimator of the class ``kind`` that :func:`save_estimator` wrote.

    Raises:
        SaveDirError: a file is missing or invalid, or the folder has another estimator.
    """
    path = folder / FILE
    if not path.is_file():
        text = f"{folder} holds no estimator: {FILE} is missing; name the folder that save wrote"
        raise SaveDirError(text, field=FILE, code="file-missing")
    try:
        stored = _Stored.read(parse_json(read_text(path, MAX_JSON_BYTES)))
        classes = None if stored.classes is None else _classes(stored)
    except (ValueError, TypeError) as error:
        text = f"{path} is not what this version writes: {one_line(error, 300)}; save the estimator again"
        raise SaveDirError(text, field=FILE, code="not-json") from error
    if stored.estimator != kind.__name__:
        text = f"{folder} holds a {stored.estimator}, not a {kind.__name__}; load it with {stored.estimator}.load"
        raise SaveDirError(text, field=FILE, code="other-estimator")
    unknown = sorted(set(stored.params) - set(kind().get_params(deep=False)))
    if unknown or (classes is None) != kind._regression:
        wrong = f"unknown parameters {', '.join(unknown)}" if unknown else "classes and estimator do not fit together"
        raise SaveDirError(f"{path}: {wrong}; save the estimator again", field=FILE, code="not-json")
    models = [_load(folder, number) for number in range(1, len(stored.scalers) + 1)]
    estimator = kind(**stored.params)
    estimator.n_features_in_ = stored.n_features_in
    estimator.n_timepoints_in_ = stored.n_timepoints_in
    estimator._flat = stored.flat
    if stored.feature_names_in is not None:
        estimator.feature_names_in_ = np.array(stored.feature_names_in, dtype=object)
    if classes is not None:
        estimator.classes_ = classes
    _check(models, stored, path)
    found = Fitted(
        models=tuple(models),
        scalers=tuple(Scaler(tuple(each.mean), tuple(each.std)) for each in stored.scalers),
        temperature=stored.temperature,
        board=pd.DataFrame(stored.leaderboard),
        best_trial=stored.best_trial,
        above_chance=stored.above_chance,
        inputs=None if stored.inputs is None else pd.DataFrame(stored.inputs, columns=list(COLUMNS)),
    )
    estimator._keep(found)
    return estimator


def _check(models: list[SavedModel], stored: _Stored, path: Path) -> None:
    """Raise SaveDirError unless the models read the windows of the estimator and predict its classes."""
    features = 1 if stored.flat else stored.n_features_in
    expected = (stored.n_timepoints_in, features)
    for model, scaler in zip(models, stored.scalers, strict=True):
        about = model.description
        fits = (about.lookback, len(about.features)) == expected and about.has_regression == (stored.classes is None)
        fits = fits and len(scaler.mean) == len(scaler.std) == features
        if not fits or (stored.classes is not None and about.n_classes != len(stored.classes)):
            text = f"{path}: the models have other windows or classes than {FILE}; save the estimator again"
            raise SaveDirError(text, field=FILE, code="models-differ")


def _load(folder: Path, number: int) -> SavedModel:
    model = load_model(_model_folder(folder, number))
    if not isinstance(model, SavedModel):
        text = f"{_model_folder(folder, number)} holds an ensemble, where a single model should be; save the estimator again"
        raise SaveDirError(text, field=FILE, code="not-a-single-model")
    return model


def _model_folder(folder: Path, number: int) -> Path:
    return folder / f"model_{number}"


def _classes(stored: _Stored) -> Any:
    dtype = np.dtype(str(stored.classes_dtype))
    if dtype.kind not in _CLASS_KINDS:
        raise ValueError(f"classes_dtype must be text, numbers or booleans, but is {dtype}")
    classes = np.array(stored.classes, dtype=dtype)
    if classes.ndim != 1 or len(classes) < 2 or not _is_plain(classes):
        raise ValueError("classes must be a list of at least 2 texts, numbers or booleans")
    return classes


def _is_plain(classes: Any) -> bool:
    if classes.dtype.kind == "O":
        return all(isinstance(each, str) for each in classes)
    return classes.dtype.kind in _CLASS_KINDS


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return [{name: _plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    """Return a value of a table as a Python number. Infinity and NaN, which JSON lacks, become the largest float."""
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, float) and not math.isfinite(plain):
        return math.copysign(1e308, plain)
    return plain
