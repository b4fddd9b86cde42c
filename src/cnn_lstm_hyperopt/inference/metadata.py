"""Description of a model: its inputs, outputs and architecture. On disk it is JSON, which is checked when it is read."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal, get_args

import pandas as pd
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from cnn_lstm_hyperopt.config import Params, readable, stored
from cnn_lstm_hyperopt.config.schema.base import FunctionReference
from cnn_lstm_hyperopt.config.schema.data import Target
from cnn_lstm_hyperopt.config.search_space import params_errors
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.feature_groups import FEATURE_GROUPS, in_order, optional_columns
from cnn_lstm_hyperopt.data.labels import OWN_UNITS, OwnUnit
from cnn_lstm_hyperopt.data.market_features import MARKET
from cnn_lstm_hyperopt.data.own_features import BUILT_IN, FeatureSet
from cnn_lstm_hyperopt.data.own_function import OwnFunction
from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.data.tables.columns import LARGEST
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.inference.stored_form import FormError, StoredForm
from cnn_lstm_hyperopt.models import NetworkConfig, network_config
from cnn_lstm_hyperopt.models.inputs import InputGroup
from cnn_lstm_hyperopt.models.linear import STEPS
from cnn_lstm_hyperopt.training import ValueScale
from cnn_lstm_hyperopt.utils.text import is_legible, shown, shown_names

FORMAT = 2
"""Format number of the file. Format 1 can still be read; it had no user's features and no names of classes and value."""


Features = Callable[[pd.DataFrame], Any]
"""Type of a user's function that computes features. ``OwnFunction`` documents the input and the output of the function."""


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def legible(value: str) -> str:
    """Return a name unchanged; raise ValueError if the name is empty or has control characters."""
    if not value or not is_legible(value):
        rule = "without control characters" if value else "and not empty"
        raise ValueError(f"must be text {rule}, but got {shown(value)}")
    return value


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"must be different from each other, but {shown_names(twice)} occurs twice")
    return names


