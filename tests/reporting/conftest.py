"""Trials and tested models for the tests of reports."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from builders import records
from builders.finalists import confirmation, mostly, planted
from cnn_lstm_hyperopt.config import SearchSpace, load_settings
from cnn_lstm_hyperopt.data.dataset import Dataset, LockedPeriod
from cnn_lstm_hyperopt.evaluation import BASELINES
from cnn_lstm_hyperopt.pipeline.retraining import Retrained
from cnn_lstm_hyperopt.pipeline.test_evaluation import Verdict, evaluate_once
from cnn_lstm_hyperopt.search import StudyPlan, TrialRecord, random_configuration


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    """The full space with one fixed parameter."""
    return records.make_space({"cnn": {"dropout": 0.25}})


@pytest.fixture(scope="session")
def plan(space: SearchSpace) -> StudyPlan:
    """A plan of trials of ten epochs; the skill threshold is 0.60."""
    return records.make_plan(space, pruner={"type": "median"}, max_epochs=10)


@pytest.fixture(scope="session")
def make_record(space: SearchSpace) -> Callable[..., TrialRecord]:
    """A builder of trials with random configurations."""

    def make(number: int = 0, **fields: Any) -> TrialRecord:
        params = {n: v for n, v in random_configuration(space, 0, number).items() if n in space.searched()}
        return records.make_record(number, **{"params": params, **fields})

    return make


@pytest.fixture(scope="module", autouse=True)
def _few_trees() -> Iterator[None]:
    """Small baselines: no report depends on how good they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BASELINES["gradient boosting"], "MAX_TREES", 5)
        yield


@pytest.fixture(scope="session")
def tested(apple: Callable[..., Dataset]) -> Dataset:
    """Its labels are taken for directions, so that there is a strategy."""
    return replace(apple(), target="direction")


@pytest.fixture(scope="session")
def models(tested: Dataset) -> list[Retrained]:
    """The first predicts values and has three seeds and a failed fourth; its second seed is best on validation."""
    labels = tested.test.open().labels.numpy()
    values = np.full(len(labels), tested.value_mean)
    runs = [replace(mostly(labels, share, seed=seed), values=values) for seed, share in enumerate((0.6, 0.9, 0.7))]
    fresh = confirmation(3, 10, 0.66, 0.6, 0.62)
    first = planted(1, *runs, losses=(0.7, 0.6, 0.65), failures=("seed 4: x",), confirmed=fresh)
    return [first, planted(2, mostly(labels, 0.5, seed=9))]


@pytest.fixture(scope="session")
def judged(models: list[Retrained], tested: Dataset) -> Callable[..., Verdict]:
    """Judge the models by a metric, which is the study's, too, on test windows that are changed so; once without a change."""
    known: dict[str, Verdict] = {}

    def judge(metric: str = "accuracy", **changed: Any) -> Verdict:
        if changed or metric not in known:
            settings = load_settings(
                {"study": {"metric": metric}, "evaluation": {"cost_bps": 2.5, "verdict_metric": metric}}, environment={}
            )
            dataset = replace(tested, test=LockedPeriod(replace(tested.test.open(), **changed)))
            verdict = evaluate_once(models, dataset, settings)
            if changed:
                return verdict
            known[metric] = verdict
        return known[metric]

    return judge
