"""Config files that come with the package, by name."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builders.errors import raises
from cnn_lstm_hyperopt import load_settings
from cnn_lstm_hyperopt.config.profiles import profiles
from cnn_lstm_hyperopt.errors import ConfigError

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "configs" / "hyperopt").glob("*.yaml"))


def test_profiles_have_the_budgets_that_the_docs_promise() -> None:
    assert {path.stem for path in FILES} == set(profiles()) >= {"small", "laptop", "gpu", "demo"}
    by_name = {name: load_settings(name, environment={}) for name in profiles()}
    assert by_name == {path.stem: load_settings(path, environment={}) for path in FILES}
    assert all(settings.search_space.searched() for settings in by_name.values())
    assert [by_name[name].study.n_trials for name in ("small", "laptop", "gpu")] == [100, 1000, 1000]
    assert by_name["gpu"].training.device == "cuda"
    default = load_settings(environment={}).search_space
    assert by_name["laptop"].search_space == default
    for name in default.domains:
        wider, usual = (getattr(space.domains[name], "values", ()) for space in (by_name["gpu"].search_space, default))
        assert name == "training.batch_size" or set(usual) <= set(wider)


def test_a_file_wins_over_a_profile_and_a_folder_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    assert load_settings("small", environment={}).study.n_trials == 100
    (tmp_path / "small").rmdir()
    (tmp_path / "small").write_text("study: {n_trials: 3}")
    assert load_settings("small", environment={}).study.n_trials == 3
    with raises(ConfigError, "unknown-profile", "--config"):
        load_settings("smal")


@pytest.mark.slow
def test_a_wheel_has_the_profiles(tmp_path: Path) -> None:
    """Built from a copy, installed beside nothing else, used from an empty directory."""
    source, place, empty = (tmp_path / name for name in ("source", "place", "empty"))
    for name in ("src", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    # Without --ignore-installed pip uninstalls the package in the environment of the tests, whatever the prefix.
    pip += ["--ignore-installed", "--prefix", str(place)]
    subprocess.run([*pip, str(source)], check=True, timeout=200, capture_output=True)
    shutil.rmtree(source)
    (packages,) = place.rglob("site-packages")
    code = "from cnn_lstm_hyperopt.config.profiles import profiles; print(*profiles().values(), sep='\\n')"
    empty.mkdir()
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(packages)!r}); {code}"]
    done = subprocess.run(command, cwd=empty, capture_output=True, text=True, check=True)
    installed = [Path(line) for line in done.stdout.splitlines()]
    assert {path.name: path.read_text() for path in installed} == {path.name: path.read_text() for path in FILES}
    assert all(packages in path.parents for path in installed)
