"""Settings and file systems of real runs."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builders.runs import config_file


@pytest.fixture
def config(tiny: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration; without a number of trials the run continues until it is stopped."""

    def write(n_trials: int = 500, **sections: Any) -> Path:
        return config_file(tmp_path, tiny, study={"n_trials": n_trials}, **sections)

    return write


@pytest.fixture
def save_dir(tiny: dict[str, Any]) -> Path:
    """Where the runs write."""
    return Path(tiny["save_dir"])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """``small_disk("size=3m")`` mounts a file system; called again it changes it."""
    folder, mounted = tmp_path / "disk", False
    folder.mkdir()

    def mount(options: str) -> Path:
        nonlocal mounted
        asked = f"remount,{options}" if mounted else options
        try:
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", asked, "tmpfs", folder], capture_output=True, text=True
            )
        except FileNotFoundError:
            pytest.skip("there is no mount here")
        if done.returncode != 0 and not mounted:
            pytest.skip(f"a file system can't be mounted here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        mounted = True
        return folder

    yield mount
    if mounted:
        subprocess.run(["umount", folder], check=True)
