"""Trials for the reports' tests."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from cnn_lstm_hyperopt.config import PrunerSettings, SamplerSettings, SearchSpace, parse_space
from cnn_lstm_hyperopt.evaluation import BASELINES
from cnn_lstm_hyperopt.search import (
    Cost,
    Limits,
    Point,
    SkillThreshold,
    State,
    StudyPlan,
    TrialRecord,
    Values,
    random_configuration,
)


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    """The whole space with one parameter fixed."""
    return parse_space({"cnn": {"dropout": 0.25}})[0]


@pytest.fixture(scope="session")
def plan(space: SearchSpace) -> StudyPlan:
    """Of trials of ten epochs; the skill threshold needs 0.60."""
    return StudyPlan(
        space=space,
        sampler=SamplerSettings(type="random"),
        pruner=PrunerSettings(type="median"),
        seed=0,
        n_trials=100,
        max_epochs=10,
        limits=Limits(),
        skill=SkillThreshold(0.5, 100),
        cost=lambda params: Cost(10.0, 0.5),
    )


@pytest.fixture(scope="session")
def make_record(space: SearchSpace) -> Callable[..., TrialRecord]:
    """A trial of a random configuration; ``curve`` may be given as accuracies."""
    blank = TrialRecord(0, State.COMPLETE, {}, None, 2.0, (), 0.0, None, "", None, {})

    def make(number: int = 0, **fields: Any) -> TrialRecord:
        curve = tuple(Point(float(e), a, 1 - a, float(e)) for e, a in enumerate(fields.pop("curve", ()), start=1))
        values = fields.pop("values", None)
        params = {n: v for n, v in random_configuration(space, 0, number).items() if n in space.searched()}
        return replace(
            blank,
            number=number,
            curve=curve,
            values=None if values is None else Values(*values),
            **{"params": params, **fields},
        )

    return make


@pytest.fixture(scope="module", autouse=True)
def _few_trees() -> Iterator[None]:
    """What is reported of a baseline does not depend on how good it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BASELINES["gradient boosting"], "MAX_TREES", 5)
        yield
