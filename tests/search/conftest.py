"""Trials, spaces and studies for the search's tests; nothing here trains."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cnn_lstm_hyperopt.config import PrunerSettings, SamplerSettings, SearchSpace, parse_space
from cnn_lstm_hyperopt.search import (
    Cost,
    Limits,
    Point,
    SkillGate,
    State,
    Study,
    StudyPlan,
    StudyStorage,
    TrialRecord,
    Values,
)

WHOLE = {
    "cnn": {"dropout": 0.2, "num_filters": {"low": 8, "high": 64, "log": True}, "attention_heads": [1, 3, 4]},
    "training": {"weight_decay": {"low": 0, "high": 0.1, "log": False}, "optimizer": "sgd"},
    "augmentation": {"switch": [False, True], "mixup": 0.2},
}
"""The whole space with fixed parameters, a log range of whole numbers and head counts that must be corrected."""

TINY = {
    "cnn": {
        "num_filters": 8,
        "filter_sizes": [[3]],
        "dropout": 0.1,
        "activation": "relu",
        "residual": False,
        "attention": [False, True],
        "attention_heads": [1, 2],
    },
    "lstm": {
        "hidden_dim": 8,
        "num_layers": [1, 2],
        "dropout": 0.1,
        "bidirectional": False,
        "attention": False,
        "skip_connections": False,
    },
    "fusion": {"method": "gated", "dim": 8, "dropout": 0.1},
    "training": {
        "learning_rate": 1e-3,
        "batch_size": 16,
        "weight_decay": 0,
        "optimizer": "adam",
        "scheduler": "step",
        "gradient_clip": 1,
    },
    "regularization": {"l1_switch": False, "l2": 0, "dropout_schedule": "constant", "label_smoothing": 0},
    "multi_task": {"balancing": "fixed", "classification_weight": 0.5},
}
"""Six configurations: layers 1 or 2, and no attention or one of two head counts."""


@pytest.fixture(scope="session")
def make_space() -> Callable[..., SearchSpace]:
    """Names of the spaces above, or a nested dict."""

    def make(raw: Any = None) -> SearchSpace:
        named = {"whole": WHOLE, "tiny": TINY, None: {}}
        space, faults = parse_space(named[raw] if not isinstance(raw, dict) else raw)
        assert faults == []
        return space

    return make


@pytest.fixture(scope="session")
def make_record() -> Callable[..., TrialRecord]:
    """A trial; a curve may be given as accuracies, of one epoch and one second each."""
    blank = TrialRecord(0, State.COMPLETE, {}, None, 1.0, (), 0.0, None, "", None, {})

    def make(number: int = 0, **fields: Any) -> TrialRecord:
        curve = fields.pop("curve", ())
        speed = fields.pop("speed", 1.0)
        points = tuple(
            p if isinstance(p, Point) else Point(float(e), p, 1.0 - p, speed * e) for e, p in enumerate(curve, start=1)
        )
        values = fields.pop("values", None)
        return replace(
            blank,
            number=number,
            curve=points,
            values=None if values is None else Values(*values),
            **{"state": State.COMPLETE, "seconds": points[-1].seconds if points else 0.0, **fields},
        )

    return make


@pytest.fixture
def make_study(tmp_path: Path, make_space: Callable[..., SearchSpace]) -> Any:
    """Opens a study on ``study.db``, again on the same file when called again; all storages are closed at the end.

    With ``beside=True`` the studies opened before stay open: other workers on the same file.
    """
    opened: list[StudyStorage] = []

    def make(space: Any = None, *, sampler: Any = None, pruner: Any = None, **plan: Any) -> Study:
        path = tmp_path / plan.pop("file", "study.db")
        claim, worker = plan.pop("claim", None), plan.pop("worker", None)
        if not plan.pop("beside", False):
            for storage in opened:
                storage.close()
            opened.clear()
        storage = StudyStorage(path, create=None if path.exists() else "a study")
        opened.append(storage)
        defaults = {
            "space": make_space(space),
            "sampler": SamplerSettings(**(sampler or {"type": "random"})),
            "pruner": PrunerSettings(**(pruner or {"type": "none"})),
            "seed": 0,
            "n_trials": 100,
            "max_epochs": 3,
            "limits": Limits(),
            "gate": SkillGate(0.5, 100),
            "cost": lambda params: Cost(9.0, 0.001 * int(params["cnn.num_filters"]) * int(params["lstm.num_layers"])),
        }
        return Study(storage, StudyPlan(**{**defaults, **plan}), claim=claim, worker=worker)

    yield make
    for storage in opened:
        storage.close()
