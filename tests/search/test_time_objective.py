"""study.time_objective: the clock's seconds, or the cost model's, with which one seed and one worker give one study."""

import csv
import itertools
import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer
from cnn_lstm_hyperopt.config import PrunerSettings, SamplerSettings, parse_space
from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.execution import FINISHED, StopSignal, run_trials
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, ProgressReport
from cnn_lstm_hyperopt.search import Cost, Limits, SkillThreshold, State, Study, StudyPlan, StudyStorage
from cnn_lstm_hyperopt.training import Evaluation, Outcome, Predictions
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork

# ---------------------------------------------------------------------- what a trial is stored with


@dataclass
class Fake:
    """A runner of four epochs whose clock says ``seconds`` an epoch; it may end itself after some of them."""

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
        best = Evaluation(0.3, 0.7, None, Predictions(np.full((1, 2), 0.5, np.float32), None), 0.7)
        ended = decision if decision.action is not Action.CONTINUE else self.decision
        outcome = Outcome(epoch, best, float(epoch), self.seconds * epoch, 4 * self.seconds, ended)
        return TrainedNetwork((torch.nn.Linear(1, 1),), outcome, 12.5, "float32")


@pytest.fixture
def run_one(tmp_path):
    """The record of a trial that the cost model expects to take 8 s."""

    def run(runner, *, estimated):
        storage = StudyStorage(tmp_path / f"{estimated}.db", create="x")
        try:
            plan = StudyPlan(
                space=parse_space(None)[0],
                sampler=SamplerSettings(type="random"),
                pruner=PrunerSettings(type="none"),
                seed=0,
                n_trials=1,
                max_epochs=4,
                limits=Limits(seconds=10.0),
                skill=SkillThreshold(0.5, 100),
                cost=lambda params: Cost(8.0, 0.25, 400.0),
                estimated_time=estimated,
            )
            assert (
                run_trials(Study(storage, plan), runner, stop=StopSignal(), callbacks=[], checkpoints=tmp_path)
                == FINISHED
            )
            (record,) = storage.records()
        finally:
            storage.close()
        return record

    return run


@pytest.mark.parametrize("seconds", [0.001, 5000.0])
def test_an_estimated_trial_is_stored_with_the_estimate_and_beside_it_what_the_clock_said(run_one, seconds):
    record = run_one(Fake(seconds), estimated=True)
    assert record.state is State.COMPLETE
    assert record.values == (0.7, 8.0, 0.25)
    assert (record.seconds, record.projected_seconds) == (8.0, 8.0)
    assert [point.seconds for point in record.curve] == [2.0, 4.0, 6.0, 8.0]
    assert record.attributes["measured_seconds"] == 4 * seconds


def test_an_estimated_trial_that_patience_ends_counts_the_epochs_it_had(run_one):
    record = run_one(Fake(2.5, ends_after=3), estimated=True)
    assert record.values == (0.7, 6.0, 0.25)
    assert (record.projected_seconds, record.attributes["measured_seconds"]) == (8.0, 7.5)


def test_an_estimated_trial_that_is_pruned_counts_the_epochs_it_had(run_one):
    record = run_one(Fake(2.5, ends_after=2, decision=Decision(Action.PRUNE, "median: x")), estimated=True)
    assert (record.state, record.values) == (State.PRUNED, None)
    assert (record.seconds, record.projected_seconds) == (4.0, 8.0)


def test_a_measured_trial_is_stored_with_what_the_clock_said(run_one):
    record = run_one(Fake(2.25), estimated=False)
    assert record.values == (0.7, 9.0, 0.25)
    assert (record.seconds, record.projected_seconds, record.attributes["measured_seconds"]) == (9.0, 9.0, 9.0)
    assert record.attributes["estimated_seconds"] == 8.0
    assert [point.seconds for point in record.curve] == [2.25, 4.5, 6.75, 9.0]


def test_the_clock_ends_a_measured_trial_that_is_beyond_the_limit(run_one):
    record = run_one(Fake(5.0), estimated=False)
    assert (record.state, record.seconds) == (State.PRUNED, 5.0)
    assert record.reason == "limit: projected 20 s exceed limits.trial_seconds=10"


