"""Recommendation of the ensemble, which depends on the confirmation only, and the ensemble's comparison on the test set."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.evaluation import Dependence, Judgement, judge
from cnn_lstm_hyperopt.evaluation.skill_test import CHANCE
from cnn_lstm_hyperopt.inference.temperature import Calibrated
from cnn_lstm_hyperopt.pipeline.confirmation import Confirmation
from cnn_lstm_hyperopt.pipeline.retraining import Retrained
from cnn_lstm_hyperopt.run_dir.paths import ENSEMBLE


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


def finalists_are_separated(retrained: Sequence[Retrained]) -> bool:
    """Return whether confirmation separates the first finalist from the second. A single finalist needs no separation."""
    known = [each.finalist.confirmation for each in retrained[:2]]
    confirmed = [each for each in known if each is not None]
    return len(confirmed) < 2 or are_separated(confirmed[0], confirmed[1])


def are_separated(first: Confirmation, second: Confirmation) -> bool:
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
