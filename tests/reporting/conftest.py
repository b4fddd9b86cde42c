"""Trials for the reports' tests."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cnn_lstm_hyperopt.config import SamplerSettings, SearchSpace, parse_space
from cnn_lstm_hyperopt.search import Point, State, TrialRecord, Values
from cnn_lstm_hyperopt.search.samplers import RandomSampler


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    """The whole space with one parameter fixed."""
    return parse_space({"cnn": {"dropout": 0.25}})[0]


@pytest.fixture(scope="session")
def make_record(space: SearchSpace) -> Callable[..., TrialRecord]:
    """A trial of a random configuration; ``curve`` may be given as accuracies."""
    sampler = RandomSampler(space, SamplerSettings(), 0)
    blank = TrialRecord(0, State.COMPLETE, {}, None, 2.0, (), 0.0, None, "", None, {})

    def make(number: int = 0, **fields: Any) -> TrialRecord:
        curve = tuple(Point(float(e), a, 1 - a, float(e)) for e, a in enumerate(fields.pop("curve", ()), start=1))
        values = fields.pop("values", None)
        params = sampler.propose(number, [], 0)
        return replace(
            blank,
            number=number,
            curve=curve,
            values=None if values is None else Values(*values),
            **{"params": params, **fields},
        )

    return make
