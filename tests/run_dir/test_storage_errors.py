"""Errors of writing become one error with a remedy; other errors stay what they are."""

import errno
import logging
import os
from pathlib import Path

import pytest
from safetensors import SafetensorError

from cnn_lstm_hyperopt.errors import StorageFailedError
from cnn_lstm_hyperopt.run_dir.paths import resume_command
from cnn_lstm_hyperopt.run_dir.run_log import run_log
from cnn_lstm_hyperopt.run_dir.storage_errors import storage_faults

CODES = {
    errno.ENOSPC: "disk-full",
    errno.EDQUOT: "disk-quota",
    errno.EROFS: "read-only",
    errno.EACCES: "not-permitted",
    errno.EFBIG: "file-size-limit",
    errno.EIO: "disk-failing",
}


@pytest.mark.parametrize(("number", "code"), CODES.items(), ids=CODES.values())
def test_an_error_of_writing_names_the_whole_file_and_the_command_that_continues(
    tmp_path: Path, number: int, code: str
) -> None:
    part = tmp_path / "validation" / ".trial_00003.parquet.0123456789abcdef.part"
    with pytest.raises(StorageFailedError) as caught, storage_faults(tmp_path):
        raise OSError(number, os.strerror(number), str(part))
    assert caught.value.code == code
    assert str(caught.value).startswith(f"{tmp_path / 'validation' / 'trial_00003.parquet'} ")
    assert resume_command(tmp_path) in str(caught.value)


def test_an_error_of_safetensors_has_the_systems_number_in_its_text(tmp_path: Path) -> None:
    with pytest.raises(StorageFailedError) as caught, storage_faults(tmp_path):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert caught.value.code == "disk-full"


ELSEWHERE = [
    FileNotFoundError(errno.ENOENT, "No such file or directory", "/somewhere/AAPL.csv"),
    PermissionError(errno.EACCES, "Permission denied", "/somewhere/AAPL.csv"),
    OSError(errno.ENOSPC, "No space left on device", "/somewhere/else"),
    PermissionError(errno.EACCES, "Permission denied"),
    OSError("of the user's own function"),
    SafetensorError("header too large"),
]


@pytest.mark.parametrize("error", ELSEWHERE, ids=str)
def test_errors_about_other_places_stay_what_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, storage_faults(tmp_path):
        raise error
    assert caught.value is error


def test_a_directory_that_was_removed_has_its_own_error(tmp_path: Path) -> None:
    save_dir = tmp_path / "results"
    with pytest.raises(StorageFailedError) as caught, storage_faults(save_dir):
        (save_dir / "results.json").write_text("{}")
    assert caught.value.code == "study-gone"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_log_that_can_not_be_written_is_reported_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.log").symlink_to("/dev/full")
    with run_log(tmp_path):
        for number in range(5):
            logging.getLogger("cnn_lstm_hyperopt.anything").info("line %d", number)
    err = capsys.readouterr().err
    assert (err.count("\n"), "run.log" in err) == (1, True)
