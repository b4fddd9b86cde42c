"""The demonstration of the README, as `make demo` runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_demo_leaves_everything_and_beats_the_majority_class(tmp_path: Path) -> None:
    save_dir = tmp_path / "demo"
    config = ROOT / "configs" / "hyperopt" / "demo.yaml"
    command = [sys.executable, "-m", "cnn_lstm_hyperopt", "run", "--config", str(config), "--save-dir", str(save_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "other than the whole space" in done.stdout  # it says that its space is narrowed

    results = json.loads((save_dir / "results.json").read_text(encoding="utf-8"))
    assert results["n_trials_completed"] == 30
    assert [model["model_rank"] for model in results["retrained_models"]] == [1, 2, 3]
    first = results["retrained_models"][0]["test_metrics"]
    majority = results["baselines"][0]["test_metrics"]
    low, high = first["test_class_acc_interval"]
    assert first["test_class_acc"] - majority["test_class_acc"] > (high - low) / 2
    assert first["difference_to_majority_interval"][0] > 0
    for name in ("study.db", "config.yaml", "data.json", "trials.csv", "validation", "run.log", "retrained_model_3"):
        assert (save_dir / name).exists(), name
