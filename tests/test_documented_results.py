"""``docs/reference/results.md`` against a real run, key by key, in both directions; it has the keys of the specification."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import yaml

from cnn_lstm_hyperopt.evaluation import Excess, Returns, Strategy, TradingRules
from cnn_lstm_hyperopt.evaluation.selection_bias import DeflatedSharpe
from cnn_lstm_hyperopt.pipeline.results.final_results import strategy_results

ROOT = Path(__file__).parents[1]
DOCUMENTED = set(
    re.findall(
        r"^\| `([^`]+)` \|", (ROOT / "docs" / "reference" / "results.md").read_text(encoding="utf-8"), re.MULTILINE
    )
)
OF_THE_SPECIFICATION = {
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


ONLY_SOMETIMES = (
    "retrained_models[].test_metrics.strategy.",  # of directions
    "overfitting.deflated_sharpe.",
    "retraining_failures[].",
    "skipped_baselines[].",
    "feature_selection.",
    "constraints.",
    "retrained_models[].seeds[].fold",  # of DataLoaders
    "test_openings[].ensemble",  # of another method than equal
    "refit_failure.",
    "refit.",
    "walk_forward[].",  # of several test periods
    "test_openings[].periods",
)
ALWAYS = {key for key in DOCUMENTED if not key.startswith(ONLY_SOMETIMES)}


@pytest.fixture(scope="module")
def results(tmp_path_factory, tiny_settings):
    from cnn_lstm_hyperopt.cli import main

    folder = tmp_path_factory.mktemp("documented")
    pruning = {"study": {"n_trials": 16, "portfolio": False}, "pruner": {**tiny_settings["pruner"], "type": "median"}}
    settings = {**tiny_settings, **pruning, "evaluation": {"test_periods": 2}, "save_dir": str(folder / "results")}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    flags = ["--retrain-best", "--refit", "--workers", "1", "--quiet"]
    assert main(["run", "--config", str(folder / "config.yaml"), *flags]) == 0
    return json.loads((folder / "results" / "results.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_real_run_has_the_documented_keys_and_those_of_the_specification(results):
    found = set(keys(results))
    assert OF_THE_SPECIFICATION - found == set()
    assert found - DOCUMENTED == set()
    periods = {key for key in DOCUMENTED if key.startswith(ONLY_SOMETIMES[-3:]) and "kept_models[]" not in key}
    assert (ALWAYS | periods) - found == set()


def test_the_example_is_a_run_of_this_version_and_the_extract_is_of_it():
    """After adding a key, make the example again: ``make demo``, then copy its ``results.json``."""
    example = json.loads((ROOT / "docs" / "examples" / "results.json").read_text(encoding="utf-8"))
    unpruned = set() if example["counts"]["PRUNED"] else {"pruned_by.…", "pruning.pruned_by.…"}
    assert set(keys(example)) == ALWAYS - unpruned
    assert OF_THE_SPECIFICATION <= DOCUMENTED
    text = (ROOT / "docs" / "reference" / "results.md").read_text(encoding="utf-8")
    extract = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])
    assert OF_THE_SPECIFICATION - set(keys(extract)) == set()
    assert is_part(extract, example) == []


def is_part(part, whole, path=""):
    """Where what is shown is not what there is, to four digits."""
    if isinstance(part, dict):
        return [fault for name, inner in part.items() for fault in is_part(inner, whole[name], f"{path}.{name}")]
    if isinstance(part, list):
        return [
            fault for inner, other in zip(part, whole, strict=False) for fault in is_part(inner, other, f"{path}[]")
        ]
    same = part == pytest.approx(whole, rel=1e-3) if isinstance(part, float) else part == whole
    return [] if same else [f"{path}: {part}, not {whole}"]


def test_the_keys_of_directions_are_documented():
    dates = np.array(["2024-01-02", "2024-01-03", "2024-01-04"], "datetime64[D]")
    returns = Returns(dates, np.array([0.01, -0.02, 0.005]), 2)
    traded = Strategy(TradingRules(1, 5.0, {"A": 2.0}), returns, returns, Excess(0.5, returns))
    strategy = set(keys(strategy_results(traded), ONLY_SOMETIMES[0].rstrip(".")))
    deflated = set(keys(asdict(DeflatedSharpe(3, 40, 0.1, 1.6, 0.7, 0.5, 0.05, 0.8)), ONLY_SOMETIMES[1].rstrip(".")))
    assert strategy | deflated == {key for key in DOCUMENTED if key.startswith(ONLY_SOMETIMES[:2])}
