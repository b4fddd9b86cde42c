"""``docs/results.md`` against a real run, key by key, in both directions; what the founding document shows is among them."""

import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCUMENTED = set(
    re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "results.md").read_text(encoding="utf-8"), re.MULTILINE)
)
OF_THE_SEED = {
    "study_name", "n_trials_completed", "best_trials", "best_trials[].trial_number", "best_trials[].values",
    "best_trials[].params", "best_trials[].rank", "optimization_history", "timestamp", "retrained_models[].model_rank",
    "retrained_models[].config_params", "retrained_models[].training_results", "retrained_models[].test_metrics",
    "retrained_models[].test_metrics.test_class_acc", "retrained_models[].test_metrics.test_reg_mse",
    "retrained_models[].training_time", "retrained_models[].model_path",
}  # fmt: skip


def keys(value, path=""):
    """Every key, with ``[]`` for the entries of a list; of names that depend on the study the doc says ``…``."""
    if isinstance(value, dict):
        for name, inner in value.items():
            here = f"{path}.{name}" if path else name
            if here not in DOCUMENTED and f"{path}.…" in DOCUMENTED:
                yield f"{path}.…"
            else:
                yield here
                yield from keys(inner, here)
    elif isinstance(value, list):
        for entry in value:
            yield from keys(entry, f"{path}[]")


@pytest.fixture(scope="module")
def results(tmp_path_factory, tiny_settings):
    from cnn_lstm_hyperopt.cli import main

    folder = tmp_path_factory.mktemp("documented")
    settings = {**tiny_settings, "save_dir": str(folder / "results")}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert main(["run", "--config", str(folder / "config.yaml"), "--retrain-best", "--workers", "1", "--quiet"]) == 0
    return json.loads((folder / "results" / "results.json").read_text(encoding="utf-8"))


def test_the_seeds_keys_are_documented():
    assert OF_THE_SEED <= DOCUMENTED


@pytest.mark.slow
def test_a_real_run_has_every_key_of_the_founding_document(results):
    assert OF_THE_SEED - set(keys(results)) == set()


@pytest.mark.slow
def test_every_key_of_a_real_run_is_documented(results):
    assert set(keys(results)) - DOCUMENTED == set()


@pytest.mark.slow
def test_every_documented_key_is_in_a_real_run(results):
    assert DOCUMENTED - set(keys(results)) == set()
