"""Which ensemble of the retrained models has the lowest log loss on test: none, equal weights, greedy selection or stacking?

For each set, one small study is searched, retrained and tested as usual (8 trials, 3 finalists with 2 seeds). Then all ensembles
are made of the same networks and regressions, on the same validation windows, by the code of the program. A row has the
test log loss of model 1 and of each ensemble, and the log loss that one saves over another with its paired 95 % interval. The
last row has the means over all sets. Finished studies in ``FOLDER`` are used again.

The sets of ``--development`` chose details of the stacker; ``--variants`` compares these details. The other sets chose nothing
but the default of ``retrain.ensemble``. ``ArrowHead`` and ``BasicMotions`` have so few validation windows that the program
does not stack; they are in no mean.

    OMP_NUM_THREADS=1 python benchmarks/ensembles.py FOLDER
    OMP_NUM_THREADS=1 python benchmarks/ensembles.py FOLDER --sets ArrowHead BasicMotions
    OMP_NUM_THREADS=1 python benchmarks/ensembles.py FOLDER --development --variants
"""

import argparse
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import torch
from scipy.stats import t
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

from bars import data_of
from cnn_lstm_hyperopt.config import Settings, load_settings
from cnn_lstm_hyperopt.config.schema.retrain import EnsembleMethod
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation import Dependence, paired_interval
from cnn_lstm_hyperopt.evaluation.stacking import log_pool, stacked_pool
from cnn_lstm_hyperopt.evaluation.temperature import fit_temperature
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.metrics import score
from cnn_lstm_hyperopt.pipeline.calibration import HeldOut, calibrated, held_out
from cnn_lstm_hyperopt.pipeline.earlier_results import EarlierResults
from cnn_lstm_hyperopt.pipeline.ensemble_selection import Blend, blended, fitted_baselines
from cnn_lstm_hyperopt.pipeline.ensemble_weights import equal_weights
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.final_phase import run_final_phase
from cnn_lstm_hyperopt.pipeline.results.writer import write_results
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, Retrained
from cnn_lstm_hyperopt.pipeline.search_phase import search_and_write
from cnn_lstm_hyperopt.pipeline.session import open_session
from cnn_lstm_hyperopt.training import Predictions
from machine import printed
from public_data import read_set

BARS: dict[str, dict[str, Any]] = {
    "IBM": {"source": "embedded", "symbols": ["IBM"], "target": "volatility"},
    "AAPL": {"source": "embedded", "symbols": ["AAPL"], "target": "volatility"},
    "MSFT, GOOGL": {"source": "embedded", "symbols": ["MSFT", "GOOGL"], "target": "volatility"},
    "NVDA, AMZN": {"source": "embedded", "symbols": ["NVDA", "AMZN"], "target": "volatility"},
    "BTC, hourly": {},
    "synthetic market": {"source": "synthetic", "symbols": ["SYN1"]},
}
"""Settings of the data of each set of bars; the hourly bars are those of :mod:`bars`."""
PUBLIC = ("JapaneseVowels", "ArrowHead", "BasicMotions")
ARRAYS = ("breast cancer", "digits", *PUBLIC)
"""Sets of windows: two of scikit-learn (30 values as 30 steps; 8 rows of 8 pixels), and three of :mod:`public_data`."""
DEVELOPMENT = ("IBM", "breast cancer")
SMALL = ("ArrowHead", "BasicMotions")
"""Sets with fewer than 20 validation windows."""
SINGLE = "model 1"
METHODS: tuple[EnsembleMethod, ...] = ("equal", "greedy", "stack")
PAIRS = (("equal", SINGLE), ("stack", SINGLE), ("greedy", "equal"), ("stack", "equal"))
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
    if which in PUBLIC:
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

    def ensemble(self, method: EnsembleMethod) -> Blend:
        """Return the ensemble that the program makes with this method."""
        found = blended(self.done, self.known, self.dataset, self.settings, self.n_trials, method)
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


def gain(study: Study, test: Windows, ours: Predictions, theirs: Predictions) -> str:
    """Return the log loss that predictions save over others, with the paired 95 % interval if there is one."""
    dependence = Dependence.of(test, horizon=study.dataset.horizon)
    scored = [each.as_scored("log_loss") for each in (ours, theirs)]
    interval = paired_interval("log_loss", test.labels.numpy(), *scored, dependence)
    text = f"{loss(test, theirs) - loss(test, ours):+.4f}"
    return text if interval is None else f"{text} ({interval[0]:+.4f} to {interval[1]:+.4f})"


