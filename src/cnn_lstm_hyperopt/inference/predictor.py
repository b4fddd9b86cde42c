"""Base class of saved models. Saved models predict from bars of one or several symbols, and from arrays of windows."""

import abc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.bars import normalise_bars
from cnn_lstm_hyperopt.data.features import WARM_UP
from cnn_lstm_hyperopt.data.frequency import duration, step_seconds
from cnn_lstm_hyperopt.data.labels import OwnUnit
from cnn_lstm_hyperopt.data.market_features import FREQUENCIES_APART
from cnn_lstm_hyperopt.data.window_table import frame_windows
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.inference.arrays import checked_rows
from cnn_lstm_hyperopt.inference.conformal import Conformal
from cnn_lstm_hyperopt.inference.market import MarketRows, market_rows, needs_market
from cnn_lstm_hyperopt.inference.metadata import Features, ModelDescription
from cnn_lstm_hyperopt.inference.refit import Refit
from cnn_lstm_hyperopt.inference.versions import ModelVersion
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.training import Predictions
from cnn_lstm_hyperopt.utils.text import shown_name

SYMBOL = "symbol"


class Predictor(abc.ABC):
    """Base class of a model with its description. Subclasses define the computation.

    Attributes:
        description: inputs and outputs.
        features: user's function that computes features; None: the model has no such features, or no function was passed.
        conformal: prediction sets and intervals; None if the model has none.
        temperature: temperature of the probabilities (:mod:`cnn_lstm_hyperopt.evaluation.temperature`); 1: no scaling.
        refit: facts about the final refit; None: the model is no refit.
        version: facts about the version that an update created; None: the model is the first version.
    """

    description: ModelDescription
    features: Features | None
    conformal: Conformal | None = None
    temperature: float = 1.0
    refit: Refit | None = None
    version: ModelVersion | None = None

    def __repr__(self) -> str:
        """Return one line of text about inputs and outputs. The details are in ``description``."""
        about = self.description
        networks = [network for network, _ in self.parts()]
        parameters = sum(weight.numel() for network in networks for weight in network.parameters())
        more = f", networks={len(networks)}" * (len(networks) > 1) + ", refit=True" * (self.refit is not None)
        return (
            f"{type(self).__name__}(target={about.target!r}, lookback={about.lookback}, features={len(about.features)},"
            f" classes={about.n_classes}, regression={about.has_regression}{more}, parameters={parameters:,})"
        )

    @abc.abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model into ``folder``, which is created if it is missing. ``load_model`` reads the folder."""

    @abc.abstractmethod
    def parts(self) -> Sequence[tuple[Network, float]]:
        """Return the model's networks with their weights, which add up to 1."""

    @abc.abstractmethod
    def predict_windows(self, windows: Windows) -> Predictions:
        """Return predictions for scaled windows.

        Raises:
            DataError: a prediction is not finite.
        """

    def predict(self, data: Any) -> pd.DataFrame:
        """Return predictions for bars of one or several symbols, or for windows.

        Args:
            data: a DataFrame, a dict of DataFrames, or an array. A DataFrame has bars as for :meth:`predict_bars`, of several
                symbols if a column or an index is named ``symbol``. A dict has such frames by symbol. An array ``(windows,
                lookback, features)`` has the features that ``description.features`` names. The features in an array are not
                scaled. For a model of DataLoaders, they are scaled as in training.

        Returns:
            A row for each window. The columns are ``symbol`` if known, ``date`` (not for arrays), ``class``, ``class_name``
            and ``probability_0`` …. With a regression head there is also ``value`` in the target's units and, for bars, the
            value in per cent (``range_percent`` or ``change_percent``). ``attrs`` is as for :meth:`predict_bars`.

        Raises:
            DataError: ``data`` has another type, or the bars or numbers are invalid.
        """
        if isinstance(data, pd.DataFrame):
            if SYMBOL in {str(name).lower() for name in data.index.names}:
                data = data.reset_index()
            column = self._symbol_column(data)
            if column is None:
                return self.predict_bars(data)
            return self._predict_symbols(_by_symbol(data, column))
        if isinstance(data, Mapping):
            return self._predict_symbols((shown_name(name), frame) for name, frame in data.items())
        if isinstance(data, (np.ndarray, torch.Tensor)):
            return self._predict_array(data)
        raise DataError(
            "predict needs a pandas DataFrame of bars, a dict of such frames by symbol, or an array (windows, lookback,"
            f" features), but got {type(data).__name__}; for example, read a file with pandas.read_csv",
            field="data",
            code="not-bars",
        )

    def predict_bars(self, bars: pd.DataFrame, symbol: str = "bars") -> pd.DataFrame:
        """Return predictions for every bar that ends a full window.

        Args:
            bars: a frame with the columns date, open, high, low, close, volume, optionally adj_close, and the columns in
                ``description.feature_columns``. Names may be in upper or lower case, and columns in any order.
            symbol: name of the bars, for the text of errors.

        Returns:
            A frame with the columns ``date``, ``class``, ``class_name`` and ``probability_0`` …. With a regression head there
            is also ``value`` in the target's units, and the value in per cent: ``range_percent`` (how far the high is above
            the low) or ``change_percent`` (change of the close). ``attrs["value_name"]`` is the formula of ``value``. If the
            model has prediction sets, the last columns are ``set_0`` …, which are 1 if the class is in the set, else 0. With
            a regression head there are also ``value_low`` and ``value_high``, and both in per cent.

        Raises:
            DataError: the bars are not a frame, invalid, too few or of another frequency than in training. Or the model needs
                the bars of several symbols. Or the user's
                function is missing or violates a rule. Or the model was trained on DataLoaders, or a prediction is not
                finite.
        """
        frame = self._checked(bars, symbol)
        return self.predict_frame(frame, shown_name(symbol), market=self.market({symbol: frame}).get(symbol))

    def _checked(self, bars: Any, symbol: str) -> pd.DataFrame:
        """Return checked bars of one symbol; see :meth:`predict_bars` for the errors."""
        self.require_bars()
        symbol = shown_name(symbol)
        if not isinstance(bars, pd.DataFrame):
            raise DataError(
                f"{symbol}: bars must be a pandas DataFrame with columns date, open, high, low, close, volume, but are"
                f" {type(bars).__name__}; for example, read a file with pandas.read_csv",
                field="bars",
                code="not-bars",
            )
        self.description.feature_set(self.features)  # a missing function is reported first
        columns = self.description.feature_columns
        return normalise_bars(symbol, bars, "the frame of bars", columns=columns, can_drop=False).frame

    def market(self, frames: Mapping[str, pd.DataFrame]) -> MarketRows:
        """Return the features of the market for checked bars by symbol, see :func:`.market_rows`."""
        return market_rows(frames, self.description, [network.config for network, _ in self.parts()])

    def require_bars(self) -> None:
        """Raise DataError unless the model was trained on bars.

        Raises:
            DataError: the model was trained on DataLoaders.
        """
        if self.description.scaler is None:
            text = f"this model reads inputs of DataLoaders ({', '.join(self.description.features[:3])}, …), not bars"
            raise DataError(text, field="bars", code="model-reads-no-bars")

    def predict_frame(
        self,
        frame: pd.DataFrame,
        symbol: str,
        last: int | None = None,
        market: NDArray[np.float64] | None = None,
    ) -> pd.DataFrame:
        """Return the predictions of :meth:`predict_bars` for a checked frame of :class:`~cnn_lstm_hyperopt.data.bars.Bars`.

        Args:
            frame: (bars,) bars of one symbol.
            symbol: name of the bars, for the text of errors.
            last: number of newest windows to predict; None: all windows.
            market: features of the market at these bars, from :meth:`market`; None: the model's windows do not have them.
        """
        about = self.description
        if about.scaler is None:
            self.require_bars()
            raise RuntimeError("a model of bars has a scaler")
        inputs = about.feature_set(self.features)
        self.require_frequency(frame, symbol)
        features, ends, dates = frame_windows(
            frame, about.lookback, about.max_gap_days, inputs, symbol=symbol, market=market
        )
        if not len(ends):
            raise DataError(
                f"{symbol}: {len(frame)} bars contain no full window of {about.lookback} bars; give at least"
                f" {WARM_UP + about.lookback} bars without a hole"
                + ("" if about.feature_function is None else " (features of your own may need more)"),
                field=symbol,
                code="too-few-bars",
            )
        if last is not None:
            ends, dates = ends[-last:], dates[-last:]
        first = int(ends[0]) - about.lookback + 1
        scaled, ends = about.scaler.transform_to_float32(features[first:]), ends - first
        return self._predicted(scaled, ends - about.lookback + 1, symbol=symbol, dates=dates)

    def require_frequency(self, frame: pd.DataFrame, symbol: str) -> None:
        """Raise an error unless bars have the frequency of the training bars. For other bars, predictions are meaningless."""
        trained, actual = self.description.bar_seconds, step_seconds(pd.DatetimeIndex(frame.index).as_unit("ns").asi8)
        if trained is None or actual is None:
            return
        if max(trained / actual, actual / trained) > FREQUENCIES_APART:
            raise DataError(
                f"{symbol}: the bars are {duration(actual)} apart, but this model was trained on bars {duration(trained)} apart;"
                " give bars of that frequency",
                field=symbol,
                code="other-frequency",
            )

    def _symbol_column(self, data: pd.DataFrame) -> Any:
        """Return the name of the column of symbols in a frame.

        Return None if there is no such column, or if the model uses it as an input.
        """
        if SYMBOL in self.description.feature_columns:
            return None
        found = [name for name in data.columns if isinstance(name, str) and name.strip().lower() == SYMBOL]
        if len(found) > 1:
            text = f"the frame of bars has {len(found)} columns {SYMBOL}; keep one"
            raise DataError(text, field=SYMBOL, code="ambiguous-columns")
        return found[0] if found else None

    def _predict_symbols(self, parts: Any) -> pd.DataFrame:
        """Return one frame with the predictions for all symbols."""
        if needs_market(self.description, [network.config for network, _ in self.parts()]):
            checked = {symbol: self._checked(bars, symbol) for symbol, bars in parts}
            market = self.market(checked)
            tables = ((name, self.predict_frame(frame, name, market=market[name])) for name, frame in checked.items())
        else:
            tables = ((symbol, self.predict_bars(bars, symbol)) for symbol, bars in parts)
        frames: list[pd.DataFrame] = []
        for symbol, frame in tables:
            frame.insert(0, SYMBOL, symbol)
            frames.append(frame)
        if not frames:
            text = "predict needs the bars of at least one symbol, but got none"
            raise DataError(text, field="data", code="no-symbols")
        return joined(frames)

    def _predict_array(self, data: Any) -> pd.DataFrame:
        about = self.description
        rows = checked_rows(data, about)
        scaled = rows.astype(np.float32) if about.scaler is None else about.scaler.transform_to_float32(rows)
        return self._predicted(scaled, np.arange(0, len(rows), about.lookback, dtype=np.int64))

    def _predicted(
        self,
        series: NDArray[np.float32],
        starts: NDArray[np.int64],
        *,
        symbol: str = "",
        dates: NDArray[Any] | None = None,
    ) -> pd.DataFrame:
        """Return the predictions for windows over scaled rows ``(rows, features)``.

        ``starts`` are the first rows of the windows.
        """
        about = self.description
        predictions = self.predict_windows(
            Windows(
                series=torch.from_numpy(series),
                starts=torch.as_tensor(starts),
                lookback=about.lookback,
                labels=torch.zeros(len(starts), dtype=torch.int64),
                values=None,
                dates=starts if dates is None else dates,
                symbols=np.full(len(starts), symbol),
            )
        )
        frame = predictions_frame(dates, predictions, about.class_names, about.own_unit)
        if self.conformal is not None:
            self.conformal.add_columns(frame, predictions, about.own_unit)
        frame.attrs = {"class_names": list(about.class_names), "value_name": about.value_name}
        return frame