# ---------------------------------------------------------------------- one seed, one study


CLOCK = ("measured_seconds",)
"""Columns that say what the clock said."""


@pytest.fixture(scope="module")
def search(tmp_path_factory, tiny_settings: dict[str, Any]):
    """Runs TINY with estimated time up to each of the given totals, and gives the rows of trials.csv."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cnn_lstm_hyperopt.search.cost_forecast.SAMPLED", 40)  # the forecast is not what is tried here

        def run(*totals: int, seed: int = 0) -> list[dict[str, str]]:
            save_dir = tmp_path_factory.mktemp("estimated") / "results"
            data = {**tiny_settings["data"], "end": "2006-06-30"}
            config = {
                **tiny_settings,
                "data": data,
                "study": {"seed": seed, "portfolio": False, "time_objective": "estimated"},
            }
            for total in totals:
                with CNNLSTMHyperparameterOptimizer(
                    save_dir=save_dir, config=config, resume=save_dir.exists(), quiet=True
                ) as optimizer:
                    optimizer.optimize(n_trials=total)
            text = (save_dir / "trials.csv").read_text(encoding="utf-8")
            return list(csv.DictReader(text.splitlines()))

        yield run


@pytest.fixture(scope="module")
def whole(search) -> list[dict[str, str]]:
    return search(6)


def without_clock(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if name not in CLOCK} for row in rows]


def test_the_clock_is_in_its_own_column_and_in_no_other(whole):
    assert len(whole) == 6
    assert {row["state"] for row in whole} <= {"COMPLETE", "PRUNED"}
    assert all(float(row["measured_seconds"]) != float(row["training_seconds"]) for row in whole)


def test_the_same_seed_gives_the_same_trials_whatever_the_clock_says(whole, search, monkeypatch):
    """The second time a clock runs in leaps and bounds: 1,000 s, 2,000 s, 1 s between two looks."""
    leaps, now = itertools.cycle([1000.0, 2000.0, 1.0]), [0.0]

    def leaping():
        now[0] += next(leaps)
        return now[0]

    monkeypatch.setattr(
        "cnn_lstm_hyperopt.training.trainer.time", SimpleNamespace(perf_counter=leaping, process_time=leaping)
    )
    again = search(6)
    assert without_clock(again) == without_clock(whole)
    assert min(float(row["measured_seconds"]) for row in again) > 1000


@pytest.mark.slow
def test_a_study_that_was_interrupted_and_resumed_is_the_uninterrupted_one(whole, search):
    assert without_clock(search(3, 6)) == without_clock(whole)


def test_another_seed_is_another_study(whole, search):
    other = search(3, seed=4)  # the first one may be at chance with both
    assert all(
        one["training.learning_rate"] != two["training.learning_rate"] for one, two in zip(whole, other, strict=False)
    )
    assert [row["accuracy"] for row in other] != [row["accuracy"] for row in whole[:3]]


def test_estimated_seconds_are_those_of_the_cost_model_for_the_epochs_that_were_run(whole, tiny_settings):
    epochs = tiny_settings["training"]["max_epochs"]
    for row in whole:
        share = float(row["epochs"]) / epochs
        assert float(row["training_seconds"]) == pytest.approx(share * float(row["projected_seconds"]))
        assert math.isfinite(float(row["memory_mb"]))
        assert row["precision"] in ("float32", "bfloat16")


def test_a_study_is_not_resumed_with_another_time_objective(tiny: dict[str, Any]):
    """Seconds of the clock and of the cost model can't stand in one front."""
    config = {**tiny, "study": {"n_trials": 1, "time_objective": "measured"}}
    with CNNLSTMHyperparameterOptimizer(config=config, quiet=True) as optimizer:
        optimizer.optimize()
    config = {**tiny, "study": {"n_trials": 2, "time_objective": "estimated"}}
    with (
        CNNLSTMHyperparameterOptimizer(config=config, resume=True, quiet=True) as optimizer,
        pytest.raises(SaveDirError, match=r"study\.time_objective: measured → estimated"),
    ):
        optimizer.optimize()