def mean_gain(gains: Sequence[float]) -> str:
    """Return the mean over sets with Student's 95 % interval, and the number of sets with a gain."""
    half = t.ppf(0.975, len(gains) - 1) * np.std(gains, ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else np.nan
    mean, wins = float(np.mean(gains)), sum(each > 0 for each in gains)
    return f"{mean:+.4f} ({mean - half:+.4f} to {mean + half:+.4f}; {wins} of {len(gains)})"


def table(sets: Sequence[str], folder: Path) -> Iterator[str]:
    """Yield the lines of the table; studies that are not finished are run first."""
    titles = [SINGLE, *METHODS, *(f"{ours} over {theirs}" for ours, theirs in PAIRS)]
    yield "| set | windows | weights of equal | " + " | ".join(titles) + " |"
    yield "|---" * (3 + len(titles)) + "|"
    losses: list[dict[str, float]] = []
    for which in sets:
        with finished(which, folder / which.replace(", ", "_").replace(" ", "_")) as study:
            test, said, ensembles = tested(study)
            losses.append({name: loss(test, each) for name, each in said.items()})
            pairs = [gain(study, test, said[ours], said[theirs]) for ours, theirs in PAIRS]
            windows = f"{len(study.known.windows):,} / {len(test):,}"
            cells = [
                which,
                windows,
                ensembles["equal"].weighting,
                *(f"{each:.4f}" for each in losses[-1].values()),
                *pairs,
            ]
            yield "| " + " | ".join(cells) + " |"
    means = [f"{np.mean([each[name] for each in losses]):.4f}" for name in (SINGLE, *METHODS)]
    gains = [mean_gain([each[theirs] - each[ours] for each in losses]) for ours, theirs in PAIRS]
    yield "| " + " | ".join(["mean (interval over sets; sets with a gain)", "", "", *means, *gains]) + " |"


def variants(sets: Sequence[str], folder: Path) -> Iterator[str]:
    """Yield a table of variants of the stacker: the lowest weight, the weights of an infinite penalty, and the scale."""
    yield "| set | lowest weight | pulled to | penalty | own scale | fitted temperature |"
    yield "|---" * 6 + "|"
    for which in sets:
        with finished(which, folder / which.replace(", ", "_").replace(" ", "_")) as study:
            test, known = study.dataset.test.open(), study.known
            labels = known.windows.labels.numpy()
            dependence = Dependence.of(known.windows, horizon=study.dataset.horizon)
            baselines = fitted_baselines(known, study.dataset, study.settings)
            held = [each for runs in known.of_runs for each in runs] + list(baselines.values())
            new = [each for done in study.done for each in done.predictions(test)]
            new += [each.model.predict_windows(test) for each in baselines]
            library, unseen = (np.stack([each.probabilities for each in said]) for said in (held, new))
            equal = equal_weights(len(held) - len(baselines), len(baselines))
            for lowest, (name, prior) in itertools.product((0.0, -np.inf), (("equal", equal), ("zero", 0 * equal))):
                weights, penalty = stacked_pool(labels, library, prior, dependence, min_weight=lowest)
                normed = weights / weights.sum()
                fitted = fit_temperature(labels, log_pool(list(library), normed.tolist()), dependence)
                plain, tempered = (
                    -score("log_loss", test.labels.numpy(), log_pool(list(unseen), each.tolist()))
                    for each in (weights, normed / fitted)
                )
                bound = "0" if lowest == 0 else "none"
                yield f"| {which} | {bound} | {name} | {penalty:g} | {plain:.4f} | {tempered:.4f} |"


def main() -> int:
    """Print the table of the sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--sets", nargs="+", choices=(*BARS, *ARRAYS), help="default: all but those of --development and small ones"
    )
    parser.add_argument("--development", action="store_true", help="use the sets that chose the details of the stacker")
    parser.add_argument("--variants", action="store_true", help="compare details of the stacker")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    report = [each for each in (*BARS, *ARRAYS) if each not in (*DEVELOPMENT, *SMALL)]
    sets = options.sets or (list(DEVELOPMENT) if options.development else report)
    title = f"\npython benchmarks/ensembles.py {' '.join(sys.argv[1:])}"
    return printed(title, (variants if options.variants else table)(sets, options.folder))


if __name__ == "__main__":
    sys.exit(main())
