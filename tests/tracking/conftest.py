"""A study that was never trained: its trials are stored as a run stores them, in no time."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cnn_lstm_hyperopt.config import dump_settings, load_settings
from cnn_lstm_hyperopt.search import Point, SkillThreshold, State, StudyStorage, Values, random_configuration
from cnn_lstm_hyperopt.search.distributions import distributions_of
from cnn_lstm_hyperopt.tracking.process import ExportProcess, SyncStatus
from cnn_lstm_hyperopt.tracking.target import Target, tracking_target

SKILL = SkillThreshold(chance=0.5, n_validation=1000)
Planted = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_store_of_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # MLflow sets it, too; this way the test's end restores it
    monkeypatch.delenv("MLFLOW_TRACKING_URI")


def add_trials(storage: StudyStorage, settings: Any, states: list[State], *, seconds: float | None = None) -> None:
    """Ends one trial for each state; a complete one has two epochs, and its number decides how long it took, or ``seconds``."""
    first = storage.n_started()
    for number, state in enumerate(states, start=first):
        params = random_configuration(settings.search_space, 0, number)
        searched = {name: value for name, value in params.items() if name in settings.search_space.searched()}
        trial_id, _ = storage.start(
            searched, distributions_of(settings.search_space, searched), {"size_mb": 2.5, "worker": 1}
        )
        storage.record_curve(
            trial_id, (Point(0.5, 0.5, 0.9, 0.5), Point(1.0, 0.55, 0.7, 1.0), Point(2.0, 0.6 + number / 100, 0.6, 2.0))
        )
        took = 2.0 + number if seconds is None else seconds
        values = Values(0.6 + number / 100, took, 2.5 - number / 100) if state is State.COMPLETE else None
        told = {"epochs": 2.0, "seconds": 2.0, "finish_order": number}
        if state is not State.COMPLETE:
            told["reason"] = "median: because"
        if state is not State.RUNNING:
            storage.finish(trial_id, state, values, told)


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Planted]:
    """``planted(states, **mlflow)``: a directory with a study whose trials ended so."""

    def plant(states: list[State], **mlflow: Any) -> Path:
        save_dir = tmp_path / "results"
        save_dir.mkdir()
        given = {"save_dir": save_dir, "study": {"n_trials": len(states)}, "mlflow": mlflow}
        settings = load_settings(given, environment={})
        (save_dir / "config.yaml").write_text(dump_settings(settings), encoding="utf-8")
        (save_dir / "data.json").write_text("{}", encoding="utf-8")
        (save_dir / "results.json").write_text(json.dumps({"study_name": "x"}), encoding="utf-8")
        attributes = {"skill_gate": asdict(SKILL), "n_trials": len(states)}
        storage = StudyStorage(save_dir / "study.db", create="planted", attributes=attributes)
        add_trials(storage, settings, states)
        storage.close()
        return save_dir

    return plant


def target_of(save_dir: Path) -> Target:
    target = tracking_target(load_settings(save_dir / "config.yaml", environment={}), {})
    assert target is not None
    return target


def exported(save_dir: Path) -> SyncStatus:
    """Exports the study in a process of its own, to the end."""
    status = ExportProcess(save_dir, target_of(save_dir)).finish(None)
    assert status.error == ""
    return status
