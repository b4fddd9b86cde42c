"""Common part of both estimators: parameters, reading of windows, fit, leaderboard, save and load."""

import abc
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from cnn_lstm_hyperopt.api import LOADER_DEFAULTS, Config
from cnn_lstm_hyperopt.api.estimators.budget import SEARCH_SHARE, budget_seconds
from cnn_lstm_hyperopt.api.estimators.fitting import Fitted, fit_study
from cnn_lstm_hyperopt.api.estimators.inputs import LAYOUTS, Layout, as_float32, read_panel, require_same_order
from cnn_lstm_hyperopt.api.estimators.leaderboard import Choose, Objectives
from cnn_lstm_hyperopt.api.estimators.storage import load_estimator, save_estimator
from cnn_lstm_hyperopt.config import Settings, load_settings
from cnn_lstm_hyperopt.config.loader import merge, read_settings
from cnn_lstm_hyperopt.data.dataloaders.arguments import require_only_what_loaders_need
from cnn_lstm_hyperopt.data.dataloaders.arrays import Arrays, dataset_from_arrays
from cnn_lstm_hyperopt.errors import ArrayError, ConfigError
from cnn_lstm_hyperopt.pipeline.advice import Interface
from cnn_lstm_hyperopt.pipeline.events import RunEvents, to_all
from cnn_lstm_hyperopt.pipeline.save_dir_check import check_save_dir
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.reporting.subscribers import reporters
from cnn_lstm_hyperopt.tracking.subscriber import TrackerExport
from cnn_lstm_hyperopt.utils.text import is_legible, shown, shown_name


class Targets(NamedTuple):
    """Targets of a fit.

    Attributes:
        labels: ``(windows,)`` classes 0, 1, … without gaps.
        values: ``(windows,)`` regression targets; None: classification only.
        class_names: names of the classes.
    """

    labels: NDArray[np.int64]
    values: NDArray[np.float32] | None
    class_names: tuple[str, ...]


