"""TensorBoard and Weights & Biases: what their own readers find equals ``study.db``, however often it was exported."""

import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from builders.errors import raises
from cnn_lstm_hyperopt.cli import main
from cnn_lstm_hyperopt.config import Settings, load_settings
from cnn_lstm_hyperopt.config.schema.tracking import TRACKERS as DECLARED
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.search import State, StudyStorage, TrialRecord
from cnn_lstm_hyperopt.tracking import TRACKERS
from cnn_lstm_hyperopt.tracking.process import tracked
from cnn_lstm_hyperopt.tracking.subscriber import TrackerExport
from cnn_lstm_hyperopt.tracking.sync_status import SyncStatus

from .conftest import Planted, add_trials

pytestmark = pytest.mark.timeout(900)  # of a busy machine
STATES = [State.COMPLETE, State.PRUNED, State.FAIL, State.COMPLETE, State.RUNNING]
OTHERS = [name for name in TRACKERS if name != "mlflow"]
Values = Mapping[str, list[float]]


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.setenv(name, "")


def settings_of(save_dir: Path, *trackers: str) -> Settings:
    given = {"mlflow": {"enabled": False}, "tracking": {"trackers": list(trackers), "wait_seconds": 600.0}}
    return load_settings(save_dir / "config.yaml", given, environment={})


def export(save_dir: Path, name: str, *, final: bool = True) -> SyncStatus:
    tracker, status = TRACKERS[name], save_dir.parent / "status.json"
    target = tracker.target(settings_of(save_dir, name))
    with contextlib.closing(tracker.exporter(save_dir, vars(target), status)) as exporter:
        exporter.sync(final=False)
        exporter.sync(final=final)
    return SyncStatus(**json.loads(status.read_text()))


def records_of(save_dir: Path) -> list[TrialRecord]:
    storage = StudyStorage(save_dir / "study.db")
    try:
        return storage.records()
    finally:
        storage.close()


def add_model(save_dir: Path, weights: bytes) -> None:
    """A retrained model of trial 0 whose weights are these bytes."""
    folder = save_dir / "retrained_model_1"
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "model.json").write_text("{}")
    test = {"test_class_acc": 0.625}
    entry = {"model_rank": 1, "trial_number": 0, "config_params": {"a": 1}, "test_metrics": test}
    (save_dir / "results.json").write_text(json.dumps({"study_name": "x", "retrained_models": [entry]}))


