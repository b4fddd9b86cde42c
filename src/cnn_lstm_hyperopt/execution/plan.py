"""A study's plan from settings and data: the same in the main process and in every worker."""

import torch

from cnn_lstm_hyperopt.config import SearchSpace, Settings
from cnn_lstm_hyperopt.search import SkillGate, StudyPlan
from cnn_lstm_hyperopt.trial_runner import TrialRunner


def study_plan(settings: Settings, gate: SkillGate, runner: TrialRunner, device: torch.device) -> StudyPlan:
    """What defines the search."""
    return StudyPlan(
        space=effective_space(settings.space, has_regression=runner.data.has_regression),
        sampler=settings.sampler,
        pruner=settings.pruner,
        seed=settings.study.seed,
        n_trials=settings.study.n_trials,
        max_epochs=settings.training.max_epochs,
        trial_seconds=settings.limits.seconds_on(device.type),
        gate=gate,
        size_mb=runner.size_mb,
    )


def effective_space(space: SearchSpace, *, has_regression: bool) -> SearchSpace:
    """The space without the parameters that mean nothing for this data: with one loss there is nothing to balance."""
    if has_regression:
        return space
    return space.fixing({"multi_task.balancing": "fixed", "multi_task.classification_weight": 1.0})
