"""Which parameters decide about an objective, by the study's own trials."""

import warnings
from collections.abc import Callable, Sequence

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from cnn_lstm_hyperopt.pareto import non_dominated_ranks
from cnn_lstm_hyperopt.search.observations import losses
from cnn_lstm_hyperopt.search.optuna_logging import quiet_optuna
from cnn_lstm_hyperopt.search.skill_threshold import SkillThreshold
from cnn_lstm_hyperopt.search.storage import StudyStorage
from cnn_lstm_hyperopt.search.trial import State

FRONT = "front"
"""Stands for what decides whether a trial is on or near the front, whichever the objective."""
LEAST_TRIALS = 20
"""COMPLETE trials below which nothing is said."""
_NOTHING = 1e-12
"""What the divergences sum to where the best are like all others: to normalise that would make every parameter matter alike."""
LEAST_BEST = 10
"""Trials that count as the best at least, where a tenth of them would be fewer: two or three say nothing of a distribution."""


def importances(storage: StudyStorage, skill: SkillThreshold) -> dict[str, dict[str, float]]:
    """Shares, summing to 1, of the parameters in what makes a COMPLETE trial good, by objective and by ``front``.

    PED-ANOVA (Watanabe, Bansal and Hutter 2023, arXiv 2304.10255): how unlike the distribution of each parameter is among the
    best tenth of the trials, ten at least, to that among all of them. It knows parameters that not every trial has, and takes
    milliseconds where functional ANOVA grows forests for half a minute. Parameters of which a trial had only one choice are left
    out. For ``front``, trials are ranked by non-domination, those that have learnt nothing after all others: they would be on
    any front for being small.

    Args:
        storage: of the study.
        skill: that tells those that have learnt something.

    Returns:
        ``{"score": {"training.learning_rate": 0.4, …}, "seconds": …, "size_mb": …, "front": …}``, each in falling order, and
        empty where all trials are alike in it; empty altogether with fewer than twenty COMPLETE trials.
    """
    study = _own_study(storage)
    complete = _complete(study)
    if len(complete) < LEAST_TRIALS:
        return {}
    ranks = _ranks(complete, skill)
    targets: dict[str, Callable[[FrozenTrial], float]] = {
        "score": lambda trial: -trial.values[0],  # lower is better
        "seconds": lambda trial: trial.values[1],
        "size_mb": lambda trial: trial.values[2],
        FRONT: lambda trial: ranks[trial.number],
    }
    with quiet_optuna(), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # that low targets are meant, and that a choice was tried only once
        share = max(0.1, LEAST_BEST / len(complete))
        return {name: _importance(study, target, share) for name, target in targets.items()}


def _own_study(storage: StudyStorage) -> optuna.Study:
    """Return the study, or a copy in memory without the trials of other programs, which numbers its trials anew."""
    ours = {record.number for record in storage.records() if record.state is State.COMPLETE}
    stored = _complete(storage.study)
    if len(stored) == len(ours):
        return storage.study
    with quiet_optuna():
        study = optuna.create_study(directions=storage.study.directions)
    study.add_trials([trial for trial in stored if trial.number in ours])
    return study


def _complete(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _ranks(complete: Sequence[FrozenTrial], skill: SkillThreshold) -> dict[int, float]:
    """Non-dominated rank by number of trial."""
    skilled = [trial for trial in complete if skill.passes(trial.values[0])]
    ranks = dict.fromkeys((trial.number for trial in complete), float(len(complete)))
    if skilled:
        found = non_dominated_ranks([losses(*trial.values) for trial in skilled])
        ranks |= {trial.number: float(rank) for trial, rank in zip(skilled, found, strict=True)}
    return ranks


def _importance(study: optuna.Study, target: Callable[[FrozenTrial], float], share: float) -> dict[str, float]:
    evaluator = PedAnovaImportanceEvaluator(target_quantile=share)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator, target=target, normalize=False)
    total = sum(found.values())
    if not total > _NOTHING:
        return {}
    return {name: float(part) / total for name, part in sorted(found.items(), key=lambda item: (-item[1], item[0]))}
