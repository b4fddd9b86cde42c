"""The plan of a study, made from settings and data. The main process and all workers make the same plan."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

import torch

from cnn_lstm_hyperopt.config import PrunerSettings, SamplerSettings, Settings
from cnn_lstm_hyperopt.config.schema.search import AUTO_PRUNER, AUTO_SAMPLER, EARLIER_AUTO_PRUNER
from cnn_lstm_hyperopt.data.trial_data import TrialData
from cnn_lstm_hyperopt.execution.placement import gpus_of
from cnn_lstm_hyperopt.execution.worker_pool import available_cores
from cnn_lstm_hyperopt.search import InitialTrial, Limits, SkillThreshold, StudyPlan, StudyStorage, space_of_data
from cnn_lstm_hyperopt.training.cost_model import CostModel
from cnn_lstm_hyperopt.training.runtime.memory import total_mb
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner

PASSES = "passes"
"""Study attribute with the number of passes over the training windows in an epoch. Studies of earlier versions have 1 pass."""
STORED_AUTO_PRUNER = "auto_pruner"
"""Study attribute with the pruner that ``auto`` stood for at the start of the study. Studies of earlier versions lack it."""
SUBSET = "evaluates_epochs_on_subset"
"""Study attribute: whether trials with few training windows evaluate epochs on some of the validation windows.

Studies of earlier versions lack it; their trials evaluate epochs on all of them.
"""
MEMORY_SHARE = 0.8
"""Share of the machine's memory that all workers together may use."""


def study_plan(
    settings: Settings, skill: SkillThreshold, runner: TrialRunner, device: torch.device, *, workers: int
) -> StudyPlan:
    """Return the plan of a study from its settings and data."""
    data = runner.data
    return StudyPlan(
        space=space_of_data(settings.whole_space, data.columns, one_task=not data.has_regression, raw=data.raw),
        sampler=_settled(settings.sampler, AUTO_SAMPLER),
        pruner=_settled(settings.pruner, AUTO_PRUNER),
        seed=settings.study.seed,
        n_trials=settings.study.n_trials,
        max_epochs=settings.training.max_epochs,
        limits=Limits(
            seconds=settings.limits.seconds_on(device.type),
            size_mb=_smaller(settings.limits.size_mb, settings.constraints.size_mb),
            memory_mb=memory_limit(settings, device, workers=workers),
        ),
        skill=skill,
        cost=runner.costs.cost,
        estimated_time=settings.study.time_objective == "estimated",
        constraints=settings.constraints.measured,
    )


def _smaller(*bounds: float | None) -> float | None:
    """Return the smallest bound; None without bounds."""
    return min((bound for bound in bounds if bound is not None), default=None)


_Typed = TypeVar("_Typed", SamplerSettings, PrunerSettings)


def _settled(section: _Typed, auto: str) -> _Typed:
    return section if section.type != "auto" else section.model_copy(update={"type": auto})


def starts_as_json(starts: Sequence[InitialTrial]) -> list[dict[str, Any]]:
    """Return the initial trials as JSON, to be stored with the study."""
    return [asdict(start) for start in starts]


def stored_pruner(settings: Settings, storage: StudyStorage) -> PrunerSettings:
    """Return the pruner of an existing study, with the pruner that ``auto`` stood for at its start."""
    return _settled(settings.pruner, storage.attribute(STORED_AUTO_PRUNER) or EARLIER_AUTO_PRUNER)


def as_stored(plan: StudyPlan, settings: Settings, storage: StudyStorage) -> StudyPlan:
    """Return the plan of an existing study, with its stored initial trials, its limit of proposals and its meaning of ``auto``.

    Studies of earlier versions have no such limit, and ``auto`` stands for another pruner.
    """
    starts = tuple(InitialTrial(**start) for start in storage.attribute("starts") or ())
    limits = replace(plan.limits, proposal_seconds=storage.attribute("proposal_seconds"))
    return replace(
        plan,
        pruner=stored_pruner(settings, storage),
        starts=starts,
        limits=limits,
        begun_with=storage.attribute("begun_with"),
    )


def as_begun(
    settings: Settings, data: TrialData, device: torch.device, storage: StudyStorage, *, workers: int
) -> tuple[TrialRunner, StudyPlan]:
    """Return the runner and the plan of an existing study, for a worker.

    Args:
        settings: settings in the study's ``config.yaml``.
        data: data of the trials.
        device: device of this worker.
        storage: storage of the study.
        workers: number of workers that share the memory of this machine.
    """
    runner = TrialRunner(
        data,
        settings.training,
        seed=settings.study.seed,
        device=device,
        speeds=CostModel.from_dict(storage.attribute("speeds")),
        metric=settings.study.metric,
        memory_mb=memory_limit(settings, device, workers=workers),
        passes=storage.attribute(PASSES) or 1,
        subset=bool(storage.attribute(SUBSET)),
    )
    skill = SkillThreshold(**storage.attribute("skill_gate"))
    return runner, as_stored(study_plan(settings, skill, runner, device, workers=workers), settings, storage)


def memory_limit(settings: Settings, device: torch.device, *, workers: int) -> float | None:
    """Return the memory in MB that each worker may use: the setting, or a share of the device's memory; None without a limit.

    The workers of a Ray cluster are on machines like this one, at most one for each core or each share of a GPU.
    """
    if settings.limits.memory_mb != "auto":
        return settings.limits.memory_mb
    total = total_mb(device)
    return None if total is None else MEMORY_SHARE * total / _sharing(settings, device, workers)


def _sharing(settings: Settings, device: torch.device, workers: int) -> int:
    """Return the number of workers that share the memory of this machine or, on a GPU, of the device."""
    if device.type == "cuda":
        if settings.gpus_per_trial is not None:
            return min(workers, math.floor(1 / settings.gpus_per_trial + 1e-9))
        return 1 if settings.engine == "ray" else math.ceil(workers / len(gpus_of(settings, device.type)))
    return min(workers, available_cores()) if settings.ray_address else workers
