"""Trials for the tests of reports."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from builders import records
from cnn_lstm_hyperopt.config import SearchSpace
from cnn_lstm_hyperopt.evaluation import BASELINES
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
