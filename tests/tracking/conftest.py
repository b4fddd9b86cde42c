"""Studies that were never trained: their trials are stored as a run stores them."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cnn_lstm_hyperopt.config import dump_settings, load_settings
from cnn_lstm_hyperopt.search import Point, SkillThreshold, State, StudyStorage, Values, random_configuration
from cnn_lstm_hyperopt.search.distributions import distributions_of
from cnn_lstm_hyperopt.tracking.sync_status import SyncStatus
from cnn_lstm_hyperopt.tracking.trackers.mlflow.target import MlflowTarget, mlflow_target

SKILL = SkillThreshold(chance=0.5, n_validation=1000)
CURVE = (Point(0.5, 0.5, 0.9, 0.5), Point(1.0, 0.55, 0.7, 1.0))
Planted = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_store_of_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # MLflow sets it, too; this way the test's end restores it
    monkeypatch.delenv("MLFLOW_TRACKING_URI")


def add_trials(save_dir: Path, states: list[State], *, seconds: float | None = None) -> None:
    """Ends one trial for each state; a complete one took ``seconds`` or, by its number, ever longer."""
    space = load_settings(save_dir / "config.yaml", environment={}).search_space
    storage = StudyStorage(save_dir / "study.db")
    first = storage.n_started()
    storage.set_attribute("n_trials", first + len(states))
    for number, state in enumerate(states, start=first):
        params = random_configuration(space, 0, number)
        searched = {name: value for name, value in params.items() if name in space.searched()}
        trial_id, _ = storage.start(searched, distributions_of(space, searched), {"size_mb": 2.5, "worker": 1})
        storage.record_curve(trial_id, (*CURVE, Point(2.0, 0.6 + number / 100, 0.6, 2.0)))
        values = Values(0.6 + number / 100, 2.0 + number if seconds is None else seconds, 2.5 - number / 100)
        ended = {"epochs": 2.0, "seconds": 2.0, "finish_order": number}
        if state is State.COMPLETE:
            storage.finish(trial_id, state, values, ended)
        elif state is not State.RUNNING:
            storage.finish(trial_id, state, None, {**ended, "reason": "median: because"})
    storage.close()


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Planted]:
    """``planted(states, **mlflow)``: a directory with a study whose trials have these states."""

    def plant(states: list[State], **mlflow: Any) -> Path:
        save_dir = tmp_path / "results"
        save_dir.mkdir()
        given = {"save_dir": save_dir, "study": {"n_trials": len(states)}, "mlflow": {"enabled": True, **mlflow}}
        (save_dir / "config.yaml").write_text(dump_settings(load_settings(given, environment={})), encoding="utf-8")
        (save_dir / "data.json").write_text("{}", encoding="utf-8")
        (save_dir / "results.json").write_text(json.dumps({"study_name": "x"}), encoding="utf-8")
        attributes = {"skill_gate": asdict(SKILL), "n_trials": len(states)}
        StudyStorage(save_dir / "study.db", create="planted", attributes=attributes).close()
        add_trials(save_dir, states)
        return save_dir

    return plant


def target_of(save_dir: Path) -> MlflowTarget:
    return mlflow_target(load_settings(save_dir / "config.yaml", environment={}), {})


def exported(save_dir: Path) -> SyncStatus:
    """Exports the study to the end."""
    from cnn_lstm_hyperopt.tracking.trackers.mlflow.export import MlflowExporter

    status = save_dir.parent / "status.json"
    with contextlib.closing(MlflowExporter(save_dir, target_of(save_dir), status)) as exporter:
        assert exporter.sync(final=False)
        assert exporter.sync(final=False)
        assert exporter.sync(final=True)
    return SyncStatus(**json.loads(status.read_text()))


def runs_at(uri: str) -> list[Any]:
    """All runs of the default experiment."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("CNN_LSTM_Hyperopt_Task_5_5")
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


def of_kind(runs: list[Any], kind: str) -> list[Any]:
    return [run for run in runs if run.data.tags["kind"] == kind]
