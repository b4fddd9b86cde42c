"""Which ensemble of the retrained models has the lowest log loss on test: none, equal weights, greedy selection or stacking?

For each set, one small study is searched, retrained and tested as usual (8 trials, 3 finalists with 2 seeds). Then all ensembles
are made of the same networks and regressions, on the same validation windows, by the code of the program. Each row has the
test log loss of model 1 and of each ensemble. The second table has the paired interval of each difference, and the last lines
have the means over all sets. Finished studies in ``FOLDER`` are used again.

The sets of ``--development`` chose details of the stacker; ``--variants`` compares these details. The other sets chose nothing
but the default of ``retrain.ensemble``.

    OMP_NUM_THREADS=1 python benchmarks/ensembles.py FOLDER
    OMP_NUM_THREADS=1 python benchmarks/ensembles.py FOLDER --development --variants
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

from bars import data_of
from cnn_lstm_hyperopt.config import Settings, load_settings
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.metrics import score
from cnn_lstm_hyperopt.pipeline.calibration import HeldOut, calibrated, held_out
from cnn_lstm_hyperopt.pipeline.earlier_results import EarlierResults
from cnn_lstm_hyperopt.pipeline.ensemble_selection import Blend, blended
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.final_phase import run_final_phase
from cnn_lstm_hyperopt.pipeline.results.writer import write_results
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, Retrained
from cnn_lstm_hyperopt.pipeline.search_phase import search_and_write
from cnn_lstm_hyperopt.pipeline.session import open_session
from cnn_lstm_hyperopt.training import Predictions
from public_data import read_set

BARS: dict[str, dict[str, Any]] = {
    "IBM": {"source": "embedded", "symbols": ["IBM"], "target": "volatility"},
    "AAPL": {"source": "embedded", "symbols": ["AAPL"], "target": "volatility"},
    "MSFT, GOOGL": {"source": "embedded", "symbols": ["MSFT", "GOOGL"], "target": "volatility"},
    "NVDA, AMZN": {"source": "embedded", "symbols": ["NVDA", "AMZN"], "target": "volatility"},
    "BTC, hourly": {},
    "synthetic market": {"source": "synthetic"},
}
"""Settings of the data of each set of bars; the hourly bars are those of :mod:`bars`."""
ARRAYS = ("breast cancer", "digits", "JapaneseVowels")
"""Sets of windows: two of scikit-learn (30 values as 30 steps; 8 rows of 8 pixels), one of :mod:`public_data`."""
DEVELOPMENT = ("IBM", "breast cancer")
SINGLE, METHODS = "model 1", ("auto", "greedy", "stack")
STUDY: dict[str, Any] = {
    "workers": 1,
    "study": {"n_trials": 8, "seed": 1, "time_objective": "estimated"},
    "training": {"max_epochs": 6},
    "retrain": {"enabled": True, "top_k": 3, "seeds": 2, "confirm_seeds": 1, "full_epochs": 10},
    "search_space": {
        "cnn": {"num_filters": [8, 16, 24], "attention": False},
        "lstm": {"hidden_dim": [8, 16, 24], "num_layers": [1, 2], "attention": False},
        "fusion": {"method": ["concatenation", "gated"], "dim": [8, 16, 32]},
        "training": {"batch_size": [64, 128], "learning_rate": [1e-3, 2e-2]},
    },
    "mlflow": {"enabled": False},
    "report": False,
}
"""Settings of a study that differ from the defaults."""


def windows_of(which: str) -> Dataset:
    """Return a set of windows: half of it is training, a quarter each validation and test, unless it has an official test set."""
    if which == "JapaneseVowels":
        own = read_set(which, Path.home() / ".cache" / "cnn_lstm_hyperopt_public_sets")
        x, y, test = own.x, own.y, (own.test_x, own.test_y)
    else:
        data = load_digits() if which == "digits" else load_breast_cancer()
        x = data.data.astype(np.float32).reshape(len(data.data), *((8, 8) if which == "digits" else (30, 1)))
        if which != "digits":
            x = (x - x.mean(axis=0)) / x.std(axis=0)
        x, test_x, y, test_y = train_test_split(x, data.target, test_size=0.25, random_state=0, stratify=data.target)
        test = (test_x, test_y)
    x, held_x, y, held_y = train_test_split(x, y, test_size=1 / 3, random_state=0, stratify=y)
    mean, deviation = x.mean((0, 1)), x.std((0, 1)) + 1e-8
    parts = ((x, y), (held_x, held_y), test)
    loaders = [
        DataLoader(
            TensorDataset(torch.from_numpy(((part - mean) / deviation).astype(np.float32)), torch.from_numpy(labels)),
            batch_size=32,
        )
        for part, labels in parts
    ]
    return dataset_from_loaders(loaders, None)


def prepared(which: str, save_dir: Path) -> tuple[Settings, Dataset]:
    """Return the settings and the data of a study."""
    if which in ARRAYS:
        data: dict[str, Any] = {"source": "loaders"}
    else:
        data = data_of("hourly", save_dir.parent, None) if which == "BTC, hourly" else BARS[which]
    if which not in ARRAYS:
        data = {**data, "lookback": 30}
    settings = load_settings({**STUDY, "data": data, "save_dir": str(save_dir)}, environment={})
    return settings, windows_of(which) if which in ARRAYS else prepare_dataset(settings.data)


def search(which: str, save_dir: Path) -> None:
    """Run the whole study of a set, unless it is finished."""
    if (save_dir / "finished").exists():
        return
    settings, dataset = prepared(which, save_dir)
    with open_session(settings, dataset, resume=save_dir.exists(), events=RunEvents()) as session:
        stop = StopSignal()
        search_and_write(session, stop)
        run_final_phase(session, stop)
        write_results(session)
    (save_dir / "finished").touch()


@dataclass(frozen=True)
class Study:
    """Retrained models of a finished study, with their predictions for the validation windows."""

    settings: Settings
    dataset: Dataset
    done: Sequence[Retrained]
    known: HeldOut
    n_trials: int

    def ensemble(self, method: str) -> Blend:
        """Return the ensemble that the program makes with this method."""
        retrain = self.settings.retrain.model_copy(update={"ensemble": method})
        settings = self.settings.model_copy(update={"retrain": retrain})
        found = blended(self.done, self.known, self.dataset, settings, self.n_trials)
        if found is None:
            raise RuntimeError("a study with several networks has an ensemble")
        return found


@contextmanager
def finished(which: str, save_dir: Path) -> Iterator[Study]:
    """Context with the finished study of a set; it is searched, retrained and tested before, if needed."""
    search(which, save_dir)
    settings, dataset = prepared(which, save_dir)
    with open_session(settings, dataset, resume=True, events=RunEvents()) as session:
        finalists = [
            Finalist(entry["model_rank"], entry["trial_number"], entry["config_params"])
            for entry in session.final["retrained_models"]
        ]
        stored = EarlierResults(session, finalists).retraining()
        if stored is None:
            raise RuntimeError(f"{which}: the models in {save_dir} can't be used again; remove the directory")
        known = held_out(stored.done, session.dataset)
        done = [
            calibrated(each, each.mean(said).before, known.windows, session.dataset.horizon)
            for each, said in zip(stored.done, known.of_runs, strict=True)
        ]
        yield Study(session.settings, session.dataset, done, known, session.study.n_finished())


def tested(study: Study) -> tuple[Windows, dict[str, Predictions], dict[str, Blend]]:
    """Return the test windows, and the predictions of model 1 and of each ensemble for these windows."""
    test = study.dataset.test.open()
    predictions = [each.predictions(test) for each in study.done]
    ensembles = {method: study.ensemble(method) for method in METHODS}
    found = {SINGLE: study.done[0].mean(predictions[0]).after}
    found |= {method: each.mean(predictions, test).after for method, each in ensembles.items()}
    return test, found, ensembles


def loss(test: Windows, predictions: Predictions) -> float:
    """Return the log loss of predictions for the test windows."""
    return -score("log_loss", test.labels.numpy(), predictions.probabilities)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+")
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    import time

    for which in options.sets or [*BARS, *ARRAYS]:
        t, c = time.time(), time.process_time()
        search(which, options.folder / which.replace(", ", "_").replace(" ", "_"))
        print(which, f"{time.time() - t:.0f} s, {time.process_time() - c:.0f} core s", flush=True)


if __name__ == "__main__":
    main()
