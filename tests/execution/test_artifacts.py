"""Stores of artifacts, the files of a study in a store, and copies of checkpoints."""

import secrets
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from builders.records import make_plan
from cnn_lstm_hyperopt.config import dump_settings, load_settings
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.errors import HyperoptError, StorageFailedError
from cnn_lstm_hyperopt.execution.artifacts import ArtifactStore, CheckpointCopies, FolderStore, StudyFiles, open_store
from cnn_lstm_hyperopt.progress import Action, Decision, ProgressReport
from cnn_lstm_hyperopt.search import Assignment, Cost, State, Study, StudyStorage, Values
from cnn_lstm_hyperopt.training import Checkpoint, last_good, write_checkpoint

REPORT = ProgressReport(1.0, 0.5, 1.0)
COST = Cost(1.0, 1.0)


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """A folder with a space and a percent sign in its name; an object store in the memory of this process."""
    (tmp_path / "a b%20").mkdir()
    urls = {"file": (tmp_path / "a b%20").as_uri(), "memory": f"memory://{secrets.token_hex(4)}"}
    return open_store(urls[request.param])


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_store_returns_the_last_content_of_a_name(store: ArtifactStore, tmp_path: Path) -> None:
    require_contract(store, tmp_path)


@pytest.mark.slow
def test_a_bucket_is_such_a_store(bucket: str, tmp_path: Path) -> None:
    require_contract(open_store(f"{bucket}/some folder"), tmp_path)


def require_contract(store: ArtifactStore, tmp_path: Path) -> None:
    """Check all methods of a store."""
    copy = tmp_path / "copy"
    assert not store.exists("s/a/one.pt")
    assert not store.get("s/a/one.pt", copy)
    assert not copy.exists()
    assert store.names("s/a") == []
    for content in (b"first", b"second, longer"):
        store.put("s/a/one.pt", written(tmp_path / "file", content))
    store.put("s/a/two.pt", tmp_path / "file")
    assert store.get("s/a/one.pt", copy)
    assert copy.read_bytes() == b"second, longer"
    assert store.exists("s/a/one.pt")
    assert sorted(store.names("s/a")) == ["one.pt", "two.pt"]
    store.delete("s/a/one.pt")
    store.delete("s/a/one.pt")
    assert (store.names("s/a"), store.exists("s/a/one.pt")) == (["two.pt"], False)
    assert not store.get("s/a/one.pt", copy)
    assert copy.read_bytes() == b"second, longer"  # unchanged


