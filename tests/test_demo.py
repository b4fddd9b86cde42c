"""The demonstration of the README, as `make demo` runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_demo_leaves_everything_and_an_honest_verdict(tmp_path: Path) -> None:
    save_dir = tmp_path / "demo"
    config = ROOT / "configs" / "hyperopt" / "demo.yaml"
    command = [sys.executable, "-m", "cnn_lstm_hyperopt", "run", "--config", str(config), "--save-dir", str(save_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    results = json.loads((save_dir / "results.json").read_text(encoding="utf-8"))
    assert results["n_trials_completed"] == 30
    assert results["counts"]["COMPLETE"] >= 20  # pruning is shown, and enough trials are trained to their end
    models, confirmed = results["retrained_models"], results["confirmation"]["candidates"]
    assert len(models) == min(3, len(confirmed))
    assert {len(model["seeds"]) for model in models} == {len(row["scores"]) for row in confirmed[: len(models)]} == {3}
    assert [row["trial_number"] for row in confirmed[: len(models)]] == [m["trial_number"] for m in models]
    verdict = results["verdict"]
    assert verdict["comparisons"][0]["baseline"] == "majority class"
    assert verdict["comparisons"][0]["difference"] > 0.04  # the target can be learnt, by logistic regression as well
    assert models[0]["test_metrics"]["test_auc"] > 0.6
    assert verdict["skill"] == all(each["interval"][0] > 0 for each in verdict["comparisons"])
    assert verdict["sentence"] in done.stdout
    assert 0 <= results["overfitting"]["pbo"]["value"] <= 1
    assert len(results["test_openings"]) == 1
    for name in ("study.db", "config.yaml", "data.json", "trials.csv", "validation", "run.log", "retrained_model_1"):
        assert (save_dir / name).exists(), name
