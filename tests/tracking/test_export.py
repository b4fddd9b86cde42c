"""A study in MLflow equals ``study.db``, however often and in how many parts it was exported."""

from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.search import State, StudyStorage, with_fixed
from cnn_lstm_hyperopt.tracking.process import ExportProcess
from cnn_lstm_hyperopt.tracking.worker import LOCK_FILE

from .conftest import Planted, add_trials, exported, target_of

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow's own libraries, which the tests ask, too

STATES = [State.COMPLETE, State.PRUNED, State.FAIL, State.COMPLETE, State.RUNNING]


def runs_of(save_dir: Path) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=target_of(save_dir).uri)
    experiment = client.get_experiment_by_name("CNN_LSTM_Hyperopt_Task_5_5")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def histories(save_dir: Path) -> dict[str, Any]:
    """All that there is of every metric of every run."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=target_of(save_dir).uri)
    return {
        f"{run.info.run_id} {name}": sorted(
            (m.step, m.timestamp, m.value) for m in client.get_metric_history(run.info.run_id, name)
        )
        for run in runs_of(save_dir)
        for name in run.data.metrics
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_study_is_exported_once_whatever_happens(planted: Planted) -> None:
    save_dir = planted(STATES)
    assert exported(save_dir).trials == 4

    runs, before = runs_of(save_dir), histories(save_dir)
    (study,) = [run for run in runs if run.data.tags["kind"] == "study"]
    trials = {int(run.data.tags["trial_number"]): run for run in runs if run.data.tags["kind"] == "trial"}
    assert sorted(trials) == [0, 1, 2, 3]  # the running one has not ended
    assert study.info.status == "KILLED"  # 3 of 5 trials are finished
    assert study.data.params["study.n_trials"] == "5"
    assert study.data.metrics["trials_ended"] == 4

    storage = StudyStorage(save_dir / "study.db")
    records, times = storage.records(), storage.times()
    storage.close()
    space = load_settings(save_dir / "config.yaml", environment={}).search_space
    for number, run in trials.items():
        record = records[number]
        assert run.data.tags["mlflow.parentRunId"] == study.info.run_id
        assert run.data.tags["state"] == record.state.value
        assert run.info.status == {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}[record.state.value]
        assert run.data.params.keys() == with_fixed(space, record.params).keys()
        rate = record.params["training.learning_rate"]
        assert float(run.data.params["training.learning_rate"]) == rate
        began, ended = times[number]
        assert began is not None
        assert ended is not None
        assert run.info.start_time == int(began.timestamp() * 1000)
        assert run.info.end_time == int(ended.timestamp() * 1000)
        curve = [(step, value) for step, _, value in before[f"{run.info.run_id} val_accuracy"]]
        assert curve == [(int(point.epoch), point.score) for point in record.curve]
        if record.values is not None:
            assert run.data.metrics["accuracy"] == record.values.score
            assert run.data.metrics["training_seconds"] == record.values.seconds
            assert run.data.metrics["size_mb"] == record.values.size_mb
        else:
            assert run.data.tags["reason"] == "median: because"

    exported(save_dir)
    assert len(runs_of(save_dir)) == len(runs)
    assert histories(save_dir) == before

    # A trial of which half was written, and trials that came later.
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=target_of(save_dir).uri)
    client.update_run(trials[0].info.run_id, status="RUNNING")
    client.delete_run(trials[3].info.run_id)
    storage = StudyStorage(save_dir / "study.db")
    storage.set_attribute("n_trials", 6)
    add_trials(storage, load_settings(save_dir / "config.yaml", environment={}), [State.COMPLETE, State.PRUNED])
    storage.close()
    assert exported(save_dir).trials == 6
    after = runs_of(save_dir)
    assert len(after) == 7
    assert all(run.info.status != "RUNNING" for run in after)
    (again,) = [run for run in after if run.data.tags["kind"] == "study"]
    assert again.info.run_id == study.info.run_id
    assert histories(save_dir)[f"{trials[0].info.run_id} val_loss"] == before[f"{trials[0].info.run_id} val_loss"]
    artifacts = {each.path for each in client.list_artifacts(study.info.run_id)}
    assert artifacts == {"results.json", "config.yaml", "data.json"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_grows_is_not_doubled(planted: Planted) -> None:
    """The trial that comes later is in the middle of the others: hypervolumes are measured from the same point as before."""
    save_dir = planted([State.COMPLETE] * 4)
    exported(save_dir)
    before = histories(save_dir)
    storage = StudyStorage(save_dir / "study.db")
    storage.set_attribute("n_trials", 5)
    settings = load_settings(save_dir / "config.yaml", environment={})
    add_trials(storage, settings, [State.COMPLETE], seconds=4.0)
    storage.close()
    exported(save_dir)
    after = histories(save_dir)
    (volumes,) = (name for name in after if name.endswith(" hypervolume"))
    assert not any("hypervolume_after" in name for name in after)
    assert after[volumes][: len(before[volumes])] == before[volumes]
    assert len({step for step, _, _ in after[volumes]}) == len(after[volumes]) == len(before[volumes]) + 1
    (study,) = [run for run in runs_of(save_dir) if run.data.tags["kind"] == "study"]
    ended = study.info.end_time
    exported(save_dir)
    assert [run.info.end_time for run in runs_of(save_dir) if run.info.run_id == study.info.run_id] == [ended]


def test_only_one_process_exports_a_study(planted: Planted) -> None:
    save_dir = planted([State.COMPLETE])
    with FileLock(save_dir / LOCK_FILE):
        status = ExportProcess(save_dir, target_of(save_dir)).finish(600)
    assert status.error.startswith(f"another process mirrors {save_dir}")
    assert status.trials == 0
