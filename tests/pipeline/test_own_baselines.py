"""A user's baseline in a run: checked before the first trial, without labels of the test set, scored like the others."""

import os
import sys
from datetime import date

import numpy as np
import pytest
import torch
import yaml

from builders.errors import raises
from builders.finalists import mostly, planted
from builders.loaders import three
from builders.runs import ended, results_of, start
from cnn_lstm_hyperopt import run_cnn_lstm_hyperparameter_optimization
from cnn_lstm_hyperopt.config import DataSettings, load_settings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.sources import load_bars
from cnn_lstm_hyperopt.errors import ConfigError, DataError
from cnn_lstm_hyperopt.pipeline import test_evaluation
from cnn_lstm_hyperopt.pipeline.own_baselines import check_own_baselines, forecasts_of

RATES = """
def rates(train, validation):
    shares = np.bincount(train.labels, minlength=train.n_classes) / len(train)
    return lambda windows: np.tile(shares, (len(windows), 1))
"""
SEEN = """
class Seen:
    def __init__(self, train, validation):
        np.savez("seen.npz", **{f"{part}_{name}": getattr(w, name) for part, w in (("train", train), ("validation", validation))
                                for name in ("inputs", "labels", "values", "dates", "symbols", "edges")}, rows=len(train._series))
    def probabilities(self, windows):
        assert windows.labels is None and windows.values is None
        bars = windows.bars(100) if windows.has_bars else 0
        np.savez("forecast.npz", bars=bars, dates=windows.dates, symbols=windows.symbols, edges=windows.edges)
        return np.full((len(windows), 2), 0.5)
    def values(self, windows):
        return windows.edges[:, 0]
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module into the current directory; return its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != ""])

    def write(source: str, name: str = "mine") -> str:
        (tmp_path / f"{name}.py").write_text("import os, time\nimport numpy as np\n" + source)
        return name

    return write


def settings_of(*baselines: str, **evaluation):
    return load_settings({"evaluation": {"baselines": list(baselines), **evaluation}}, environment={})


def whole(dataset):
    return dataset.train, dataset.validation, dataset.test.open()


@pytest.mark.slow
def test_the_function_gets_the_windows_and_no_later_bars(module, tmp_path):
    data = {"start": date(2005, 1, 3), "end": date(2008, 12, 31), "target": "volatility", "lookback": 20, "horizon": 2}
    evaluation = settings_of("mine:Seen").evaluation
    dataset = prepare_dataset(DataSettings(source="embedded", symbols=("AAPL",), **data), evaluation=evaluation)
    module(SEEN)
    forecast = forecasts_of("mine:Seen", dataset, whole(dataset), settings_of())
    seen, asked = np.load(tmp_path / "seen.npz"), np.load(tmp_path / "forecast.npz")
    for part, windows in (("train", dataset.train), ("validation", dataset.validation)):
        own = {name: seen[f"{part}_{name}"] for name in ("inputs", "labels", "values", "dates", "symbols", "edges")}
        np.testing.assert_array_equal(own["inputs"], windows.gather(torch.arange(len(windows))))
        for name in ("labels", "values", "dates", "symbols"):
            np.testing.assert_array_equal(own[name], np.asarray(getattr(windows, name)))
        np.testing.assert_array_equal(own["values"] > own["edges"][:, 0], own["labels"] == 1)
    test = dataset.test.open()
    np.testing.assert_array_equal(asked["dates"], test.dates)
    (bars,) = load_bars(DataSettings(source="embedded", symbols=("AAPL",)))[0]
    last = bars.index.get_indexer(test.dates)
    frame = bars.frame[["open", "high", "low", "close", "volume"]].to_numpy(np.float32)
    np.testing.assert_array_equal(asked["bars"][-1], frame[last[-1] - 99 : last[-1] + 1])
    np.testing.assert_array_equal(forecast.values, asked["edges"][:, 0])
    check_own_baselines(settings_of("mine:Seen"), dataset)
    assert np.load(tmp_path / "seen.npz")["rows"] < seen["rows"] - len(test)
    assert np.load(tmp_path / "forecast.npz")["dates"].max() <= dataset.validation.dates.max()


FAULTS = {
    "no-module": ("nothing:f", ""),
    "no-function": ("mine:f", ""),
    "import-raises": ("mine:f", "import not_there\n"),
    "function-raises": ("mine:f", "def f(train, validation):\n    raise RuntimeError('no weights in /models')\n"),
    "process-ended": ("mine:f", "def f(train, validation):\n    os._exit(3)\n"),
    "too-long": ("mine:f", "def f(train, validation):\n    time.sleep(600)\n"),
}


@pytest.mark.slow
@pytest.mark.mostly_thorough(2)
@pytest.mark.parametrize("code", FAULTS)
def test_an_error_comes_before_the_first_trial(apple, module, code):
    reference, source = FAULTS[code]
    module(source)
    settings = settings_of(reference, baseline_seconds=8.0 if code == "too-long" else 600.0)
    with raises(DataError, code, "evaluation.baselines"):
        check_own_baselines(settings, apple())


@pytest.mark.slow
def test_the_baseline_is_scored_and_judged_like_the_others(apple, module):
    module(SEEN + RATES)
    dataset = apple()
    labels = dataset.test.open().labels.numpy()
    finalist = planted(1, mostly(labels, 0.6, seed=0))
    found = test_evaluation.evaluate_once([finalist], dataset, settings_of("mine:rates", "mine:Seen"))
    by_name = {each.name: each for each in found.baselines}
    assert list(by_name)[-2:] == ["mine:rates", "mine:Seen"]
    assert by_name["mine:Seen"].scores.metrics["log_loss"] == pytest.approx(np.log(2))
    assert by_name["mine:Seen"].predictions.values is not None
    assert {"mine:rates", "mine:Seen"} < {each.baseline for each in found.judgement.comparisons}


@pytest.mark.parametrize(
    ("given", "code", "place"), [("mine", "not-a-reference", ".0"), ("mine:f", "duplicate-function", "")]
)
def test_a_wrong_setting_is_refused(given, code, place):
    with raises(ConfigError, code, f"evaluation.baselines{place}"):
        settings_of(given, given)


@pytest.mark.slow
def test_a_baseline_that_fails_at_the_end_is_corrected_and_the_run_continues(tiny, module, tmp_path):
    """The baseline fails on more windows than in the check, and a second period has it, too."""
    module(RATES.replace("    shares", "    assert len(train) < 150\n    shares"))
    tiny = {**tiny, "retrain": {**tiny["retrain"], "enabled": True, "top_k": 1}}
    tiny = {**tiny, "evaluation": {"test_periods": 2, "baselines": ["mine:rates"]}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    save_dir = tmp_path / "results"
    here = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code, _, err = ended(start("run", "--config", tmp_path / "tiny.yaml", env=here))
    assert (code, "mine:rates" in err, "resume" in err) == (1, True, True)
    assert not results_of(save_dir)["baselines"]
    module(RATES)
    code, _, err = ended(start("resume", "--save-dir", save_dir, env=here))
    assert code == 0, err
    results = results_of(save_dir)
    assert results["baselines"][-1]["name"] == "mine:rates"
    assert results["verdict"]["test_openings"] == 1


@pytest.mark.slow
def test_python_and_loaders_take_baselines(module, tmp_path):
    module(RATES)
    results = run_cnn_lstm_hyperparameter_optimization(
        three(),
        n_trials=2,
        save_dir=tmp_path / "r",
        top_k=1,
        full_epochs=1,
        baselines=["mine:rates"],
        quiet=True,
        config={"training": {"max_epochs": 1}, "workers": 1},
    )
    assert results["baselines"][-1]["name"] == "mine:rates"
