"""Objects that workers of other machines need to run the trials of a study."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import Params, Settings
from cnn_lstm_hyperopt.data.shared_arrays import arrays_of, trial_data_of
from cnn_lstm_hyperopt.data.trial_data import TrialData
from cnn_lstm_hyperopt.execution.trial_events import TrialEvents
from cnn_lstm_hyperopt.execution.trial_loop import Runner
from cnn_lstm_hyperopt.execution.validation_files import ValidationWriter
from cnn_lstm_hyperopt.models import import_family
from cnn_lstm_hyperopt.models.own.family import own_folders
from cnn_lstm_hyperopt.search import StudyPlan
from cnn_lstm_hyperopt.training.cost_model import CostModel
from cnn_lstm_hyperopt.training.trial_costs import TrialCosts
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner
from cnn_lstm_hyperopt.utils.own_modules import FOLDERS_VARIABLE


class Workload(Protocol):
    """Protocol of an object that is sent to all processes of a run once."""

    @property
    def growth_mb(self) -> float:
        """Maximum growth of a worker's memory in MB; then a new process replaces the worker."""

    def plan(self) -> StudyPlan:
        """Return the plan of the study."""

    def runner(self) -> Runner:
        """Return the object that trains configurations in this process."""

    def writer(self, folder: Path) -> TrialEvents:
        """Return the subscriber that writes the validation predictions of finished trials into a folder."""


@dataclass(frozen=True)
class TrainingWorkload:
    """Plan, settings and data of a study.

    Attributes:
        arrays: arrays of the data; processes of one machine share them.
        facts: other facts of the data, see :func:`.arrays_of`.
        searched: plan of the study, without its function for costs, which depends on the data.
        device: type of the device on which workers train, ``cpu`` or ``cuda``.
        module_folders: folders of the modules of the user's families of networks on the machine of the main process.
    """

    settings: Settings
    searched: StudyPlan
    arrays: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Any]
    speeds: Mapping[str, Any]
    passes: int
    device: str
    growth_mb: float
    module_folders: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings, plan: StudyPlan, runner: TrialRunner, *, gpus: float) -> "TrainingWorkload":
        """Return the workload of a study whose trials ``runner`` could train in this process."""
        arrays, facts = arrays_of(runner.data)
        return cls(
            settings=settings,
            searched=replace(plan, cost=_no_cost),
            arrays=arrays,
            facts=facts,
            speeds=runner.speeds.as_dict(),
            passes=runner.costs.passes,
            device="cuda" if gpus else "cpu",
            growth_mb=settings.limits.worker_growth_mb,
            module_folders=tuple(own_folders()),
        )

    @property
    def n_bytes(self) -> int:
        """Size of the data in bytes."""
        return sum(np.asarray(array).nbytes for array in self.arrays.values())

    @cached_property
    def _data(self) -> TrialData:
        return trial_data_of(self.arrays, self.facts)

    def plan(self) -> StudyPlan:
        """Return the plan of the study."""
        self._import_families()
        costs = TrialCosts(self._data, self.settings.training, CostModel.from_dict(self.speeds), self.passes)
        return replace(self.searched, cost=costs.cost)

    def runner(self) -> TrialRunner:
        """Return the object that trains configurations on the device of this process."""
        self._import_families()
        return TrialRunner(
            self._data,
            self.settings.training,
            seed=self.searched.seed,
            device=torch.device(self.device),
            speeds=CostModel.from_dict(self.speeds),
            metric=self.settings.study.metric,
            memory_mb=self.searched.limits.memory_mb,
            passes=self.passes,
        )

    def _import_families(self) -> None:
        """Import the modules of the user's families, which this process may not have imported yet."""
        if self.module_folders:
            os.environ[FOLDERS_VARIABLE] = os.pathsep.join(self.module_folders)
        for name in self.searched.space.families:
            import_family(name)

    def writer(self, folder: Path) -> TrialEvents:
        """Return the subscriber that writes the validation predictions of finished trials into a folder."""
        return ValidationWriter(folder, self._data.folds)


def gpus_per_worker(settings: Settings, device: torch.device) -> float:
    """Return the share of a GPU that a Ray worker reserves; ``device`` is the device of the main process."""
    if settings.gpus_per_trial is not None:
        return settings.gpus_per_trial
    return 1.0 if device.type == "cuda" else 0.0


def _no_cost(params: Params) -> NoReturn:
    raise RuntimeError("the plan of a workload has no costs; use Workload.plan()")
