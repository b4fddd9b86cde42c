"""Which parameters decide about an objective, by the study's own trials."""

import warnings
from collections.abc import Callable

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from cnn_lstm_hyperopt.search.quiet import quiet_optuna
from cnn_lstm_hyperopt.search.storage import StudyStorage

FRONT = "front"
"""Stands for what decides whether a trial is on or near the front, whichever the objective."""
LEAST_TRIALS = 20
"""COMPLETE trials below which nothing is said."""
LEAST_BEST = 10
"""Trials that count as the best at least, where a tenth of them would be fewer: two or three say nothing of a distribution."""


def importances(storage: StudyStorage) -> dict[str, dict[str, float]]:
    """Shares, summing to 1, of the parameters in what makes a COMPLETE trial good, by objective and by ``front``.

    PED-ANOVA (Watanabe, Bansal and Hutter 2023, arXiv 2304.10255): how unlike the distribution of each parameter is among the
    best tenth of the trials, ten at least, to that among all of them. It knows parameters that not every trial has, and takes
    milliseconds where functional ANOVA grows forests for half a minute. Parameters of which a trial had only one choice are left
    out.

    Returns:
        ``{"score": {"training.learning_rate": 0.4, …}, "seconds": …, "size_mb": …, "front": …}``, each in falling order; empty
        with fewer than twenty COMPLETE trials.
    """
    complete = storage.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < LEAST_TRIALS:
        return {}
    targets: dict[str, Callable[[FrozenTrial], float] | None] = {
        "score": lambda trial: -trial.values[0],  # lower is better
        "seconds": lambda trial: trial.values[1],
        "size_mb": lambda trial: trial.values[2],
        FRONT: None,
    }
    with quiet_optuna(), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # that low targets are meant, and that a choice was tried only once
        share = max(0.1, LEAST_BEST / len(complete))
        return {name: _importance(storage.study, target, share) for name, target in targets.items()}


def _importance(study: optuna.Study, target: Callable[[FrozenTrial], float] | None, share: float) -> dict[str, float]:
    evaluator = PedAnovaImportanceEvaluator(target_quantile=share)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator, target=target, normalize=True)
    return {name: float(share) for name, share in sorted(found.items(), key=lambda item: (-item[1], item[0]))}
