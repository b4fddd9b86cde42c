"""Recommendation of the ensemble, which depends on validation only, and the ensemble's comparison on the test set."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation import Dependence, Interval, Judgement, judge, paired_interval
from cnn_lstm_hyperopt.evaluation.skill_test import CHANCE
from cnn_lstm_hyperopt.inference.temperature import Calibrated
from cnn_lstm_hyperopt.pipeline.confirmation import Confirmation
from cnn_lstm_hyperopt.pipeline.retraining import Retrained
from cnn_lstm_hyperopt.run_dir.paths import ENSEMBLE
from cnn_lstm_hyperopt.training import Predictions


def judged_ensemble(
    metric: str,
    labels: NDArray[np.int64],
    ensemble: Calibrated | None,
    baselines: Mapping[str, NDArray[np.floating]],
    best: str,
    dependence: Dependence,
) -> Judgement | None:
    """Compare the ensemble with the best baseline ``best`` and the majority class; see :func:`.judge` for the arguments.

    Return None if there is no ensemble.
    """
    if ensemble is None:
        return None
    few = {name: baselines[name] for name in (CHANCE, best)}
    mean = ensemble.after
    return judge(
        metric, labels, mean.probabilities, few, dependence, model=ENSEMBLE, decision_weights=mean.decision_weights
    )


def finalists_are_separated(
    retrained: Sequence[Retrained], predictions: Sequence[Sequence[Predictions]], dataset: Dataset, metric: str
) -> bool:
    """Return whether the first finalist is better than the second beyond chance. A single finalist needs no separation.

    There are two kinds of chance, and the difference must be clear for both: other seeds (:func:`seeds_separate`) and other
    validation windows (:func:`gain_on`).

    Args:
        retrained: finalists in order of rank.
        predictions: for each finalist, the predictions of each of its runs for the validation windows.
        dataset: data of the study.
        metric: metric of the verdict.
    """
    confirmed = [each.finalist.confirmation for each in retrained[:2] if each.finalist.confirmation is not None]
    if len(confirmed) < 2:
        return True
    if not seeds_separate(*confirmed):
        return False
    means = [each.mean(runs).after for each, runs in zip(retrained[:2], predictions[:2], strict=True)]
    first, second = (each.as_scored(metric) for each in means)
    gain = gain_on(dataset.validation, first, second, metric, dataset.horizon)
    return gain is not None and gain[0] > 0


def gain_on(
    windows: Windows,
    ours: NDArray[np.floating],
    theirs: NDArray[np.floating],
    metric: str,
    horizon: int,
    *,
    comparisons: int = 1,
) -> Interval | None:
    """Return the paired interval of the difference of two models' scores on labelled windows.

    The interval takes the dependence of the windows into account. If they are too few, there is none.

    Args:
        windows: the windows.
        ours, theirs: what the metric scores of each model, ``(windows, classes)``.
        metric: name of the metric. A positive difference means that the first model is better.
        horizon: number of bars that a label looks ahead.
        comparisons: number of models from which the compared ones were chosen on these windows. The level of the interval is
            1 − 0.05 / ``comparisons`` (Bonferroni).
    """
    dependence = Dependence.of(windows, horizon=horizon).for_evaluation(comparisons)
    return paired_interval(metric, windows.labels.numpy(), ours, theirs, dependence)


def seeds_separate(first: Confirmation, second: Confirmation) -> bool:
    """Return whether the 95 % interval of the difference of two candidates' mean log losses excludes 0 (Welch 1947).

    Candidates with fewer than two losses are not separated.
    """
    if min(len(first.losses), len(second.losses)) < 2:
        return False
    if np.ptp(first.losses) == np.ptp(second.losses) == 0:
        return first.mean_loss != second.mean_loss
    from scipy.stats import ttest_ind_from_stats  # imports in 1 s

    moments = [(np.mean(each.losses), np.std(each.losses, ddof=1), len(each.losses)) for each in (first, second)]
    return bool(ttest_ind_from_stats(*moments[0], *moments[1], equal_var=False).pvalue < 0.05)
