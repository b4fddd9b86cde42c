"""A study in MLflow equals ``study.db``, however often and in how many parts it was exported."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.search import State, StudyStorage, with_fixed

from .conftest import Planted, add_trials, exported, of_kind, runs_at, target_of

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow's own libraries

STATES = [State.COMPLETE, State.PRUNED, State.FAIL, State.COMPLETE, State.RUNNING]
STATUS = {State.COMPLETE: "FINISHED", State.PRUNED: "KILLED", State.FAIL: "FAILED"}


def histories(save_dir: Path) -> dict[tuple[str, str], Any]:
    """All values of every metric of every run."""
    from mlflow import MlflowClient

    uri = target_of(save_dir).uri
    client = MlflowClient(tracking_uri=uri)
    return {
        (run.info.run_id, name): sorted(
            (m.step, m.timestamp, m.value) for m in client.get_metric_history(run.info.run_id, name)
        )
        for run in runs_at(uri)
        for name in run.data.metrics
    }


@pytest.mark.timeout(900)
def test_a_study_is_exported_once_whatever_happens(planted: Planted) -> None:
    from mlflow import MlflowClient

    save_dir = planted(STATES)
    (save_dir / "figures").mkdir()
    (save_dir / "figures" / "front.svg").touch()
    uri = target_of(save_dir).uri
    client = MlflowClient(tracking_uri=uri)
    status = exported(save_dir)
    assert (status.trials, status.error) == (4, "")

    runs, before = runs_at(uri), histories(save_dir)
    (study,) = of_kind(runs, "study")
    trials = {int(run.data.tags["trial_number"]): run for run in of_kind(runs, "trial")}
    assert sorted(trials) == [0, 1, 2, 3]  # the running one has not ended
    assert study.info.status == "KILLED"  # 3 of 5 trials are finished
    assert (study.data.params["study.n_trials"], study.data.metrics["trials_ended"]) == ("5", 4)
    artifacts = {each.path for each in client.list_artifacts(study.info.run_id)}
    assert artifacts == {"results.json", "config.yaml", "data.json", "figures"}

    storage = StudyStorage(save_dir / "study.db")
    records, times = storage.records(), storage.times()
    storage.close()
    space = load_settings(save_dir / "config.yaml", environment={}).search_space
    for number, run in trials.items():
        record, (began, ended) = records[number], times[number]
        assert run.data.tags["mlflow.parentRunId"] == study.info.run_id
        assert (run.data.tags["state"], run.info.status) == (record.state.value, STATUS[record.state])
        assert run.data.params.keys() == with_fixed(space, record.params).keys()
        assert float(run.data.params["training.learning_rate"]) == record.params["training.learning_rate"]
        moments = [int(moment.timestamp() * 1000) for moment in (began, ended)]
        assert [run.info.start_time, run.info.end_time] == moments
        curve = [(step, value) for step, _, value in before[run.info.run_id, "val_accuracy"]]
        assert curve == [(int(point.epoch), point.score) for point in record.curve]
        if record.values is not None:
            found = [run.data.metrics[name] for name in ("accuracy", "training_seconds", "size_mb")]
            assert found == [record.values.score, record.values.seconds, record.values.size_mb]
        else:
            assert run.data.tags["reason"] == "median: because"

    exported(save_dir)
    assert len(runs_at(uri)) == len(runs)
    assert histories(save_dir) == before
    (again,) = of_kind(runs_at(uri), "study")
    assert again.info.end_time == study.info.end_time

    # A trial that was written in part, one that was lost, one that exists twice since an answer was lost, and later ones; none
    # moves the reference of the hypervolume.
    tags = {name: value for name, value in trials[1].data.tags.items() if not name.startswith("mlflow.")}
    client.create_run(study.info.experiment_id, tags=tags)
    client.update_run(trials[0].info.run_id, status="RUNNING")
    client.delete_run(trials[3].info.run_id)
    add_trials(save_dir, [State.COMPLETE, State.PRUNED], seconds=4.0)
    assert exported(save_dir).trials == 6
    after, values = runs_at(uri), histories(save_dir)
    assert len(after) == 7
    assert all(run.info.status != "RUNNING" for run in after)
    assert of_kind(after, "study")[0].info.run_id == study.info.run_id
    assert values[trials[0].info.run_id, "val_loss"] == before[trials[0].info.run_id, "val_loss"]
    volumes, earlier = (each[study.info.run_id, "hypervolume"] for each in (values, before))
    assert volumes[: len(earlier)] == earlier
    assert len({step for step, _, _ in volumes}) == len(volumes) == len(earlier) + 1
    assert not any("hypervolume_after" in name for _, name in values)

    add_trials(save_dir, [State.COMPLETE], seconds=40.0)  # moves the reference
    exported(save_dir)
    assert histories(save_dir)[study.info.run_id, "hypervolume"] == volumes
    assert (study.info.run_id, "hypervolume_after_7") in histories(save_dir)


@pytest.mark.parametrize("uri", ["sqlite:////proc/nowhere/mlflow.db", None], ids=["no database", "deleted experiment"])
def test_what_can_not_be_written_is_an_error_of_the_status(planted: Planted, uri: str | None) -> None:
    from mlflow import MlflowClient

    from cnn_lstm_hyperopt.tracking.trackers.mlflow.export import MlflowExporter

    save_dir = planted([State.COMPLETE], tracking_uri=uri)
    target, status = target_of(save_dir), save_dir.parent / "status.json"
    if uri is None:
        client = MlflowClient(tracking_uri=target.uri)
        client.delete_experiment(client.create_experiment(target.experiment))
    with contextlib.closing(MlflowExporter(save_dir, target, status)) as exporter:
        assert not exporter.sync(final=True)
        error = json.loads(status.read_text())["error"]
        assert target.experiment in error if uri is None else error
        (save_dir / "config.yaml").unlink()
        assert not exporter.sync(final=True)
