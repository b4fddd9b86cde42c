"""Skill threshold of a study, from the labels of its validation windows."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.data.windows import Fold, Windows
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.evaluation import dates_effect, design_effect
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.search import SkillThreshold, undefined_in


def skill_threshold(settings: Settings, folds: Sequence[Fold]) -> SkillThreshold:
    """Return the skill threshold from the validation labels of all folds.

    Raises:
        ConfigError: the metric is undefined on a fold, because all windows of the fold have one class.
    """
    metric, labels = settings.study.metric, [fold.validation.labels.numpy() for fold in folds]
    if (undefined := undefined_in(metric, labels)) is not None:
        where = f" of fold {undefined + 1} of {len(folds)}" if len(folds) > 1 else ""
        fewer = "lower data.cv_folds, give more bars," if len(folds) > 1 else "give more data"
        raise ConfigError(
            f"study.metric={metric} needs two classes in validation, but all {len(labels[undefined])} validation windows{where}"
            f" are of class {int(labels[undefined][0])}; {fewer} or use study.metric: accuracy",
            field="study.metric",
            code="metric-undefined",
        )
    validation, horizon = [fold.validation for fold in folds], settings.data.horizon
    everything = np.concatenate(labels)
    once = _once(validation) if all(each.dated for each in validation) else None
    n_windows = None if once is None else len(once)
    groups = [each.groups for each in validation if each.groups is not None]
    if len(groups) == len(validation):
        grouped = horizon * design_effect(everything, np.concatenate(groups))
        return SkillThreshold.on(metric, labels, overlap=grouped, n_windows=n_windows)
    dependence = 1.0
    if once is not None:
        dates = np.concatenate([each.dates for each in validation])
        slow = not METRICS[metric].chance_varies
        dependence = dates_effect(everything[once], dates[once], horizon=horizon, slow=slow)
    return SkillThreshold.on(metric, labels, overlap=horizon, n_windows=n_windows, dependence=dependence)


def _once(validation: Sequence[Windows]) -> NDArray[np.int64]:
    """Return the positions of distinct windows among the windows of all folds, because combinatorial folds repeat windows."""
    names = ["symbol", "date"]
    held_out = [pd.DataFrame({"symbol": part.symbols, "date": part.dates}) for part in validation]
    # DataLoader windows share a symbol and may share a date. A fold holds out a window at most once, and whole dates.
    marked = pd.concat([each.assign(place=each.groupby(names).cumcount()) for each in held_out])
    return np.flatnonzero(~marked.duplicated().to_numpy())
