"""A study whose models are retrained, and files of its bars with later ones, for tests of updates."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from builders.finalists import plant
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource
from cnn_lstm_hyperopt.evaluation import BASELINES
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.final_phase import run_final_phase
from cnn_lstm_hyperopt.pipeline.results.writer import write_results
from cnn_lstm_hyperopt.pipeline.session import open_session

SYMBOLS = ("AAPL", "IBM")


def retrained_study(tiny: dict[str, Any], save_dir: Path, **retrain: Any) -> Path:
    """Make a study of two symbols until the end of 2008 with a retrained model; return the model's folder."""
    config = {
        **tiny,
        "study": {"n_trials": 2, "portfolio": False},
        "data": {**tiny["data"], "symbols": list(SYMBOLS), "start": "2006-01-01", "end": "2008-12-31"},
        "training": {"max_epochs": 2, "min_epoch_steps": 1},
        "retrain": {"enabled": True, "top_k": 1, "full_epochs": 2, "confirm_seeds": 1, "seeds": 2, **retrain},
        "save_dir": str(save_dir),
    }
    quick = {name: BASELINES[name] for name in ("majority class", "persistence")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cnn_lstm_hyperopt.evaluation.baselines.BASELINES", quick)
        patch.setattr("cnn_lstm_hyperopt.search.cost_forecast.SAMPLED", 50)
        plant(config, (0.9, 0.8))
        settings = load_settings(config, environment={})
        with open_session(settings, prepare_dataset(settings.data), resume=True, events=RunEvents()) as session:
            run_final_phase(session, StopSignal())
            write_results(session)
    return save_dir / "retrained_model_1"


def write_bars(folder: Path, end: str, start: str = "2006-01-01") -> Path:
    """Write the embedded bars of the study's symbols in a range of dates as CSV files."""
    folder.mkdir(exist_ok=True)
    for each in EmbeddedSource().load(SYMBOLS, date.fromisoformat(start), date.fromisoformat(end))[0]:
        each.frame.to_csv(folder / f"{each.symbol}.csv")
    return folder
