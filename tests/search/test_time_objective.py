"""study.time_objective: measured seconds, or estimated ones, with which one seed and one worker give one study."""

import csv
import itertools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from builders.finalists import evaluation
from builders.records import make_plan
from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer
from cnn_lstm_hyperopt.execution import FINISHED, StopSignal, run_trials
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, ProgressReport
from cnn_lstm_hyperopt.search import Cost, Limits, State, Study, StudyStorage
from cnn_lstm_hyperopt.training import Outcome
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork


@dataclass
class Fake:
    """A runner of four epochs of ``seconds`` each by the clock; it may end itself earlier."""

    seconds: float
    ends_after: int = 4
    decision: Decision = CONTINUE
    device = torch.device("cpu")

    def run_trial(self, number, params, on_report, *, checkpoint=None, start=None, memory_level=0):
        decision, epoch = CONTINUE, 0
        for epoch in range(1, self.ends_after + 1):
            last = epoch == self.ends_after
            decision = on_report(
                ProgressReport(float(epoch), self.seconds * epoch, 4 * self.seconds, 0.7, 0.3 - epoch / 100, last)
            )
            if decision.action is not Action.CONTINUE:
                break
        ended = decision if decision.action is not Action.CONTINUE else self.decision
        outcome = Outcome(epoch, evaluation(0.3, 0.7), float(epoch), self.seconds * epoch, 4 * self.seconds, ended)
        return TrainedNetwork((torch.nn.Linear(1, 1),), outcome, 12.5, "float32")


COMPLETE, PRUNED = State.COMPLETE, State.PRUNED
ENDS = [
    # estimated: 2 s an epoch, whatever the clock measures
    (True, Fake(0.001), COMPLETE, 8.0, [2.0, 4.0, 6.0, 8.0], 8.0, 0.004),
    (True, Fake(5000.0), COMPLETE, 8.0, [2.0, 4.0, 6.0, 8.0], 8.0, 20000.0),
    (True, Fake(2.5, ends_after=3), COMPLETE, 6.0, [2.0, 4.0, 6.0], 8.0, 7.5),
    (True, Fake(2.5, 2, Decision(Action.PRUNE, "median: x")), PRUNED, 4.0, [2.0, 4.0], 8.0, 5.0),
    # measured
    (False, Fake(2.25), COMPLETE, 9.0, [2.25, 4.5, 6.75, 9.0], 9.0, 9.0),
    (False, Fake(5.0), PRUNED, 5.0, [5.0], 20.0, 5.0),  # beyond the limit
]


@pytest.mark.parametrize(("estimated", "runner", "state", "seconds", "curve", "projected", "measured"), ENDS)
def test_a_trial_is_stored_with_the_seconds_of_the_time_objective(
    tmp_path, estimated, runner, state, seconds, curve, projected, measured
):
    """The cost model expects 8 s for four epochs; the limit is 10 s."""
    storage = StudyStorage.in_memory("x")
    plan = make_plan(
        n_trials=1,
        max_epochs=4,
        limits=Limits(seconds=10.0),
        cost=lambda params: Cost(8.0, 0.25, 400.0),
        estimated_time=estimated,
    )
    done = run_trials(Study(storage, plan), runner, stop=StopSignal(), callbacks=[], checkpoints=tmp_path)
    (record,) = storage.records()
    assert (done, record.state) == (FINISHED, state)
    assert record.values == ((0.7, seconds, 0.25) if state is COMPLETE else None)
    assert (record.seconds, record.projected_seconds) == (seconds, projected)
    assert [point.seconds for point in record.curve] == curve
    assert record.attributes["measured_seconds"] == measured
    assert record.attributes["estimated_seconds"] == 8.0


@pytest.fixture(scope="module")
def search(tmp_path_factory, tiny_settings: dict[str, Any]):
    """Run TINY with estimated time up to each of the totals and return the rows of trials.csv."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cnn_lstm_hyperopt.search.cost_forecast.SAMPLED", 40)  # a quick forecast

        def run(*totals: int, seed: int = 0) -> list[dict[str, str]]:
            save_dir = tmp_path_factory.mktemp("estimated") / "results"
            study = {"seed": seed, "portfolio": False, "time_objective": "estimated"}
            config = {**tiny_settings, "data": {**tiny_settings["data"], "end": "2006-06-30"}, "study": study}
            for total in totals:
                with CNNLSTMHyperparameterOptimizer(
                    save_dir=save_dir, config=config, resume=save_dir.exists(), quiet=True
                ) as optimizer:
                    optimizer.optimize(n_trials=total)
            return list(csv.DictReader((save_dir / "trials.csv").read_text(encoding="utf-8").splitlines()))

        yield run


@pytest.fixture(scope="module")
def whole(search) -> list[dict[str, str]]:
    return search(6)


def without_clock(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if name != "measured_seconds"} for row in rows]


def test_the_same_seed_gives_the_same_trials_with_any_clock(whole, search, monkeypatch):
    """The second clock jumps by 1,000 s, 2,000 s or 1 s between two calls."""
    leaps, now = itertools.cycle([1000.0, 2000.0, 1.0]), [0.0]

    def leaping():
        now[0] += next(leaps)
        return now[0]

    clock = SimpleNamespace(perf_counter=leaping, process_time=leaping)
    monkeypatch.setattr("cnn_lstm_hyperopt.training.stopwatch.time", clock)
    again = search(6)
    assert without_clock(again) == without_clock(whole)
    assert min(float(row["measured_seconds"]) for row in again) > 1000


@pytest.mark.slow
def test_an_interrupted_and_resumed_study_is_the_uninterrupted_one(whole, search):
    assert without_clock(search(3, 6)) == without_clock(whole)
