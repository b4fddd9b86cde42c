"""A trained model on disk: weights as safetensors, everything else as JSON; no pickle, no study needed."""

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from cnn_lstm_hyperopt.config import Params, readable, stored
from cnn_lstm_hyperopt.config.faults import explain, is_legible, listed, printable, shown
from cnn_lstm_hyperopt.config.reading import MOST_JSON_BYTES, parse_json, read_text
from cnn_lstm_hyperopt.config.settings import Target
from cnn_lstm_hyperopt.config.space import params_faults
from cnn_lstm_hyperopt.data.bars import normalise_bars
from cnn_lstm_hyperopt.data.columns import LARGEST
from cnn_lstm_hyperopt.data.dataset import Dataset, frame_windows
from cnn_lstm_hyperopt.data.own_features import BUILT_IN, FeatureSet, OwnFunction
from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.data.wording import shown_name, shown_names
from cnn_lstm_hyperopt.exceptions import DataError, SaveDirError
from cnn_lstm_hyperopt.models import CnnLstm, NetworkConfig
from cnn_lstm_hyperopt.training import Predictions, ValueScale, as_predictions, predict

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
FORMAT = 2
"""Format 1 knew neither the user's features nor the meaning of classes and value; it is read, too."""


Features = Callable[[pd.DataFrame], Any]
"""A user's function of more features; ``OwnFunction`` says what it gets and returns."""


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _legible(value: str) -> str:
    if not value or not is_legible(value):
        rule = "without control characters" if value else "and not empty"
        raise ValueError(f"must be text {rule}, but got {shown(value)}")
    return value


def _different(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"must be different from each other, but {shown_names(twice)} stands twice")
    return names


@dataclass(frozen=True)
class ModelDescription:
    """What is needed to use the weights.

    Attributes:
        params: the whole configuration.
        class_names: of classes 0, 1, …
        value_name: the formula of the regression's value; None: there is no regression.
        features: names of the inputs, in order.
        feature_columns: those of them that are columns of the bars.
        feature_function: ``module:function`` that made the last of them in training; None: there is none. It names the
            function to the reader and is never imported.
        scaler: of the features; None: the inputs come scaled.
        value_scale: mean and standard deviation of the regression target in its units.
        target, lookback, horizon, max_gap_days: what the model reads and predicts.
    """

    params: Params
    class_names: tuple[str, ...]
    value_name: str | None
    features: tuple[str, ...]
    scaler: Scaler | None
    value_scale: ValueScale
    target: str
    lookback: int
    horizon: int
    max_gap_days: float
    feature_columns: tuple[str, ...] = ()
    feature_function: str | None = None

    @classmethod
    def of(cls, dataset: Dataset, params: Params, *, max_gap_days: float) -> "ModelDescription":
        """The description of a model that was trained on ``dataset``."""
        inputs = dataset.feature_set or BUILT_IN
        return cls(
            params=params,
            class_names=dataset.class_names,
            value_name=dataset.value_name,
            features=dataset.feature_names,
            feature_columns=inputs.columns,
            feature_function=None if inputs.function is None else inputs.function.reference,
            scaler=dataset.scaler,
            value_scale=ValueScale(dataset.value_mean, dataset.value_std),
            target=dataset.target,
            lookback=dataset.lookback,
            horizon=dataset.horizon,
            max_gap_days=max_gap_days,
        )

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def has_regression(self) -> bool:
        """Whether a value is predicted."""
        return self.value_name is not None

    def feature_set(self, function: Features | None) -> FeatureSet:
        """How the inputs are made of bars.

        Args:
            function: the user's own that makes the last of them.

        Raises:
            DataError: it is needed and was not handed over.
        """
        if self.feature_function is None:
            return FeatureSet(self.feature_columns)
        if function is None:
            raise DataError(
                f"this model reads features that {self.feature_function} makes, and no function runs because a file names it;"
                f" hand it over: load_model(folder, features={self.feature_function.replace(':', '.')})"
            )
        added = self.features[len(BUILT_IN.names) + len(self.feature_columns) :]
        return FeatureSet(self.feature_columns, OwnFunction(self.feature_function, function), added)

    def network_config(self) -> NetworkConfig:
        """The architecture."""
        return NetworkConfig.from_params(
            self.params,
            input_dim=len(self.features),
            n_classes=self.n_classes,
            has_regression=self.has_regression,
        )

    def as_dict(self) -> dict[str, Any]:
        """Strict JSON; :meth:`from_dict` is its inverse."""
        return {
            "format": FORMAT,
            "params": readable(self.params),
            "class_names": list(self.class_names),
            "value_name": self.value_name,
            "features": list(self.features),
            "feature_columns": list(self.feature_columns),
            "feature_function": self.feature_function,
            "scaler": None if self.scaler is None else self.scaler.as_dict(),
            "value_scale": asdict(self.value_scale),
            "target": self.target,
            "lookback": self.lookback,
            "horizon": self.horizon,
            "max_gap_days": self.max_gap_days,
        }

    @classmethod
    def from_dict(cls, raw: Any) -> "ModelDescription":
        """The inverse of :meth:`as_dict`; reads format 1, too.

        Raises:
            ValueError: it is no description, or one of a network that is not possible; a line for each fault.
        """
        if not isinstance(raw, dict):
            raise ValueError(f"it must hold a model's description, but holds {shown(raw)}")
        if raw.get("format") == 1:
            raw = _from_format_1(raw)
        if raw.get("format") != FORMAT:
            raise ValueError(
                f"format must be {FORMAT} or 1, which this version reads, but got {shown(raw.get('format'))}"
            )
        try:
            stored_form = _Stored.model_validate(raw)
        except ValidationError as error:
            raise ValueError("\n".join(explain(error.errors(include_url=False), _Stored))) from error
        return stored_form.description()


