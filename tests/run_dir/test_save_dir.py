"""Which directories a run may use: no command writes over what is not its own."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cnn_lstm_hyperopt.cli import main
from cnn_lstm_hyperopt.config import dump_settings, load_settings
from cnn_lstm_hyperopt.errors import HyperoptError, SaveDirError
from cnn_lstm_hyperopt.pipeline.save_dir_check import check_save_dir
from cnn_lstm_hyperopt.run_dir.lock import only_run
from cnn_lstm_hyperopt.run_dir.paths import RUN_LOCK
from cnn_lstm_hyperopt.search import State, StudyStorage, Values


def refusal(save_dir: Path, **options: bool) -> SaveDirError:
    """The error of a run that may not use the directory."""
    with pytest.raises(SaveDirError) as caught:
        check_save_dir(save_dir, **{"resume": False, **options})
    return caught.value


@pytest.mark.parametrize("name", ["study.db", "run.log", ".run.lock", "trials.csv", "results.json", "data.json"])
def test_a_directory_where_a_file_is_needed_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert (refusal(tmp_path).code, name in str(refusal(tmp_path))) == ("name-taken", True)


@pytest.mark.parametrize("name", ["validation", "checkpoints", "retrained_model_1"])
def test_a_file_where_a_directory_is_needed_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert (refusal(tmp_path).code, name in str(refusal(tmp_path))) == ("name-taken", True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "results.json")
    assert refusal(tmp_path).code == "name-taken"


OWN = ["results.json", "trials.csv", "retrained_model_2/", "data.json", "figures/mine.png", "validation/mine.parquet"]


@pytest.mark.parametrize("name", [*OWN, "checkpoints/final/weights", "config.yaml"])
def test_results_and_the_users_files_without_a_study_are_not_written_over(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if name.endswith("/") else path.write_text("{}", encoding="utf-8")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "retrained_model_2_of_mine").mkdir()
    found = refusal(tmp_path)
    assert found.code == "files-without-study"
    assert name.split("/")[0] in str(found)
    assert not any(other in str(found) for other in ("notes.txt", "_of_mine"))


def test_the_inputs_of_a_run_that_ended_before_its_study_are_accepted(tmp_path: Path) -> None:
    settings = load_settings(None, environment={})
    (tmp_path / "config.yaml").write_text(dump_settings(settings), encoding="utf-8")
    check_save_dir(tmp_path, resume=False)
    (tmp_path / "data.json").write_text("{}", encoding="utf-8")
    check_save_dir(tmp_path, resume=False)


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry run"])
@pytest.mark.parametrize("place", ["bars", "bars/../bars", "link", "bars/retrained_model_1/..", "."])
def test_the_folder_of_the_bars_is_not_a_place_for_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: str, dry: list[str]
) -> None:
    """trials.csv would be read as a symbol."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bars" / "retrained_model_1").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "bars")
    if place == ".":
        monkeypatch.chdir(tmp_path / "bars")
    assert main(["run", "--data-dir", str(tmp_path / "bars"), "--save-dir", place, *dry]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"Error: --save-dir {Path(place)} ")
    assert str(tmp_path / "bars") in err
    assert len(err.splitlines()) == 1
    assert [path.name for path in (tmp_path / "bars").iterdir()] == ["retrained_model_1"]


def test_bars_in_a_folder_that_a_run_replaces_are_refused(tmp_path: Path) -> None:
    bars = tmp_path / "retrained_model_1" / "bars"
    bars.mkdir(parents=True)
    with pytest.raises(SaveDirError) as caught:
        check_save_dir(tmp_path, resume=False, data_dir=bars)
    assert caught.value.code == "data-dir-in-save-dir"


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_a_directory_that_can_never_be_made_is_refused_by_a_dry_run_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dry: list[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["run", "--use-real-data", "--save-dir", str(tmp_path / "file" / "x"), *dry]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"Error: --save-dir {tmp_path / 'file' / 'x'} ")
    assert len(err.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="permissions differ there")
@pytest.mark.parametrize("command", [["status"], ["resume"], ["narrow"], ["run", "--use-real-data"]], ids=" ".join)
def test_a_directory_without_permission_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], unprivileged: Callable[[], None], command: list[str]
) -> None:
    save_dir = tmp_path / "secret" / "results"
    save_dir.mkdir(parents=True)
    save_dir.parent.chmod(0o600)
    unprivileged()
    code = main([*command, "--save-dir", str(save_dir)])
    err = capsys.readouterr().err
    assert (code, err.count("\n")) == (2, 1)
    assert str(save_dir) in err


@pytest.fixture
def unprivileged(tmp_path: Path):
    """Continue as a user other than root, to whom everything is allowed."""
    import colorsys  # noqa: F401  # rich imports it late, when its file may not be readable

    user = os.geteuid()
    yield lambda: os.seteuid(65534) if user == 0 else None
    os.seteuid(user)
    (tmp_path / "secret").chmod(0o700)


@pytest.mark.parametrize("resume", [False, True])
def test_a_directory_whose_study_was_removed_keeps_the_backup(tmp_path: Path, resume: bool) -> None:
    storage = StudyStorage(tmp_path / "study.db", create="x")
    trial_id, _ = storage.start({}, {}, {"size_mb": 1.0})
    storage.finish(trial_id, State.COMPLETE, Values(0.7, 1, 1), {})
    storage.back_up()
    storage.close()
    (tmp_path / "study.db").unlink()
    assert "study.backup.db" in str(refusal(tmp_path, resume=resume))


def test_the_lock_of_another_run_in_a_replaced_directory_is_not_removed(tmp_path: Path) -> None:
    save_dir = tmp_path / "results"
    save_dir.mkdir()
    with only_run(save_dir):
        with pytest.raises(HyperoptError), only_run(save_dir):
            pass
        save_dir.rename(tmp_path / "away")
        save_dir.mkdir()
        (save_dir / RUN_LOCK).touch()
    assert (save_dir / RUN_LOCK).exists()
    with only_run(save_dir):
        pass
    assert not (save_dir / RUN_LOCK).exists()
