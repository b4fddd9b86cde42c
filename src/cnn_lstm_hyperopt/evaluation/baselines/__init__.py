"""Baselines: simple forecasters that a model should beat. Like models, they use the training and the validation windows."""

import logging
from collections.abc import Mapping

from cnn_lstm_hyperopt.evaluation.baselines.base import Baseline, Sample
from cnn_lstm_hyperopt.evaluation.baselines.boosting import GradientBoosting
from cnn_lstm_hyperopt.evaluation.baselines.garch import Garch
from cnn_lstm_hyperopt.evaluation.baselines.logistic import LogisticBaseline
from cnn_lstm_hyperopt.evaluation.baselines.minirocket import MiniRocket
from cnn_lstm_hyperopt.evaluation.baselines.ridge import RidgeRegression
from cnn_lstm_hyperopt.evaluation.baselines.simple import MajorityClass, Persistence, RollingFrequency
from cnn_lstm_hyperopt.utils.text import install_command

log = logging.getLogger(__name__)

BASELINES: dict[str, type[Baseline]] = {
    kind.name: kind
    for kind in (
        MajorityClass,
        Persistence,
        RollingFrequency,
        LogisticBaseline,
        RidgeRegression,
        GradientBoosting,
        Garch,
        MiniRocket,
    )
}
"""All baselines, by name. The majority class is first."""


def fit_baselines(
    train: Sample,
    validation: Sample,
    *,
    n_classes: int,
    seed: int,
    kinds: Mapping[str, type[Baseline]] | None = None,
) -> dict[str, Baseline]:
    """Fit the baselines ``kinds`` for which the packages are installed and the windows have the needed data.

    The names of the other baselines are logged. By default, ``kinds`` is :data:`BASELINES`.
    """
    fitted: dict[str, Baseline] = {}
    skipped: dict[str, list[str]] = {}
    for name, kind in (BASELINES if kinds is None else kinds).items():
        if (need := kind.lacks(train)) is not None:
            skipped.setdefault(need, []).append(name)
        elif not kind.is_installed():
            log.info("Skipped baseline %s. To add it: %s", name, install_command(kind.extra))
        else:
            fitted[name] = kind()
            fitted[name].fit(train, validation, n_classes=n_classes, seed=seed)
    for need, names in skipped.items():
        log.info("Skipped baselines, which need %s: %s", need, ", ".join(names))
    return fitted


def not_installed(train: Sample, kinds: Mapping[str, type[Baseline]] | None = None) -> tuple[str, ...]:
    """Return the names of the baselines ``kinds`` that the windows would allow, but whose packages are not installed."""
    chosen = BASELINES if kinds is None else kinds
    return tuple(name for name, kind in chosen.items() if kind.lacks(train) is None and not kind.is_installed())
