"""Forecast the newest bar of each symbol with a simple baseline of a study on bars.

    python examples/use_baseline.py results "ridge regression"

docs/how-to/use-a-baseline.md describes it.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.evaluation import BASELINES
from cnn_lstm_hyperopt.pipeline.baseline_forecasts import baseline_forecasts
from cnn_lstm_hyperopt.pipeline.run import dataset_of

NAMES = ("logistic regression", "ridge regression", "gradient boosting", "GARCH", "MiniRocket")
"""Baselines that forecast from the bars of a window. The other baselines need the last known labels."""


def newest_forecasts(save_dir: Path, name: str) -> pd.DataFrame:
    """Return the class probabilities of the baseline ``name`` after the newest bar, with a row for each symbol.

    The baseline is fitted on the training windows of the study in ``save_dir`` and tuned on the validation windows.
    """
    settings = load_settings(save_dir / "config.yaml")
    dataset = dataset_of(settings, resume=True)
    test, market = dataset.test.open(), dataset.market
    if market is None:
        raise SystemExit("The study has DataLoaders. Fit a baseline on their windows with fit_baselines instead.")
    symbol_of = dict(zip(market.segment[test.starts.numpy()].tolist(), test.symbols.tolist(), strict=True))
    ends = np.flatnonzero(np.diff(market.segment, append=-1))  # the last bar of each segment of bars
    ends = ends[[number in symbol_of for number in market.segment[ends].tolist()]]
    newest = replace(
        test,
        starts=torch.from_numpy(ends - dataset.lookback + 1),
        labels=torch.zeros(len(ends), dtype=torch.int64),  # unknown and not used
        values=None if test.values is None else torch.zeros(len(ends)),  # unknown and not used
        symbols=np.array([symbol_of[number] for number in market.segment[ends].tolist()]),
    )
    splits = (dataset.train, dataset.validation, newest)
    found = baseline_forecasts(dataset, splits, seed=settings.study.seed, kinds={name: BASELINES[name]})
    return pd.DataFrame(found.probabilities[name], index=newest.symbols, columns=list(dataset.class_names))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("save_dir", type=Path, help="results directory of the study")
    parser.add_argument("name", choices=NAMES, help="name of the baseline")
    arguments = parser.parse_args()
    print(newest_forecasts(arguments.save_dir, arguments.name).round(3))
