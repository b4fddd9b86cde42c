"""Speeds as measured on one core of an AMD EPYC, so that no test measures its own."""

import json
import os
from pathlib import Path

import torch

from cnn_lstm_hyperopt.training.cost_model import CostModel
from cnn_lstm_hyperopt.training.machine_benchmark import CACHE_VARIABLE, cache_file, device_name
from cnn_lstm_hyperopt.training.runtime.precision import supported_precisions


def write_speeds(folder: Path) -> CostModel:
    """Write the speeds into a cache that this process and its children use."""
    os.environ[CACHE_VARIABLE] = str(folder)
    device = torch.device("cpu")
    measured = {
        "float32": (2.1e-3, 4.9e-9, 6.0e-11, 6.1e-11, 2.2e-8, 1.5e-10, 5.7e-11, 4.0e-9, 7.8e-9, 0.0, 6.0e-5),
        "bfloat16": (2.8e-3, 7.0e-9, 3.8e-11, 1.9e-10, 7.2e-9, 5.0e-11, 2.3e-11, 4.3e-9, 3.7e-8, 0.0, 6.0e-5),
    }
    model = CostModel(
        device=device_name(device),
        measured="2026-11-24T17:00:00+00:00",
        speeds={precision: measured[precision] for precision in supported_precisions(device)},
        evaluation=dict.fromkeys(supported_precisions(device), 0.25),
        process_mb=300.0,
        error=0.05,
    )
    cache_file(device).write_text(json.dumps(model.as_dict()), encoding="utf-8")
    return model