def _by_symbol(data: pd.DataFrame, column: Any) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each symbol with its rows in a frame, in the order in which symbols first occur.

    The column of symbols is removed.
    """
    if data[column].isna().any():
        row = int(np.flatnonzero(data[column].isna().to_numpy())[0])
        text = f"the column {SYMBOL} must name a symbol in every row, but row {row} has none; fill it"
        raise DataError(text, field=SYMBOL, code="symbol-missing")
    names = data[column].map(lambda name: name.strip() if isinstance(name, str) else name)
    for symbol, part in data.groupby(names, sort=False, observed=True):
        yield shown_name(symbol), part.drop(columns=[column])


def joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return one frame from several frames of predictions of one model."""
    table = pd.concat(frames, ignore_index=True)
    table.attrs = dict(frames[0].attrs)
    return table


def predictions_frame(
    dates: NDArray[Any] | None,
    predictions: Predictions,
    class_names: Sequence[str] = (),
    unit: OwnUnit | None = None,
) -> pd.DataFrame:
    """Return a frame of predictions.

    The columns are ``class``, ``probability_0`` …, and ``date``, ``class_name`` and ``value`` if known.

    With ``unit``, an additional column has the value in this unit.
    """
    columns: dict[str, Any] = {} if dates is None else {"date": dates}
    columns["class"] = predictions.classes
    if class_names:
        columns["class_name"] = np.array(class_names)[predictions.classes]
    for k in range(predictions.probabilities.shape[1]):
        columns[f"probability_{k}"] = predictions.probabilities[:, k]
    if predictions.values is not None:
        columns["value"] = predictions.values
        if unit is not None:
            columns[unit.column] = unit.convert(predictions.values.astype(np.float64)).astype(np.float32)
    return pd.DataFrame(columns)
