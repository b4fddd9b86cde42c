"""Parameter importance, estimated from a study's trials."""

import warnings
from collections.abc import Callable, Collection, Sequence

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from cnn_lstm_hyperopt.pareto import non_dominated_ranks
from cnn_lstm_hyperopt.search.observations import losses
from cnn_lstm_hyperopt.search.optuna_logging import quiet_optuna
from cnn_lstm_hyperopt.search.skill_threshold import SkillThreshold
from cnn_lstm_hyperopt.search.storage import StudyStorage
from cnn_lstm_hyperopt.search.trial import CONSTRAINTS, State

FRONT = "front"
"""Key under which the importances of parameters for a trial's non-dominated rank are returned."""
MIN_TRIALS = 20
"""Minimum number of COMPLETE trials for an estimate of importances."""
_NOTHING = 1e-12
"""If the divergences of all parameters sum to at most this number, the sum is only rounding error and no parameter is
important."""
MIN_BEST = 10
"""Minimum number of best trials whose parameter values are compared with those of all trials."""


def importances(
    storage: StudyStorage, skill: SkillThreshold, *, of_size: Collection[str] | None = None
) -> dict[str, dict[str, float]]:
    """Return the importance of each parameter for each objective and for ``front`` (the non-dominated rank).

    For each objective, the importances of all parameters sum to 1. PED-ANOVA (Watanabe, Bansal and Hutter 2023, arXiv 2304.10255)
    compares the distribution of each parameter among the best tenth of the trials (at least ten) with its distribution among all
    trials. PED-ANOVA supports conditional parameters and takes milliseconds; functional ANOVA takes half a minute. Parameters
    with a single value are omitted. For ``front``, trials are ranked by non-domination. Trials below the skill threshold rank
    last: the smallest models, even without skill, would otherwise rank first.

    Args:
        storage: storage of the study.
        skill: skill threshold of the study.
        of_size: parameters that can change the model size; other parameters get no importance for the size. None: all
            parameters.

    Returns:
        ``{"score": {"training.learning_rate": 0.4, …}, "seconds": …, "size_mb": …, "front": …}``, parameters in descending order
        of importance. The dictionary of an objective is empty if all trials have the same value of this objective. With fewer
        than 20 COMPLETE trials, the whole dictionary is empty.
    """
    study = _own_study(storage)
    complete = _complete(study)
    if len(complete) < MIN_TRIALS:
        return {}
    ranks = _ranks(complete, skill)
    targets: dict[str, Callable[[FrozenTrial], float]] = {
        "score": lambda trial: -trial.values[0],  # lower is better
        "seconds": lambda trial: trial.values[1],
        "size_mb": lambda trial: trial.values[2],
        FRONT: lambda trial: ranks[trial.number],
    }
    with quiet_optuna(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # low targets are intended; a choice was tried only once
        share = max(0.1, MIN_BEST / len(complete))
        found = {name: _importance(study, target, share) for name, target in targets.items()}
    return {name: _shares(parts, of_size if name == "size_mb" else None) for name, parts in found.items()}


def _own_study(storage: StudyStorage) -> optuna.Study:
    """Return the study; if other programs added trials, return a renumbered copy in memory without these trials."""
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
    """Return the non-dominated rank of each trial by trial number. Trials without skill and infeasible trials are the last."""
    skilled = [trial for trial in complete if skill.passes(trial.values[0]) and _is_feasible(trial)]
    ranks = dict.fromkeys((trial.number for trial in complete), float(len(complete)))
    if skilled:
        found = non_dominated_ranks([losses(*trial.values) for trial in skilled])
        ranks |= {trial.number: float(rank) for trial, rank in zip(skilled, found, strict=True)}
    return ranks


def _is_feasible(trial: FrozenTrial) -> bool:
    return all(each["value"] <= each["bound"] for each in trial.user_attrs.get(CONSTRAINTS, {}).values())


def _importance(study: optuna.Study, target: Callable[[FrozenTrial], float], share: float) -> dict[str, float]:
    evaluator = PedAnovaImportanceEvaluator(target_quantile=share)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator, target=target, normalize=False)
    return dict(found)


def _shares(parts: dict[str, float], chosen: Collection[str] | None) -> dict[str, float]:
    """Return the importances of the chosen parameters as shares that sum to 1, the largest first."""
    kept = {name: part for name, part in parts.items() if chosen is None or name in chosen}
    total = sum(kept.values())
    if not total > _NOTHING:
        return {}
    return {name: float(part) / total for name, part in sorted(kept.items(), key=lambda item: (-item[1], item[0]))}