def test_a_reader_of_a_folder_never_gets_half_a_file(tmp_path: Path) -> None:
    store = FolderStore(tmp_path.as_uri())
    contents = [bytes([digit]) * 2_000_000 for digit in range(2)]
    files = [written(tmp_path / str(digit), content) for digit, content in enumerate(contents)]
    store.put("x/file", files[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for path in files:
                store.put("x/file", path)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            assert store.get("x/file", tmp_path / "read")
            assert (tmp_path / "read").read_bytes() in contents
            assert store.names("x") == ["file"]
    finally:
        stop.set()
        writer.join()


def test_a_folder_that_is_not_mounted_is_not_created(tmp_path: Path) -> None:
    store = FolderStore((tmp_path / "missing").as_uri())
    with pytest.raises(StorageFailedError) as caught:
        store.put("a", written(tmp_path / "file", b""))
    assert caught.value.code == "artifacts-failed"
    assert not (tmp_path / "missing").exists()


@pytest.fixture(scope="session")
def dataset(apple: Callable[..., Dataset]) -> Dataset:
    return apple(lookback=5)


@pytest.fixture
def study() -> Study:
    return Study(StudyStorage.in_memory("a study / of mine"), make_plan(None, n_trials=4))


@pytest.fixture
def files(store: ArtifactStore, study: Study, dataset: Dataset, tmp_path: Path) -> StudyFiles:
    settings = load_settings({"data": {"source": "embedded"}, "save_dir": str(tmp_path)}, environment={})
    (tmp_path / "config.yaml").write_text(dump_settings(settings), encoding="utf-8")
    return StudyFiles.publish(store, study.storage, tmp_path, dataset.for_trials())


def test_a_worker_gets_settings_and_data_of_the_study(
    files: StudyFiles, store: ArtifactStore, study: Study, dataset: Dataset, tmp_path: Path
) -> None:
    there = StudyFiles.of(store, study.storage)
    settings = there.settings(tmp_path / "other")
    assert settings.save_dir == tmp_path / "other"
    assert settings.data.source == "embedded"
    for fold, expected in zip(there.data().folds, dataset.for_trials().folds, strict=True):
        for windows, those in ((fold.train, expected.train), (fold.validation, expected.validation)):
            assert torch.equal(windows.series, those.series)
            assert torch.equal(windows.labels, those.labels)
            assert (windows.dates == those.dates).all()
    before = study.storage.attribute("artifacts")
    StudyFiles.publish(store, study.storage, tmp_path, dataset.for_trials())
    assert study.storage.attribute("artifacts") == before


@pytest.mark.parametrize("kind", ["config", "data"])
@pytest.mark.parametrize(("content", "code"), [(b"workers: 2", "artifacts-differ"), (None, "artifacts-missing")])
def test_other_or_missing_files_are_refused_with_one_line(
    files: StudyFiles,
    store: ArtifactStore,
    study: Study,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    content: bytes | None,
    code: str,
) -> None:
    monkeypatch.setenv("CNN_LSTM_HYPEROPT_CACHE", str(tmp_path / "cache"))
    folder = study.storage.attribute("artifacts")["folder"]
    (name,) = [each for each in store.names(folder) if each.startswith(kind)]
    store.delete(f"{folder}/{name}")
    if content is not None:
        store.put(f"{folder}/{name}", written(tmp_path / "other", content))
    worker = StudyFiles.of(store, study.storage)
    with pytest.raises(HyperoptError) as caught:
        worker.settings(tmp_path) if kind == "config" else worker.data()
    assert (caught.value.field, caught.value.code) == ("--artifacts", code)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_study_without_artifacts_is_refused(store: ArtifactStore, study: Study) -> None:
    with pytest.raises(HyperoptError) as caught:
        StudyFiles.of(store, study.storage)
    assert (caught.value.field, caught.value.code) == ("--artifacts", "no-artifacts")


def checkpoint(epoch: int) -> Checkpoint:
    return Checkpoint("made up", {}, epoch, False, Decision(Action.CONTINUE), (), {"part": {"x": torch.ones(3)}})


@pytest.fixture
def worker(files: StudyFiles, tmp_path: Path) -> Callable[[str], tuple[CheckpointCopies, Path]]:
    """A worker with a folder of its own for checkpoints; the path is that of the checkpoint of trial 3."""

    def make(name: str) -> tuple[CheckpointCopies, Path]:
        folder = tmp_path / name
        return CheckpointCopies(files, folder, seconds=0.0), folder / "trial_00003.pt"

    return make


def epoch_at(path: Path) -> int | None:
    found = last_good(path)
    return None if found is None else found.epoch


def test_another_machine_continues_from_the_last_copy(
    worker: Callable[[str], tuple[CheckpointCopies, Path]], study: Study
) -> None:
    trial = Assignment(1, 3, {}, COST)
    retry = Assignment(2, 5, {}, COST, retry_of=3, seeded_as=3)
    (first, here), (second, there) = worker("first"), worker("second")
    first.on_trial_start(trial)
    for epoch in (1, 2):
        write_checkpoint(here, checkpoint(epoch))
        first.on_trial_report(trial, REPORT)
    second.on_trial_start(retry)
    assert epoch_at(there) == 2
    write_checkpoint(there, checkpoint(4))
    second.on_trial_pause(retry)
    write_checkpoint(here, checkpoint(3))
    first.on_trial_start(trial)
    assert epoch_at(here) == 4
    write_checkpoint(here, checkpoint(6))
    first.on_trial_start(trial)
    assert epoch_at(here) == 6  # the copy is of an earlier epoch
    assert {path.name for path in here.parent.iterdir()} <= {here.name, f"{here.name}.previous"}


def test_a_damaged_copy_is_not_used(
    worker: Callable[[str], tuple[CheckpointCopies, Path]], files: StudyFiles, study: Study, tmp_path: Path
) -> None:
    copies, path = worker("here")
    files.store.put(files.checkpoint(3), written(tmp_path / "bad", b"x" * 100))
    copies.on_trial_start(Assignment(1, 3, {}, COST))
    assert list(path.parent.iterdir()) == []


def test_predictions_of_finished_trials_move_to_the_run_and_useless_files_go(
    files: StudyFiles, study: Study, tmp_path: Path
) -> None:
    states = [State.COMPLETE, State.FAIL, None]
    for state in states:
        trial_id, number = study.storage.start({}, {}, {"size_mb": 1.0})
        files.store.put(files.predictions(number), written(tmp_path / "file", bytes([number])))
        files.store.put(files.checkpoint(number), tmp_path / "file")
        if state is not None:
            values = Values(0.7, 1, 1) if state is State.COMPLETE else None
            study.storage.finish(trial_id, state, values, {"reason": "a test"})
    files.collect(study, tmp_path)
    assert [path.read_bytes() for path in (tmp_path / "validation").iterdir()] == [b"\x00"]
    folder = study.storage.attribute("artifacts")["folder"]
    assert files.store.names(f"{folder}/validation") == ["trial_00002.parquet"]
    assert files.store.names(f"{folder}/checkpoints") == ["trial_00002.pt"]