@dataclass(frozen=True)
class ModelDescription:
    """Description of a model, with all facts that are needed to use the model's weights.

    Attributes:
        params: full configuration of the model.
        class_names: names of classes 0, 1, …
        value_name: formula of the regression value; None without regression.
        features: names of the inputs, in the order of the network's inputs.
        feature_columns: names of the inputs that are columns of the user's bars.
        feature_function: name of the user's function (``module:function``) that computed the last inputs in training, if any.
            The name is only information; the module is never imported.
        scaler: scaler of the features; None: windows of arrays or DataLoaders, which the networks may standardise.
        value_scale: mean and standard deviation of the regression target in the target's units.
        target, lookback, horizon, max_gap_days: settings of the data.
        bar_seconds: median time between the training bars in seconds; None: unknown.
        decision_weights: weight of each class. The predicted class has the largest product of probability and weight. None:
            the most probable class is predicted.
        feature_groups: groups of built-in features beside the eleven features of all models of bars.
        market: names of the symbols whose bars the group ``market`` needs; empty without this group.
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
    bar_seconds: float | None = None
    decision_weights: tuple[float, ...] | None = None
    feature_groups: tuple[str, ...] = ()
    market: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        params: Params,
        *,
        max_gap_days: float,
        decision_weights: tuple[float, ...] | None = None,
    ) -> "ModelDescription":
        """Return the description of a model trained on ``dataset``."""
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
            bar_seconds=dataset.train.step_seconds,
            decision_weights=decision_weights,
            feature_groups=inputs.groups,
            market=tuple(dataset.description["symbols"]) if MARKET in inputs.groups else (),
        )

    @property
    def n_classes(self) -> int:
        """Number of classes of the model."""
        return len(self.class_names)

    @property
    def has_regression(self) -> bool:
        """True if the model predicts a regression value."""
        return self.value_name is not None

    @property
    def own_unit(self) -> OwnUnit | None:
        """More readable unit of the predicted value.

        The unit is None if the model predicts no value, or if it was trained on a user's DataLoaders.
        """
        of_bars = self.scaler is not None and self.has_regression
        return OWN_UNITS.get(self.target) if of_bars else None

    def feature_set(self, function: Features | None) -> FeatureSet:
        """Return the feature set that computes the model's inputs from bars.

        Args:
            function: the user's function that computes the last inputs, if the model has such inputs.

        Raises:
            DataError: the model needs the function and it was not passed.
        """
        if self.feature_function is None:
            return FeatureSet(self.feature_columns, groups=self.feature_groups)
        if function is None:
            raise DataError(
                f"this model uses features that {self.feature_function} computes. Functions named in files are never run;"
                f" pass it: load_model(folder, features={self.feature_function.replace(':', '.')})",
                field="features",
                code="feature-function-required",
            )
        others = FeatureSet(self.feature_columns, groups=self.feature_groups)
        added = self.features[len(others.names) :]
        return replace(others, function=OwnFunction(self.feature_function, function), added=added)

    def network_config(self) -> NetworkConfig:
        """Return the configuration of the network's architecture."""
        return network_config(
            self.params,
            input_dim=len(self.features),
            n_classes=self.n_classes,
            has_regression=self.has_regression,
            lookback=self.lookback,
            columns=optional_columns(
                self.features,
                self.feature_columns,
                self.feature_function,
                None if self.scaler is None else self.feature_groups,
            ),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the description as values for strict JSON. The inverse is :meth:`from_dict`."""
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
            "bar_seconds": self.bar_seconds,
            "decision_weights": None if self.decision_weights is None else list(self.decision_weights),
            "feature_groups": list(self.feature_groups),
            "market": list(self.market),
        }

    @classmethod
    def from_dict(cls, raw: Any) -> "ModelDescription":
        """Return the description from the JSON value that :meth:`as_dict` returned. Format 1 is also accepted.

        Raises:
            FormError: the value is not a valid description. The text has a line for each error.
        """
        if not isinstance(raw, dict):
            raise FormError(f"it must be a description of a model, but is {shown(raw)}", "", "not-a-mapping")
        if raw.get("format") == 1:
            raw = _from_format_1(raw)
        if raw.get("format") != FORMAT:
            text = f"format must be {FORMAT} or 1, which this version reads, but got {shown(raw.get('format'))}"
            raise FormError(text, "format", "unknown-format")
        return StoredDescription.read(raw).description()


_Name = Annotated[str, Field(max_length=200), AfterValidator(legible)]
_Names = Annotated[tuple[_Name, ...], Field(max_length=10_000), AfterValidator(_unique)]
_Weight = Annotated[float, Field(gt=0, le=1e9)]
_Numbers = Annotated[tuple[float, ...], Field(max_length=10_000)]
_OF_LOADERS = "y_class"
"""Name of the target of a model that was trained on a user's DataLoaders."""


class StoredScaler(StoredForm):
    mean: Annotated[_Numbers, BeforeValidator(_as_tuple)]
    std: Annotated[_Numbers, BeforeValidator(_as_tuple)]


class StoredScale(StoredForm):
    mean: float
    std: float = Field(gt=0)


class StoredDescription(StoredForm):
    """Content of ``model.json`` in format 2."""

    format: Literal[2]
    params: dict[str, Any]
    class_names: Annotated[_Names, BeforeValidator(_as_tuple), Field(min_length=2)]
    value_name: _Name | None
    features: Annotated[_Names, BeforeValidator(_as_tuple), Field(min_length=1)]
    feature_columns: Annotated[_Names, BeforeValidator(_as_tuple)]
    feature_function: Annotated[FunctionReference, Field(max_length=200)] | None
    scaler: StoredScaler | None
    value_scale: StoredScale
    target: _Name
    lookback: int = Field(ge=1, le=10_000)
    horizon: int = Field(ge=1, le=1_000)
    max_gap_days: float = Field(gt=0, le=36_500)
    bar_seconds: float | None = Field(None, gt=0, le=1e10)  # older models lack this key
    decision_weights: Annotated[tuple[_Weight, ...], BeforeValidator(_as_tuple)] | None = (
        None  # older models lack this key
    )
    feature_groups: Annotated[tuple[InputGroup, ...], BeforeValidator(_as_tuple)] = ()  # older models lack this key
    market: Annotated[_Names, BeforeValidator(_as_tuple)] = ()  # older models lack this key

    @field_validator("params")
    @classmethod
    def _a_configuration(cls, value: dict[str, Any]) -> dict[str, Any]:
        errors = params_errors(value)
        if errors:
            raise ValueError("\n".join(f"params.{error}" for error in errors))
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "StoredDescription":
        if self.params.get(STEPS, self.lookback) != self.lookback:
            raise ValueError(f"params.{STEPS} must be lookback, {self.lookback}, but got {shown(self.params[STEPS])}")
        self._check_scaler()
        self._check_features()
        if self.decision_weights is not None and len(self.decision_weights) != len(self.class_names):
            raise ValueError(f"decision_weights must have a number for each of {len(self.class_names)} classes")
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
        """Check the order of the features: first built-in features, then columns, then features of the function.

        A model that was trained on DataLoaders may have any features.
        """
        made_of_bars = FeatureSet(self.feature_columns, groups=self.feature_groups).names
        if in_order(self.feature_groups) != self.feature_groups:
            raise ValueError(f"feature_groups must be different and in the order {shown_names(list(FEATURE_GROUPS))}")
        if bool(self.market) != (MARKET in self.feature_groups):
            raise ValueError("market must name the symbols of the group market, and be empty without this group")
        if self.scaler is None:
            if self.feature_groups or self.feature_columns or self.feature_function is not None:
                raise ValueError(
                    "scaler is required with feature_groups, feature_columns or a feature_function, but got nothing"
                )
            return
        if self.features[: len(made_of_bars)] != made_of_bars:
            raise ValueError(
                f"features must begin with {shown_names(made_of_bars)}, but got {shown_names(self.features)}"
            )
        added = self.features[len(made_of_bars) :]
        if added and self.feature_function is None:
            raise ValueError(f"feature_function is missing, which computes the features {shown_names(added)}")
        if not added and self.feature_function is not None:
            raise ValueError(f"features must have at least one of the feature_function {self.feature_function}")

    def description(self) -> ModelDescription:
        as_stored = {name: value for name, value in self if name not in ("format", "params", "scaler", "value_scale")}
        return ModelDescription(
            params=stored(self.params),
            scaler=None if self.scaler is None else Scaler(self.scaler.mean, self.scaler.std),
            value_scale=ValueScale(self.value_scale.mean, self.value_scale.std),
            **as_stored,
        )


def _from_format_1(raw: dict[str, Any]) -> dict[str, Any]:
    n_classes, has_regression = raw.get("n_classes"), raw.get("has_regression")
    if not isinstance(n_classes, int) or not 2 <= n_classes <= 1_000:
        text = f"n_classes must be a whole number from 2 to 1000, but got {shown(n_classes)}"
        raise FormError(text, "n_classes", "value-error")
    kept = {key: value for key, value in raw.items() if key not in ("n_classes", "has_regression")}
    return kept | {
        "format": FORMAT,
        "class_names": [f"class {number}" for number in range(n_classes)],
        "value_name": "value" if has_regression else None,
        "feature_columns": [],
        "feature_function": None,
    }