def read_event_files(save_dir: Path) -> dict[str, Values]:
    """Scalars of each run, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: dict[str, Values] = {}
    for folder in sorted((save_dir / "tensorboard").iterdir()):
        reader = EventAccumulator(str(folder))
        reader.Reload()
        scalars = {tag: [event.value for event in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}
        name = folder.name.replace("trial_0000", "trial ").replace("retrained_model_", "retrained model ")
        found[name] = scalars
    return found


def read_wandb_files(save_dir: Path) -> dict[str, Values]:
    """History of each run, as the package wandb reads its files. The last row of each metric is also in the summary."""
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    found: dict[str, Values] = {}
    for path in sorted((save_dir / "wandb").glob("offline-run-*/*.wandb")):
        store = DataStore()
        store.open_for_scan(str(path))
        rows: dict[str, list[float]] = {}
        summary: dict[str, float] = {}
        name, group = "", ""
        while (data := store.scan_data()) is not None:
            record = Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "run":
                name, group = record.run.display_name, record.run.run_group
            for item in record.history.item:
                rows.setdefault(item.key or ".".join(item.nested_key), []).append(json.loads(item.value_json))
            for item in record.summary.update:
                summary[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
        assert group == "planted"
        values = {key: each for key, each in rows.items() if not key.startswith(("_", "step"))}
        assert {key: summary[key] for key in values} == {key: each[-1] for key, each in values.items()}
        found[name.split(" (")[0].split(" after")[0]] = values
    return found


READERS = {"tensorboard": read_event_files, "wandb": read_wandb_files}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.filterwarnings("ignore")  # of the trackers' own libraries
def test_a_study_is_read_back_by_the_trackers_own_reader_and_exported_once(planted: Planted, name: str) -> None:
    save_dir, read = planted(STATES), READERS[name]
    add_model(save_dir, b"one")
    status = export(save_dir, name)
    assert (status.trials, status.models, status.of_models, status.error) == (4, 1, 1, "")
    found = read(save_dir)
    assert found.keys() == {"study", "retrained model 1", *(f"trial {number}" for number in range(4))}
    for record in records_of(save_dir)[:4]:
        values = found[f"trial {record.number}"]
        assert values["val_accuracy"] == pytest.approx([point.score for point in record.curve])
        assert values["val_loss"] == pytest.approx([point.loss for point in record.curve])
        if record.values is not None:
            assert values["size_mb"] == pytest.approx([record.values.size_mb])
    assert found["study"]["trials_complete"] == [1, 1, 1, 2]
    assert found["study"]["best_accuracy"][-1] == pytest.approx(0.63)
    assert found["study"]["hypervolume"][-1] > 0
    assert found["retrained model 1"]["test_class_acc"] == [0.625]

    add_trials(save_dir, [State.COMPLETE])
    add_model(save_dir, b"two")
    assert export(save_dir, name).trials == 5
    later = read(save_dir)
    assert {key: later[key] for key in found if key.startswith("trial")} == {
        key: values for key, values in found.items() if key.startswith("trial")
    }
    assert "trial 5" in later
    files = sorted(path for path in save_dir.rglob("*") if path.suffix == ".wandb" or "tfevents" in path.name)
    export(save_dir, name)
    assert len(
        sorted(path for path in save_dir.rglob("*") if path.suffix == ".wandb" or "tfevents" in path.name)
    ) == len(files)


@pytest.mark.slow
def test_a_tracker_that_can_not_write_is_one_warning_and_not_the_end_of_the_run(planted: Planted) -> None:
    save_dir = planted([State.COMPLETE])
    (save_dir / "tensorboard").write_text("a file where the tracker needs its folder")
    lines: list[str] = []
    with tracked(settings_of(save_dir, "tensorboard"), TRACKERS["tensorboard"], say=pytest.fail, warn=lines.append):
        pass
    (line,) = lines
    assert all(part in line for part in ("1 of 1 trials", f"track --save-dir {save_dir} --trackers tensorboard"))
    assert "\n" not in line


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # wandb's reader leaves its file open
def test_the_command_track_writes_a_finished_study(planted: Planted, capsys: pytest.CaptureFixture[str]) -> None:
    save_dir = planted([State.COMPLETE])
    assert main(["track", "--save-dir", str(save_dir), "--trackers", "wandb"]) == 0
    assert "1 trial " in capsys.readouterr().out
    assert read_wandb_files(save_dir).keys() == {"study", "trial 0"}
    assert not (save_dir / "mlflow.db").exists()


def test_the_names_in_the_settings_are_the_trackers() -> None:
    assert list(DECLARED) == list(TRACKERS)


@pytest.mark.parametrize("name", OTHERS)
def test_a_missing_package_is_refused_before_the_run_and_the_extra_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings({"save_dir": tmp_path, "tracking": {"trackers": [name]}}, environment={})
    fail: Any = pytest.fail
    TrackerExport(fail, fail).on_settings(settings)
    monkeypatch.setitem(sys.modules, TRACKERS[name].package, None)
    with raises(ConfigError, "missing-extra", "tracking.trackers") as text:
        TrackerExport(fail, fail).on_settings(settings)
    assert f"[{TRACKERS[name].extra}]" in text[0]


def test_wandb_is_offline_unless_the_user_says_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb, settings = TRACKERS["wandb"], load_settings({"save_dir": tmp_path}, environment={})
    assert vars(wandb.target(settings))["mode"] == "offline"
    monkeypatch.setenv("WANDB_MODE", "online")
    assert vars(wandb.target(settings))["mode"] == "online"
    monkeypatch.setenv("WANDB_API_KEY", "0123secret")
    assert "secret" not in wandb.target(settings).error_text(RuntimeError("key 0123secret is refused"))
    monkeypatch.setenv("WANDB_MODE", "on")
    with raises(ConfigError, "not-a-mode", "WANDB_MODE"):
        wandb.target(settings)


def test_mlflow_among_the_trackers_contradicts_a_disabled_mlflow() -> None:
    given = {"tracking": {"trackers": ["mlflow"]}}
    assert load_settings(given, environment={}).mlflow.enabled
    with raises(ConfigError, "trackers-contradict", "tracking.trackers"):
        load_settings(given, {"mlflow": {"enabled": False}}, environment={})
