"""A trained model on disk: weights as safetensors, everything else as JSON; no pickle, no study needed."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cnn_lstm_hyperopt.config import Params, readable, stored
from cnn_lstm_hyperopt.data.bars import normalise_bars
from cnn_lstm_hyperopt.data.dataset import Dataset, frame_windows
from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.exceptions import DataError, SaveDirError
from cnn_lstm_hyperopt.models import CnnLstm, NetworkConfig
from cnn_lstm_hyperopt.training import Predictions, ValueScale, as_predictions, predict

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
FORMAT = 1


@dataclass(frozen=True)
class ModelDescription:
    """What is needed to use the weights.

    Attributes:
        params: the whole configuration.
        features: names of the inputs, in order.
        scaler: of the features; None: the inputs come scaled.
        value_scale: mean and standard deviation of the regression target in its units.
        target, lookback, horizon, max_gap_days: what the model reads and predicts.
    """

    params: Params
    n_classes: int
    has_regression: bool
    features: tuple[str, ...]
    scaler: Scaler | None
    value_scale: ValueScale
    target: str
    lookback: int
    horizon: int
    max_gap_days: float

    @classmethod
    def of(cls, dataset: Dataset, params: Params, *, max_gap_days: float) -> "ModelDescription":
        """The description of a model that was trained on ``dataset``."""
        return cls(
            params=params,
            n_classes=dataset.n_classes,
            has_regression=dataset.has_regression,
            features=dataset.feature_names,
            scaler=dataset.scaler,
            value_scale=ValueScale(dataset.value_mean, dataset.value_std),
            target=dataset.target,
            lookback=dataset.lookback,
            horizon=dataset.horizon,
            max_gap_days=max_gap_days,
        )

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
            "n_classes": self.n_classes,
            "has_regression": self.has_regression,
            "features": list(self.features),
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
        if raw["format"] != FORMAT:
            raise ValueError(f"format {raw['format']!r}, but this version reads {FORMAT}")
        scale, lookback = raw["value_scale"], int(raw["lookback"])
        if lookback < 1:
            raise ValueError(f"lookback must be at least 1, but is {lookback}")
        return cls(
            params=stored(raw["params"]),
            n_classes=int(raw["n_classes"]),
            has_regression=bool(raw["has_regression"]),
            features=tuple(raw["features"]),
            scaler=None if raw["scaler"] is None else Scaler.from_dict(raw["scaler"]),
            value_scale=ValueScale(**{name: float(value) for name, value in scale.items()}),
            target=str(raw["target"]),
            lookback=lookback,
            horizon=int(raw["horizon"]),
            max_gap_days=float(raw["max_gap_days"]),
        )


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
        save_file(weights, folder / WEIGHTS)
        text = json.dumps(self.description.as_dict(), indent=2, allow_nan=False)
        (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")

    def predict_windows(self, windows: Windows) -> Predictions:
        """Predictions for scaled windows."""
        return as_predictions(*predict(self.network, windows, self.description.value_scale))

    def predict_bars(self, bars: pd.DataFrame, symbol: str = "bars") -> pd.DataFrame:
        """Predictions for every bar that ends a whole window, as of that bar.

        Args:
            bars: a frame with columns date, open, high, low, close, volume and perhaps adj_close, in any case and order.
            symbol: names the bars in errors.

        Returns:
            ``date``, ``class``, ``probability_0`` … and, with a regression head, ``value`` in the target's units.

        Raises:
            DataError: the bars are faulty or too few, or the model was trained on a user's own inputs.
        """
        about = self.description
        if about.scaler is None:
            raise DataError(f"this model reads inputs of its own ({', '.join(about.features[:3])}, …), not bars")
        frame = normalise_bars(symbol, bars, "the frame of bars").frame
        features, ends, dates = frame_windows(frame, about.lookback, about.max_gap_days)
        if not len(ends):
            raise DataError(
                f"{symbol}: {len(frame)} bars hold no whole window of {about.lookback} bars; give more bars"
            )
        predictions = self.predict_windows(
            Windows(
                series=torch.as_tensor(about.scaler.transform(features), dtype=torch.float32),
                starts=torch.as_tensor(ends - about.lookback + 1),
                lookback=about.lookback,
                labels=torch.zeros(len(ends), dtype=torch.int64),
                values=None,
                dates=dates,
                symbols=np.full(len(ends), symbol),
            )
        )
        return predictions_frame(dates, predictions)


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


def predictions_frame(dates: NDArray[Any], predictions: Predictions) -> pd.DataFrame:
    """Predictions by date: ``class``, ``probability_0`` …, ``value``."""
    columns: dict[str, Any] = {"date": dates, "class": predictions.classes}
    for k in range(predictions.probabilities.shape[1]):
        columns[f"probability_{k}"] = predictions.probabilities[:, k]
    if predictions.values is not None:
        columns["value"] = predictions.values
    return pd.DataFrame(columns)
