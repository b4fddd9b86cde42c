"""A trained model on disk: weights as safetensors, everything else as JSON; no pickle, no study needed."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from cnn_lstm_hyperopt.config import Params, readable, stored
from cnn_lstm_hyperopt.data.bars import normalise_bars
from cnn_lstm_hyperopt.data.dataset import Dataset, frame_windows
from cnn_lstm_hyperopt.data.own_features import BUILT_IN, FeatureSet, load_function
from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.exceptions import DataError, SaveDirError
from cnn_lstm_hyperopt.models import CnnLstm, NetworkConfig
from cnn_lstm_hyperopt.training import Predictions, ValueScale, as_predictions, predict

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
FORMAT = 2
"""Format 1 knew neither the user's features nor the meaning of classes and value; it is read, too."""


@dataclass(frozen=True)
class ModelDescription:
    """What is needed to use the weights.

    Attributes:
        params: the whole configuration.
        class_names: of classes 0, 1, …
        value_name: the formula of the regression's value; None: there is no regression.
        features: names of the inputs, in order.
        feature_columns: those of them that are columns of the bars.
        feature_function: ``module:function`` that makes the last of them; None: there is none.
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

    def feature_set(self) -> FeatureSet:
        """How the inputs are made of bars; imports the user's function.

        Raises:
            DataError: the function can't be imported.
        """
        if self.feature_function is None:
            return FeatureSet(self.feature_columns)
        added = self.features[len(BUILT_IN.names) + len(self.feature_columns) :]
        return FeatureSet(self.feature_columns, load_function(self.feature_function), added)

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
    def from_dict(cls, raw: dict[str, Any]) -> "ModelDescription":
        """Raises KeyError, TypeError, AttributeError or ValueError when ``raw`` is no description."""
        if raw["format"] == 1:
            raw = _from_format_1(raw)
        if raw["format"] != FORMAT:
            raise ValueError(f"format {raw['format']!r}, but this version reads {FORMAT} and 1")
        scale, lookback = raw["value_scale"], int(raw["lookback"])
        if lookback < 1:
            raise ValueError(f"lookback must be at least 1, but is {lookback}")
        return cls(
            params=stored(raw["params"]),
            class_names=_texts(raw["class_names"]),
            value_name=None if raw["value_name"] is None else str(raw["value_name"]),
            features=_texts(raw["features"]),
            feature_columns=_texts(raw["feature_columns"]),
            feature_function=None if raw["feature_function"] is None else str(raw["feature_function"]),
            scaler=None if raw["scaler"] is None else Scaler.from_dict(raw["scaler"]),
            value_scale=ValueScale(**{name: float(value) for name, value in scale.items()}),
            target=str(raw["target"]),
            lookback=lookback,
            horizon=int(raw["horizon"]),
            max_gap_days=float(raw["max_gap_days"]),
        )


def _from_format_1(raw: dict[str, Any]) -> dict[str, Any]:
    return raw | {
        "format": FORMAT,
        "class_names": [f"class {number}" for number in range(int(raw["n_classes"]))],
        "value_name": "value" if raw["has_regression"] else None,
        "feature_columns": [],
        "feature_function": None,
    }


def _texts(raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(each, str) for each in raw):
        raise TypeError(f"names must be a list of texts, but are {raw!r}")
    return tuple(raw)


@dataclass(frozen=True)
class SavedModel:
    """A network that predicts, with its description."""

    network: CnnLstm
    description: ModelDescription

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
        """Predictions for scaled windows."""
        return as_predictions(*predict(self.network, windows, self.description.value_scale))

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
            DataError: the bars are no frame, faulty or too few, the model's function of features can't be imported, or the
                model was trained on a user's own inputs.
        """
        about = self.description
        if about.scaler is None:
            raise DataError(f"this model reads inputs of its own ({', '.join(about.features[:3])}, …), not bars")
        if not isinstance(bars, pd.DataFrame):
            raise DataError(
                f"{symbol}: bars must be a pandas DataFrame with columns date, open, high, low, close, volume, but are"
                f" {type(bars).__name__}; read a file with pandas.read_csv, say"
            )
        inputs = about.feature_set()
        frame = normalise_bars(symbol, bars, "the frame of bars", columns=about.feature_columns).frame
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


def load_model(folder: str | Path) -> SavedModel:
    """The model in ``folder`` (``retrained_model_1``, say), on the CPU.

    Raises:
        SaveDirError: a file is missing or is not what it should be.
    """
    folder = Path(folder)
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise SaveDirError(f"{folder} holds no model: {name} is missing")
    try:
        description = ModelDescription.from_dict(json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")))
        network = CnnLstm(description.network_config())
        network.load_state_dict(load_file(folder / WEIGHTS))
    except KeyError as error:
        raise SaveDirError(f"{folder / DESCRIPTION} lacks or does not know {error}; was it edited?") from error
    except (AttributeError, OSError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise SaveDirError(f"{folder} holds no model that this version can read: {reason}") from error
    network.eval()
    return SavedModel(network, description)


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