_Name = Annotated[str, Field(max_length=200), AfterValidator(_legible)]
_Names = Annotated[tuple[_Name, ...], Field(max_length=10_000), AfterValidator(_different)]
_Numbers = Annotated[tuple[float, ...], Field(max_length=10_000)]
_NETWORK = ("cnn", "lstm", "fusion")
_OF_LOADERS = "y_class"
"""What a model of a user's DataLoaders predicts."""


class _Part(BaseModel):
    """Of the file: no other keys, numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class _StoredScaler(_Part):
    mean: Annotated[_Numbers, BeforeValidator(_as_tuple)]
    std: Annotated[_Numbers, BeforeValidator(_as_tuple)]


class _StoredScale(_Part):
    mean: float
    std: float = Field(gt=0)


class _Stored(_Part):
    """``model.json`` of format 2."""

    format: Literal[2]
    params: dict[str, Any]
    class_names: Annotated[_Names, BeforeValidator(_as_tuple), Field(min_length=2)]
    value_name: _Name | None
    features: Annotated[_Names, BeforeValidator(_as_tuple), Field(min_length=1)]
    feature_columns: Annotated[_Names, BeforeValidator(_as_tuple)]
    feature_function: _Name | None
    scaler: _StoredScaler | None
    value_scale: _StoredScale
    target: _Name
    lookback: int = Field(ge=1, le=10_000)
    horizon: int = Field(ge=1, le=1_000)
    max_gap_days: float = Field(gt=0, le=36_500)

    @field_validator("feature_function")
    @classmethod
    def _names_a_function(cls, value: str | None) -> str | None:
        if value is not None and re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value) is None:
            raise ValueError(f"must be module:function, such as mine:more, but got {shown(value)}")
        return value

    @field_validator("params")
    @classmethod
    def _a_configuration(cls, value: dict[str, Any]) -> dict[str, Any]:
        faults = params_faults(value, _NETWORK)
        if faults:
            raise ValueError("\n".join(f"params.{fault}" for fault in faults))
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "_Stored":
        self._check_scaler()
        self._check_features()
        targets = (_OF_LOADERS,) if self.scaler is None else get_args(Target)
        if self.target not in targets:
            raise ValueError(f"target must be {' or '.join(targets)}, but got {shown(self.target)}")
        return self

    def _check_scaler(self) -> None:
        if self.scaler is not None:
            for name, numbers in (("mean", self.scaler.mean), ("std", self.scaler.std)):
                if len(numbers) != len(self.features):
                    raise ValueError(f"scaler.{name} must have a number for each of {len(self.features)} features")
            if min(self.scaler.std) <= 0:
                raise ValueError(f"scaler.std must be above 0, but got {shown(min(self.scaler.std))}")
            sizes = [abs(each) for each in (*self.scaler.mean, *self.scaler.std)]
            if max(sizes) > LARGEST or min(self.scaler.std) < 1 / LARGEST:
                raise ValueError(f"scaler must hold numbers within {LARGEST:g}, its std {1 / LARGEST:g} or more")

    def _check_features(self) -> None:
        """Those of bars are the eleven, the columns and what the function adds; those of DataLoaders are what they are."""
        made_of_bars = (*BUILT_IN.names, *self.feature_columns)
        if self.scaler is None:
            if self.feature_columns or self.feature_function is not None:
                raise ValueError(
                    "scaler must be there where there are feature_columns or a feature_function, but got nothing"
                )
            return
        if self.features[: len(made_of_bars)] != made_of_bars:
            raise ValueError(
                f"features must begin with {shown_names(made_of_bars)}, but got {shown_names(self.features)}"
            )
        added = self.features[len(made_of_bars) :]
        if added and self.feature_function is None:
            raise ValueError(f"feature_function is missing, which makes {shown_names(added)} of features")
        if not added and self.feature_function is not None:
            raise ValueError(f"features must have one at least that the feature_function {self.feature_function} makes")

    def description(self) -> ModelDescription:
        scaler = None if self.scaler is None else Scaler(self.scaler.mean, self.scaler.std)
        return ModelDescription(
            params=stored(self.params),
            class_names=self.class_names,
            value_name=self.value_name,
            features=self.features,
            feature_columns=self.feature_columns,
            feature_function=self.feature_function,
            scaler=scaler,
            value_scale=ValueScale(self.value_scale.mean, self.value_scale.std),
            target=self.target,
            lookback=self.lookback,
            horizon=self.horizon,
            max_gap_days=self.max_gap_days,
        )


def _from_format_1(raw: dict[str, Any]) -> dict[str, Any]:
    n_classes, has_regression = raw.get("n_classes"), raw.get("has_regression")
    if not isinstance(n_classes, int) or not 2 <= n_classes <= 1_000:
        raise ValueError(f"n_classes must be a whole number from 2 to 1000, but got {shown(n_classes)}")
    kept = {key: value for key, value in raw.items() if key not in ("n_classes", "has_regression")}
    return kept | {
        "format": FORMAT,
        "class_names": [f"class {number}" for number in range(n_classes)],
        "value_name": "value" if has_regression else None,
        "feature_columns": [],
        "feature_function": None,
    }


@dataclass(frozen=True)
class SavedModel:
    """A network that predicts, with its description.

    Attributes:
        network: with its weights.
        description: what is needed to use them.
        features: the user's function of more features; None: there is none, or it was not handed over.
    """

    network: CnnLstm
    description: ModelDescription
    features: Features | None = field(default=None, repr=False, compare=False)

    def save(self, folder: Path) -> None:
        """Writes ``model.safetensors`` and ``model.json`` into ``folder``, which is made if it is missing.

        To replace a model, write another folder and move it: weights and description of two models don't mix.
        """
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: weight.detach().cpu().contiguous() for name, weight in self.network.state_dict().items()}
        # Not save_file: it makes a file that nobody but its owner may read.
        (folder / WEIGHTS).write_bytes(save(weights))
        text = json.dumps(self.description.as_dict(), indent=2, allow_nan=False)
        (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")

    def predict_windows(self, windows: Windows) -> Predictions:
        """Predictions for scaled windows.

        Raises:
            DataError: there are some that are no finite numbers.
        """
        predictions = as_predictions(*predict(self.network, windows, self.description.value_scale))
        finite = np.asarray(np.isfinite(predictions.probabilities).all(axis=1))
        if predictions.values is not None:
            finite &= np.isfinite(predictions.values)
        if not finite.all():
            raise DataError(
                f"predictions must be finite, but {int((~finite).sum()):,} of {len(finite):,} are not:"
                " the windows or the model's weights hold numbers that are too large; scale the windows as in training, or take"
                " another model"
            )
        return predictions

    def predict_bars(self, bars: pd.DataFrame, symbol: str = "bars") -> pd.DataFrame:
        """Predictions for every bar that ends a whole window, as of that bar.

        Args:
            bars: a frame with columns date, open, high, low, close, volume and perhaps adj_close, in any case and order; and
                those of ``description.feature_columns``.
            symbol: names the bars in errors.

        Returns:
            ``date``, ``class``, its ``class_name``, ``probability_0`` … and, with a regression head, ``value`` in the target's
            units (``attrs["value_name"]`` is its formula).

        Raises:
            DataError: the bars are no frame, faulty or too few, the model's function of features was not handed over or breaks
                a rule, the model was trained on a user's own inputs, or predicts what is not finite.
        """
        about, symbol = self.description, shown_name(symbol)
        if about.scaler is None:
            raise DataError(f"this model reads inputs of its own ({', '.join(about.features[:3])}, …), not bars")
        if not isinstance(bars, pd.DataFrame):
            raise DataError(
                f"{symbol}: bars must be a pandas DataFrame with columns date, open, high, low, close, volume, but are"
                f" {type(bars).__name__}; read a file with pandas.read_csv, say"
            )
        inputs = about.feature_set(self.features)
        frame = normalise_bars(symbol, bars, "the frame of bars", columns=about.feature_columns, can_drop=False).frame
        features, ends, dates = frame_windows(frame, about.lookback, about.max_gap_days, inputs, symbol=symbol)
        if not len(ends):
            raise DataError(
                f"{symbol}: {len(frame)} bars hold no whole window of {about.lookback} bars; give more bars"
            )
        predictions = self.predict_windows(
            Windows(
                series=torch.from_numpy(about.scaler.transform_to_float32(features)),
                starts=torch.as_tensor(ends - about.lookback + 1),
                lookback=about.lookback,
                labels=torch.zeros(len(ends), dtype=torch.int64),
                values=None,
                dates=dates,
                symbols=np.full(len(ends), symbol),
            )
        )
        frame = predictions_frame(dates, predictions, about.class_names)
        frame.attrs = {"class_names": list(about.class_names), "value_name": about.value_name}
        return frame


def load_model(folder: str | Path, features: Features | None = None) -> SavedModel:
    """The model in ``folder`` (``retrained_model_1``, say), on the CPU. No program runs because the folder names it.

    Args:
        folder: with ``model.json`` and ``model.safetensors``.
        features: the function that makes the model's features of your own, such as ``mine.more``; it is called by
            ``predict_bars``, which can't do without.

    Raises:
        SaveDirError: a file is missing or is not what it should be.
        DataError: ``features`` is no function, or the model has no use for it.
    """
    if not isinstance(folder, (str, os.PathLike)) or not str(folder):
        raise SaveDirError(
            f"folder must be the path of a model's directory, such as hyperopt_results/retrained_model_1, but got {shown(folder)}"
        )
    folder = Path(folder)
    for name in (DESCRIPTION, WEIGHTS):
        try:
            there = (folder / name).is_file()
        except OSError as error:
            raise SaveDirError(
                f"{_place(folder)} holds no model: it can't be read: {error.strerror or error}"
            ) from error
        if not there:
            raise SaveDirError(f"{_place(folder)} holds no model: {name} is missing")
    try:
        description = ModelDescription.from_dict(parse_json(read_text(folder / DESCRIPTION, MOST_JSON_BYTES)))
    except ValueError as error:
        raise SaveDirError(_refused(folder, DESCRIPTION, str(error).split("\n"))) from error
    _check_function(features, description)
    with torch.device("meta"):  # shapes without memory: the file may not have what its description promises
        expected = CnnLstm(description.network_config()).state_dict()
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            faults = _weight_faults(file, expected)
        weights = {} if faults else load_file(folder / WEIGHTS)
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise SaveDirError(_refused(folder, WEIGHTS, [_not_weights(folder / WEIGHTS, error)])) from error
    faults = faults or [f"{name} holds NaN or infinity" for name, each in weights.items() if not each.isfinite().all()]
    if faults:
        raise SaveDirError(_refused(folder, WEIGHTS, faults))
    network = CnnLstm(description.network_config())
    network.load_state_dict(weights)
    network.eval()
    return SavedModel(network, description, features)


def _place(folder: Path) -> str:
    return printable(str(folder))


def _check_function(features: Any, description: ModelDescription) -> None:
    if features is None:
        return
    if not callable(features):
        cure = "; leave out the quotes" if isinstance(features, str) else ""
        raise DataError(
            f"features must be a function, such as mine.more after import mine, but got {shown(features)}{cure}"
        )
    if description.feature_function is None:
        name = shown_name(getattr(features, "__qualname__", type(features).__qualname__))
        raise DataError(f"features must be left out, for this model has no features of your own, but got {name}")


def _refused(folder: Path, name: str, faults: Sequence[str]) -> str:
    head = f"{_place(folder)} holds no model that this version can read: {name}: "
    return head + printable(faults[0], 500) if len(faults) == 1 else listed(f"{head}{len(faults)} faults:", faults)


def _not_weights(path: Path, error: Exception) -> str:
    """What a file is that holds no safetensors, as far as its first bytes tell."""
    with path.open("rb") as file:
        start = file.read(2)
    if start.startswith((b"PK", b"\x80")):
        return (
            "it is a pickle or a torch.save file, which is never opened here, for it may run code; save the model anew"
        )
    return f"it is no safetensors file: {printable(' '.join(str(error).split()), 200)}"


def _weight_faults(file: Any, expected: Mapping[str, torch.Tensor]) -> list[str]:
    """How the tensors of a file, by their header, differ from those of the network that its description means."""
    there = set(file.keys())
    faults = [f"{name} is missing" for name in expected if name not in there]
    faults += [f"{printable(name, 80)} is no weight of this network" for name in sorted(there - set(expected))]
    for name, tensor in expected.items():
        if name in there:
            part = file.get_slice(name)
            shape, kind = list(part.get_shape()), str(part.get_dtype())
            if shape != list(tensor.shape):
                faults.append(f"{name} must have the shape {list(tensor.shape)}, but has {shown(shape)}")
            if kind != "F32":
                faults.append(f"{name} must hold float32 (F32), but holds {kind}")
    return faults


def predictions_frame(dates: NDArray[Any], predictions: Predictions, class_names: Sequence[str] = ()) -> pd.DataFrame:
    """Predictions by date: ``class``, ``class_name`` where there are names, ``probability_0`` …, ``value``."""
    columns: dict[str, Any] = {"date": dates, "class": predictions.classes}
    if class_names:
        columns["class_name"] = np.array(class_names)[predictions.classes]
    for k in range(predictions.probabilities.shape[1]):
        columns[f"probability_{k}"] = predictions.probabilities[:, k]
    if predictions.values is not None:
        columns["value"] = predictions.values
    return pd.DataFrame(columns)
