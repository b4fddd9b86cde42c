"""The specification's own snippets, with fewer trials, run as scripts; its YAML is tested in ``config/test_load.py``."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cnn_lstm_hyperopt import load_settings
from cnn_lstm_hyperopt.config import Settings

ROOT = Path(__file__).parents[1]

LOADERS = """
import torch
from torch.utils.data import DataLoader, TensorDataset
def _loader():
    return DataLoader(TensorDataset(torch.randn(64, 20, 11), torch.arange(64) % 2, torch.randn(64)), batch_size=16)
train_loader, val_loader, test_loader = _loader(), _loader(), _loader()
data_loaders = (train_loader, val_loader, test_loader)
"""

BASIC = """
from src.ml.cnn_lstm_hyperopt import run_cnn_lstm_hyperparameter_optimization

# Run optimization
results = run_cnn_lstm_hyperparameter_optimization(
    data_loaders=(train_loader, val_loader, test_loader),
    input_dim=11,
    n_trials=4,
    save_dir="hyperopt_results",
    retrain_best=True,
    top_k=5
)
assert results["n_trials_completed"] == 4, results
"""

ADVANCED = """
from src.ml.cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer

# Create optimizer
optimizer = CNNLSTMHyperparameterOptimizer(
    data_loaders=data_loaders,
    input_dim=11,
    save_dir="hyperopt_results",
    study_name="cnn_lstm_optimization"
)

# Run optimization
optimization_results = optimizer.optimize(
    n_trials=4,
    pruner_type="median",
    sampler_type="tpe"
)

# Retrain best models
retrained_results = optimizer.retrain_best_models(
    top_k=5,
    full_epochs=200
)
assert optimization_results["study_name"] == "cnn_lstm_optimization"

import optuna
study = optimizer.study

# Enable debug logging
import logging
logging.basicConfig(level=logging.DEBUG)

# Monitor trial progress
study.trials_dataframe()

# Analyze failed trials
failed_trials = [t for t in study.trials if t.state == optuna.trial.TrialState.FAIL]
assert failed_trials == []
assert len(study.trials) == 4
"""

SHORT = {
    "CNN_LSTM_HYPEROPT__TRAINING__MAX_EPOCHS": "2",
    "CNN_LSTM_HYPEROPT__RETRAIN__CONFIRM_SEEDS": "1",
    "CNN_LSTM_HYPEROPT__RETRAIN__FULL_EPOCHS": "2",
    "CNN_LSTM_HYPEROPT__RETRAIN__SEEDS": "1",
    "CNN_LSTM_HYPEROPT__SEARCH_SPACE": "{cnn: {num_filters: [8, 16]}, lstm: {hidden_dim: [8, 16]}, fusion: {dim: [16, 32]}}",
}
LOG_LINE = re.compile(r"(DEBUG|INFO|WARNING):[\w.]+:.*")


def run(command: list[str], folder: Path) -> Path:
    """Run the command in the folder, with nothing but log lines on stderr; return the results' folder."""
    facts = {"env": {**os.environ, **SHORT, "PYTHONPATH": str(ROOT)}, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, *command], cwd=folder, check=False, **facts)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stderr.splitlines() if not LOG_LINE.fullmatch(line)] == []
    return folder / "hyperopt_results"


def require_models(results: Path) -> None:
    """Models on disk, whether or not a trial beat chance."""
    retrained = json.loads((results / "results.json").read_text(encoding="utf-8"))["retrained_models"]
    assert retrained
    for each in retrained:
        assert (results / Path(each["model_path"]).name / "model.safetensors").is_file()
        assert each["test_metrics"]["test_class_acc"] is not None


@pytest.mark.slow
@pytest.mark.parametrize("snippet", [BASIC, ADVANCED], ids=["basic usage", "advanced usage and debugging"])
def test_snippets_run_unchanged(tmp_path: Path, snippet: str) -> None:
    script = tmp_path / "snippet.py"
    script.write_text(LOADERS + snippet, encoding="utf-8")
    require_models(run([str(script)], tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        "--n-trials 4 --retrain-best",
        "--use-real-data --symbols AAPL GOOGL MSFT TSLA NVDA --n-trials 4 --retrain-best --top-k 5",
        "--n-trials 4 --batch-size 64 --pruner successive_halving --sampler cmaes --timeout 3600",
    ],
)
def test_command_lines_run_unchanged(tmp_path: Path, flags: str) -> None:
    results = run([str(ROOT / "scripts" / "run_cnn_lstm_hyperopt.py"), *flags.split()], tmp_path)
    assert json.loads((results / "results.json").read_text(encoding="utf-8"))["n_trials_completed"] == 4
    if "--retrain-best" in flags:
        require_models(results)


TEMPLATE = ROOT / "configs" / "hyperopt" / "cnn_lstm_hyperopt_config.yaml"


def test_template_names_every_setting() -> None:
    written = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    for name, section in Settings.model_fields.items():
        fields = getattr(section.annotation, "model_fields", None)
        assert name in written
        assert fields is None or list(written[name]) == list(fields)


def test_template_holds_the_defaults_and_the_specifications_sampler_and_pruner() -> None:
    template, defaults = load_settings(TEMPLATE, environment={}), load_settings(environment={})
    assert template.search_space == defaults.search_space
    assert template.study.name == "cnn_lstm_optimization_task_5_5"
    assert (template.sampler.type, template.sampler.n_startup_trials, template.pruner.type) == ("tpe", 50, "median")
    assert {defaults.sampler.type, defaults.sampler.n_startup_trials, defaults.pruner.type} == {"auto"}
    different = {"search_space": True, "study": True, "sampler": {"type", "n_startup_trials"}, "pruner": {"type"}}
    assert template.model_dump(exclude=different) == defaults.model_dump(exclude=different)
    assert template.study.model_dump(exclude={"name"}) == defaults.study.model_dump(exclude={"name"})
