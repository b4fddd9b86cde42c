"""The synthetic market: legal bars, a best accuracy that is right, and nothing in it for a linear model."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from cnn_lstm_hyperopt.api import CNNLSTMHyperparameterOptimizer
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.bars import Bars, normalise_bars
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.sources import open_source
from cnn_lstm_hyperopt.data.sources.synthetic import BARS, BEST, LONG_WICK, SWITCH, SYMBOLS, SyntheticSource
from cnn_lstm_hyperopt.evaluation import Sample
from cnn_lstm_hyperopt.evaluation.baselines.base import UNKNOWN
from cnn_lstm_hyperopt.evaluation.baselines.logistic import LogisticBaseline
from cnn_lstm_hyperopt.evaluation.baselines.simple import MajorityClass

SEEDS = (0, 1, 2)


def market(seed: int = 0, *symbols: str) -> list[Bars]:
    bars, warnings = SyntheticSource(seed).load(symbols, None, None)
    assert warnings == []
    return bars


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_seed_is_the_same_market_and_another_one_another(seed):
    first, again, other = market(seed), market(seed), market(seed + 1)
    assert [bars.symbol for bars in first] == list(SYMBOLS)
    assert [bars.sha256 for bars in first] == [bars.sha256 for bars in again]
    assert len({bars.sha256 for bars in (*first, *other)}) == 2 * len(SYMBOLS)
    (chosen,), _ = open_source(DataSettings(synthetic_seed=seed)).load(["SYN4"], None, None)
    assert chosen.sha256 == first[3].sha256  # whatever else is asked for
    (year,), _ = SyntheticSource(seed).load(["syn2"], date(2001, 1, 1), date(2001, 12, 31))
    pd.testing.assert_frame_equal(year.frame, first[1].frame.loc["2001"])


@pytest.mark.parametrize("seed", SEEDS)
def test_bars_are_legal_open_at_the_last_close_and_pass_normalisation_unchanged(seed):
    for bars in market(seed):
        frame = bars.frame
        assert len(frame) == BARS
        assert bars.index.is_monotonic_increasing
        assert bool((bars.index.day_of_week < 5).all())
        assert np.array_equal(frame["open"][1:], frame["close"][:-1])
        again = normalise_bars(bars.symbol, frame.reset_index(), "table")  # raises for a bar that is not legal
        pd.testing.assert_frame_equal(again.frame, frame, check_freq=False)
        assert again.sha256 == bars.sha256


def read(bars: Bars) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Push and length of the longer wick of each bar but the last, and whether the next bar went up."""
    open_, high, low, close = (bars.frame[name].to_numpy() for name in ("open", "high", "low", "close"))
    upper, lower = np.log(high / np.maximum(open_, close)), np.log(np.minimum(open_, close) / low)
    push = np.where(lower > upper, 1, -1)
    return push[:-1], np.maximum(upper, lower)[:-1], close[1:] > close[:-1]


def fading(wick: np.ndarray) -> np.ndarray:
    """Whether the regime is more likely *fade*, given all wicks so far (the forward filter of a hidden Markov model).

    A wick is Gamma(16) of mean m; the likelihood of one length is m^−16 · exp(−16 · length / m) up to a common factor.
    """
    follow, fade = (m**-16.0 * np.exp(-16 * wick / m) for m in (LONG_WICK["follow"], LONG_WICK["fade"]))
    belief, seen = 0.5, []
    for one, other in zip(follow, fade, strict=True):
        before = belief * (1 - SWITCH) + (1 - belief) * SWITCH
        belief = before * other / (before * other + (1 - before) * one)
        seen.append(belief > 0.5)
    return np.array(seen)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_model_that_knows_the_regime_reaches_the_best_accuracy(seed):
    right = []
    for bars in market(seed):
        push, wick, up = read(bars)
        right.append((np.where(fading(wick), -push, push) > 0) == up)
    hits = np.concatenate(right)
    standard_error = np.sqrt(BEST * (1 - BEST) / len(hits))
    assert hits.mean() == pytest.approx(BEST, abs=2 * standard_error)


