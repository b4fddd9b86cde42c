"""The specification's command on each engine: the same files, and the same keys in results.json."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from builders.runs import require_success, results_of, start

if TYPE_CHECKING:
    from builders.postgres import Server

pytestmark = [pytest.mark.slow, pytest.mark.thorough, pytest.mark.timeout(1800)]


def keys(value: Any, path: str = "") -> set[str]:
    """Return the paths of all keys; the elements of a list count as one, and parameters of a trial as none."""
    if isinstance(value, dict) and not path.endswith(("params", "parameters")):
        return {f"{path}.{key}" for key in value}.union(*(keys(each, f"{path}.{key}") for key, each in value.items()))
    if isinstance(value, list):
        return set().union(*(keys(each, f"{path}[]") for each in value))
    return set()


def test_processes_a_server_and_ray_write_the_same_results(
    server: "Server", config: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    few = {"top_k": 1, "full_epochs": 2, "confirm_seeds": 1, "seeds": 1, "refit": False}
    path, found, files = config(3, pruner={"type": "none"}, retrain=few), {}, {}
    engines = {
        "processes": (),
        "server": ("--storage", server.url(), "--study-name", "the same results"),
        "ray": ("--engine", "ray"),
    }
    for name, flags in engines.items():
        folder = tmp_path / name
        command = ("run", "--config", path, "--retrain-best", "--workers", "1", "--save-dir", folder, *flags)
        process = start(*command, env={**os.environ, "PGPASSWORD": server.password})
        _, err = process.communicate(timeout=900)
        require_success(process.returncode, err, folder)
        assert results_of(folder)["n_trials_completed"] == 3
        found[name] = keys(results_of(folder))
        files[name] = {each.name for each in folder.iterdir()} - {"study.db", "study.backup.db"}
    assert ".retrained_models[].test_metrics.test_class_acc" in found["processes"]
    assert found["processes"] == found["server"] == found["ray"]
    assert files["processes"] == files["server"] == files["ray"]
