"""How much does temperature scaling change the log loss and the calibration error of retrained models on test?

The models are those in the results directories of finished runs on bars. For each model, the temperature is fitted on the
validation windows, with several standard deviations of the prior, and applied to the test windows. The evaluation repeats
after the run's own test, so it must not choose a model.

    python benchmarks/evaluation_temperature.py RESULTS_DIR ...
"""

import argparse
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.evaluation import Dependence, calibration_error
from cnn_lstm_hyperopt.evaluation.temperature import PRIOR_DEVIATION, fit_temperature, tempered
from cnn_lstm_hyperopt.inference.model import SavedModel, load_model
from cnn_lstm_hyperopt.metrics import score
from cnn_lstm_hyperopt.run_dir.paths import CONFIG_FILE, model_folders
from machine import machine_line

DEVIATIONS = (0.05, 0.1, PRIOR_DEVIATION, 10.0)
Probabilities = NDArray[np.floating]


def rows(save_dir: Path) -> Iterator[dict[str, float | str]]:
    """Yield a row for each retrained model of a run."""
    data = load_settings(save_dir / CONFIG_FILE, environment={}).data
    dataset = prepare_dataset(data)
    validation, test = dataset.validation, dataset.test.open()
    dependence = Dependence.of(validation, horizon=dataset.horizon)
    labels = test.labels.numpy()
    for folder in model_folders(save_dir):
        model = load_model(folder)
        if not isinstance(model, SavedModel) or model.description.scaler is None:
            continue
        if dataset.scaler is None or not np.allclose(model.description.scaler.mean, dataset.scaler.mean):
            continue  # the run had other bars than this version prepares
        plain = replace(model, temperature=1.0)
        known, found = (plain.predict_windows(each).probabilities for each in (validation, test))
        row: dict[str, float | str] = {
            "target": data.target,
            "windows": len(validation),
            "loss": _loss(labels, found),
            "error": calibration_error(labels, found),
        }
        for deviation in DEVIATIONS:
            temperature = fit_temperature(validation.labels.numpy(), known, dependence, deviation=deviation)
            after = tempered(found, temperature)
            row[f"T {deviation:g}"] = temperature
            row[f"change {deviation:g}"] = 1e4 * (_loss(labels, after) - row["loss"])
            row[f"error {deviation:g}"] = calibration_error(labels, after)
        yield row


def _loss(labels: NDArray[np.int64], probabilities: Probabilities) -> float:
    return -score("log_loss", labels, probabilities)


def main() -> None:
    """Print a table with a row for each target and number of validation windows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("save_dirs", nargs="+", type=Path)
    found: list[dict[str, float | str]] = []
    for save_dir in parser.parse_args().save_dirs:
        try:
            found += rows(save_dir)
        except HyperoptError as error:
            print(f"{save_dir}: skipped: {str(error).splitlines()[0]}")
    table = pd.DataFrame(found).drop_duplicates()
    groups = table.groupby(["target", "windows"])
    print(groups.mean().round(4).assign(models=groups.size()).to_string())
    numbers = table.drop(columns=["target", "windows"])
    print(pd.DataFrame({"mean": numbers.mean(), "min": numbers.min(), "max": numbers.max()}).round(4).to_string())
    print(f"{len(table)} models; changes of log loss in 1e-4 nats; {machine_line()}")


if __name__ == "__main__":
    main()
