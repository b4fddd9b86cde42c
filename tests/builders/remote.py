"""A workload whose trials train nothing, for workers in other processes. Processes of Ray import this module."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from builders.records import make_plan, make_space
from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.execution.trial_events import TrialEvents
from cnn_lstm_hyperopt.progress import CONTINUE, Action, OnReport, ProgressReport
from cnn_lstm_hyperopt.search import Cost, StudyPlan
from cnn_lstm_hyperopt.training import Evaluation, Outcome, Predictions
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork
from cnn_lstm_hyperopt.utils.heartbeat import beat

SPACE = {
    "cnn": {"num_filters": 8, "filter_sizes": [[3]], "dropout": [0.1, 0.5], "activation": "relu", "residual": False},
    "training": {"learning_rate": [1e-5, 1e-2], "batch_size": 16, "optimizer": "adam"},
}
EPOCHS = 3


def cost(params: Params) -> Cost:
    """Seconds that do not depend on the configuration; the number of filters as MB."""
    return Cost(1.0, 0.001 * int(params["cnn.num_filters"]))


@dataclass
class CheapRunner:
    """A runner whose trials report three epochs. On the machine ``victim``, a late trial lasts until its process is killed."""

    held: Path | None
    victim: str

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    def run_trial(self, number: int, params: Params, on_report: OnReport, **options: Any) -> TrainedNetwork:
        """Report scores that follow from the learning rate."""
        score = 0.6 + 10 * float(params["training.learning_rate"])
        decision, epoch = CONTINUE, 0
        for epoch in range(1, EPOCHS + 1):
            if self.held is not None and number >= 40 and _machine() == self.victim:
                self.held.touch()
                while True:
                    beat()
                    time.sleep(0.1)
            last = epoch == EPOCHS
            decision = on_report(ProgressReport(float(epoch), 0.1 * epoch, 0.3, score, 1 - score, last))
            if decision.action is not Action.CONTINUE:
                break
        best = Evaluation(0.5, score, None, Predictions(np.full((1, 2), 0.5, np.float32), None), score)
        outcome = Outcome(epoch, best, float(epoch), 0.1 * epoch, 0.3, decision)
        return TrainedNetwork((torch.nn.Linear(1, 1),), outcome, 1.0, "float32")


@dataclass(frozen=True)
class CheapWorkload:
    """A workload of cheap trials; see :class:`CheapRunner`."""

    n_trials: int
    held: Path | None = None
    victim: str = ""
    growth_mb: float = 500.0

    def plan(self) -> StudyPlan:
        """Random configurations, no pruning."""
        return replace(make_plan(make_space(SPACE), n_trials=self.n_trials), cost=cost)

    def runner(self) -> CheapRunner:
        """Of this process."""
        return CheapRunner(self.held, self.victim)

    def writer(self, folder: Path) -> TrialEvents:
        """Write nothing."""
        return TrialEvents()


def _machine() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())