class WindowEstimator(BaseEstimator, abc.ABC):  # type: ignore[misc]  # scikit-learn has no types
    """Base class of estimators that search for a CNN+LSTM network on windows in memory.

    See :class:`.CNNLSTMClassifier` for the parameters.
    """

    _regression: bool

    def __init__(
        self,
        *,
        n_trials: int | None = None,
        budget: str | float | None = None,
        objectives: Any = None,
        choose: Choose = "accuracy",
        layout: Layout = "time_features",
        validation_share: float = 0.2,
        random_state: Any = None,
        n_jobs: int | None = None,
        config: Config | None = None,
        save_dir: str | Path | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_trials = n_trials
        self.budget = budget
        self.objectives = objectives
        self.choose = choose
        self.layout = layout
        self.validation_share = validation_share
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.config = config
        self.save_dir = save_dir
        self.verbose = verbose

    def fit(self, X: Any, y: Any, groups: Any = None, dates: Any = None) -> Self:
        """Search for networks, choose one of the front, and train it.

        Args:
            X: windows: an array ``(windows, time, features)`` or ``(windows, time)``, a nested or long DataFrame, or a list of
                DataFrames; see :func:`.read_panel`.
            y: ``(windows,)`` targets.
            groups: ``(windows,)`` groups, such as patients. No group is in training and in validation.
            dates: ``(windows,)`` dates, in increasing order of time or not. Validation windows come after training windows. With
                dates, groups only tell which windows depend on each other.

        Returns:
            The fitted estimator.

        Raises:
            InputError: an argument is wrong. Errors of arrays are also a ValueError.
            RunError: no trial could be completed, or the final training failed.
        """
        self._forget()
        objectives = Objectives.read(self.objectives, regression=self._regression)
        budget = budget_seconds(self.budget)
        _check_arguments(self.layout, self.validation_share)
        windows, targets = self._read(X, y, groups=groups, dates=dates)
        for name, marks in (("groups", groups), ("dates", dates)):
            if marks is not None and hasattr(marks, "__len__") and len(marks) != len(windows):
                text = f"{name} must have one entry per window, {len(windows):,}, but have {len(marks):,}"
                raise ArrayError(text, field=name, code="not-one-per-window")
        kept = self.save_dir is not None
        with tempfile.TemporaryDirectory(prefix="cnn_lstm_hyperopt_", ignore_cleanup_errors=True) as temporary:
            folder = self.save_dir if self.save_dir is not None else Path(temporary) / "study"
            settings = self._settings(folder, objectives, budget)
            check_save_dir(settings.save_dir, resume=False)
            data = dataset_from_arrays(
                Arrays(windows, *targets, self._names(windows.shape[2]), dates, groups),
                validation_share=self.validation_share,
                settings=settings.data,
                seed=settings.study.seed,
            )
            events = self._events(kept=kept)
            for warning in data.dataset.warnings:
                events.on_warning(warning)
            tempers = not self._regression
            self._keep(fit_study(settings, data, objectives, self.choose, events, budget=budget, tempers=tempers))
        return self

    def leaderboard(self) -> pd.DataFrame:
        """Return the trials of the front, the best validation score first.

        The columns are ``trial``, ``accuracy`` and ``log_loss`` (for a regressor ``r2`` and ``rmse``), ``seconds`` of training,
        ``MB`` of weights, ``ms_per_prediction`` (one window, one network, one CPU thread) and ``chosen``.
        """
        check_is_fitted(self)
        return self._fitted.board.copy()

    def input_importance(self) -> pd.DataFrame:
        """Return the importance of each input on validation windows (:func:`.input_table`); empty if data or time were too short.

        Raises:
            ConfigError: the fit was without ``features.select: true``.
        """
        check_is_fitted(self)
        if self._fitted.inputs is None:
            text = 'features.select must be true in fit; set config={"features": {"select": True}}'
            raise ConfigError(text, field="features.select", code="inputs-not-selected")
        return self._fitted.inputs.copy()

    def save(self, folder: str | Path) -> Path:
        """Write the fitted estimator into a new or empty folder, as safetensors and JSON. Return the folder.

        A ``choose`` function, a ``random_state`` object and a ``config`` with values that JSON lacks are not saved.

        Raises:
            SaveDirError: the folder contains files.
        """
        check_is_fitted(self)
        return save_estimator(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Load an estimator that :meth:`save` wrote. No code in the folder is run.

        Raises:
            SaveDirError: a file is missing or invalid, or the folder has another estimator.
        """
        loaded: Self = load_estimator(cls, Path(folder))
        return loaded

    def __getstate__(self) -> Any:
        """Refuse to pickle a fitted estimator. An estimator that is not fitted can be pickled, as by joblib."""
        if hasattr(self, "_fitted"):
            name = type(self).__name__
            raise TypeError(
                f"a fitted {name} can't be pickled or deep-copied, because loading a pickle can run code; use save(folder) and"
                f" {name}.load(folder)"
            )
        return super().__getstate__()

    def __sklearn_tags__(self) -> Any:
        """Return the tags of scikit-learn."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.non_deterministic = True  # measured seconds decide which trials are on the front
        return tags

    def _predictions(self, X: Any) -> Any:
        check_is_fitted(self)
        return self._fitted.predict(self._windows(X))

    @abc.abstractmethod
    def _targets(self, y: Any) -> Targets:
        """Return the targets of a fit."""

    def _read(self, X: Any, y: Any, **marks: Any) -> tuple[NDArray[np.float32], Targets]:
        """Return the windows ``(windows, time, features)`` and the targets of a fit, and keep the shape of the windows.

        The targets and ``marks`` must have the order of the windows.
        """
        if y is None:
            text = (
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None; give one target for"
                " each window"
            )
            raise ArrayError(text, field="y", code="missing-target")
        panel = read_panel(X, self.layout)
        self._flat = panel is None
        if panel is None:
            table, y = validate_data(
                self, X, y, dtype=np.float64, y_numeric=self._regression, ensure_min_features=2, ensure_min_samples=2
            )
            values = as_float32(table)[:, :, None]
        else:
            for name, given in {"y": y, **marks}.items():
                require_same_order(name, given, panel)
            values = panel.values
            self.n_features_in_ = values.shape[2]
            if panel.names is not None:
                self.feature_names_in_ = np.array(panel.names, dtype=object)
        windows, steps, features = values.shape
        if windows < 2 or steps < 2 or features < 1:
            text = (
                "X must have at least 2 windows, 2 time steps and 1 feature, but has the shape (windows, time, features) ="
                f" {values.shape}"
            )
            raise ArrayError(text, field="X", code="too-few-windows")
        targets = self._targets(y)
        if len(targets.labels) != windows:
            text = f"y must have one target for each window, {windows:,}, but has {len(targets.labels):,}"
            raise ArrayError(text, field="y", code="lengths-differ")
        self.n_timepoints_in_ = steps
        return values, targets

    def _windows(self, X: Any) -> NDArray[np.float32]:
        """Return windows to predict, of the shape that the estimator was fitted with."""
        panel = None if self._flat else read_panel(X, self.layout)
        if panel is None:
            if not self._flat:
                expected = (self.n_timepoints_in_, self.n_features_in_)
                text = f"X must be windows of the shape (time, features) = {expected}, as in fit, but got {shown(X)}"
                raise ArrayError(text, field="X", code="windows-shape")
            return as_float32(validate_data(self, X, dtype=np.float64, reset=False))[:, :, None]
        shape = panel.values.shape[1:]
        if shape != (self.n_timepoints_in_, self.n_features_in_):
            text = (
                f"X must have windows of the shape (time, features) = {(self.n_timepoints_in_, self.n_features_in_)}, as in fit,"
                f" but has {shape}"
            )
            raise ArrayError(text, field="X", code="windows-shape")
        names = getattr(self, "feature_names_in_", None)
        if panel.names is not None and names is not None and panel.names != tuple(names):
            text = f"X must have the features {', '.join(names)} in this order, as in fit, but has {', '.join(panel.names)}"
            raise ArrayError(text, field="X", code="columns-vary")
        return panel.values

    def _settings(self, save_dir: str | Path, objectives: Objectives, budget: float | None) -> Settings:
        """Return the settings of the study. Parameters of the estimator take precedence over ``config``."""
        study: dict[str, Any] = {}
        if self.n_trials is not None:
            study["n_trials"] = self.n_trials
        if budget is not None:
            study["timeout"] = SEARCH_SHARE * budget
        if self.random_state is not None:
            study["seed"] = _seed(self.random_state)
        if not self._regression:
            study["metric"] = objectives.metric
        given: dict[str, Any] = {"save_dir": save_dir, "study": study}
        if self.n_jobs is not None:
            given["workers"] = "auto" if self.n_jobs == -1 else self.n_jobs
        if self.save_dir is None:  # the directory is removed after the fit
            given |= {"report": False, "mlflow": {"enabled": False}, "tracking": {"trackers": []}}
        base = merge(LOADER_DEFAULTS, read_settings(self.config, "config"))
        require_only_what_loaders_need(load_settings(base, given).data)
        return load_settings(base, merge(given, {"data": {"source": "loaders"}}))

    def _events(self, *, kept: bool) -> RunEvents:
        terminal = Terminal(quiet=not self.verbose)
        subscribers: list[RunEvents] = list(reporters(terminal, Interface.LOADERS))
        return to_all([*subscribers, TrackerExport(terminal.detail, terminal.warn)] if kept else subscribers)

    def _names(self, features: int) -> tuple[str, ...]:
        """Return names of the features for the study's files."""
        given = None if self._flat else getattr(self, "feature_names_in_", None)
        names = tuple(f"feature_{place}" for place in range(features)) if given is None else tuple(map(str, given))
        return names if len(set(names)) == features else tuple(f"feature_{place}" for place in range(features))

    def _keep(self, fitted: Fitted) -> None:
        self._fitted = fitted
        self.best_trial_ = fitted.best_trial
        self.best_params_ = fitted.params
        self.above_chance_ = fitted.above_chance

    def _forget(self) -> None:
        for name in [name for name in vars(self) if name.endswith("_") or name in ("_fitted", "_flat")]:
            delattr(self, name)


def _check_arguments(layout: Any, share: Any) -> None:
    if layout not in LAYOUTS:
        text = f"layout must be {' or '.join(LAYOUTS)}, but got {shown(layout)}"
        raise ConfigError(text, field="layout", code="not-a-layout")
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        text = f"validation_share must be a number between 0 and 1, such as 0.2, but got {shown(share)}"
        raise ConfigError(text, field="validation_share", code="shares")


def class_texts(classes: NDArray[Any]) -> tuple[str, ...]:
    """Return names of classes for the study's files: their texts, if these are short, visible and different."""
    names = tuple(shown_name(each) for each in classes.tolist())
    if len(set(names)) == len(names) and all(name and is_legible(name) for name in names):
        return names
    return tuple(f"class {number}" for number in range(len(names)))


def _seed(random_state: Any) -> int:
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))