@pytest.mark.parametrize("seed", SEEDS)
def test_neither_the_push_nor_the_regime_says_anything_by_itself(seed):
    of_push, of_regime, of_both = [], [], []
    for bars in market(seed):
        push, wick, up = read(bars)
        fades = wick > np.sqrt(LONG_WICK["follow"] * LONG_WICK["fade"])
        of_push.append((push > 0) == up)
        of_regime.append(fades == up)
        of_both.append((np.where(fades, -push, push) > 0) == up)
    for hits in (np.concatenate(of_push), np.concatenate(of_regime)):
        assert abs(hits.mean() - 0.5) < 0.045  # regimes last: each symbol has about 50 of them, of unequal length
    assert np.concatenate(of_both).mean() > 0.69


@pytest.mark.parametrize("seed", SEEDS)
def test_returns_alone_are_a_random_walk(seed):
    signs = [np.sign(np.diff(np.log(bars.frame["close"]))) for bars in market(seed)]
    for lag in (1, 2, 5):
        products = np.concatenate([each[lag:] * each[:-lag] for each in signs])
        assert abs(products.mean()) < 4 / np.sqrt(len(products))


@pytest.mark.parametrize(
    ("target", "horizon", "classes", "expected"),
    [("direction", 1, 2, 0.72), ("direction", 2, 2, None), ("direction", 1, 3, None), ("volatility", 1, 2, None)],
)
def test_the_best_accuracy_is_known_for_the_next_direction_alone(target, horizon, classes, expected):
    assert classes == 3 or SyntheticSource(0).best_accuracy(target, horizon) == expected
    asked = {"target": target, "horizon": horizon, "direction_classes": classes, "lookback": 5}
    facts = prepare_dataset(DataSettings(symbols=("SYN1",), end=date(2002, 1, 1), **asked)).description
    assert (facts["best_attainable_accuracy"], facts["source"], [*facts["symbols"]]) == (
        expected,
        "synthetic",
        ["SYN1"],
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_a_linear_model_gets_at_most_a_quarter_of_the_way(seed):
    dataset = prepare_dataset(DataSettings(synthetic_seed=seed, lookback=30))
    train, validation, test = (
        Sample(each.gather(torch.arange(len(each))).numpy(), each.labels.numpy(), np.full(len(each), UNKNOWN))
        for each in (dataset.train, dataset.validation, dataset.test.open())
    )
    accuracy = {}
    for kind in (MajorityClass, LogisticBaseline):
        model = kind()
        model.fit(train, validation, n_classes=2, seed=0)
        accuracy[kind.name] = float((model.probabilities(test).argmax(axis=1) == test.labels).mean())
    majority = accuracy["majority class"]
    assert (accuracy["logistic regression"] - majority) / (BEST - majority) <= 0.25


FEW_TRIALS = yaml.safe_load("""
training: {max_epochs: 6, device: cpu}
pruner: {n_startup_trials: 8, n_warmup_steps: 2}
sampler: {n_startup_trials: 12}
search_space:
  cnn: {num_filters: [8, 16], attention: false}
  lstm: {hidden_dim: [16, 32], num_layers: {fixed: 1}, attention: false, bidirectional: false}
  fusion: {method: [concatenation, gated], dim: [16, 32]}
  training: {batch_size: [64, 128], learning_rate: [0.003, 0.02], optimizer: [adam, adamw, rmsprop]}
""")


@pytest.mark.slow
@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("seed", SEEDS)
def test_thirty_trials_get_at_least_half_of_the_way_to_the_best_accuracy(seed, tmp_path):
    data = {"synthetic_seed": seed, "symbols": list(SYMBOLS[:3]), "lookback": 20, "train_share": 0.4}
    config = {**FEW_TRIALS, "study": {"seed": seed}, "data": {"source": "synthetic", **data}}
    with CNNLSTMHyperparameterOptimizer(save_dir=tmp_path / "results", config=config, quiet=True) as optimizer:
        assert optimizer.optimize(30)["n_trials_completed"] == 30
        (model,) = optimizer.retrain_best_models(top_k=1, full_epochs=8)
        baselines = optimizer.write_results()["baselines"]
    assert optimizer.dataset.description["best_attainable_accuracy"] == BEST
    majority = baselines[0]["test_metrics"]["test_class_acc"]
    assert (model["test_metrics"]["test_class_acc"] - majority) / (BEST - majority) >= 0.5
