"""Selection bias from the prediction files of trials: by pandas and by hand."""

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from builders.finalists import sure
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.evaluation import (
    Market,
    TradingRules,
    deflated_sharpe,
    probability_of_backtest_overfitting,
    sharpe,
)
from cnn_lstm_hyperopt.evaluation.selection_bias import deflated, read_trials
from cnn_lstm_hyperopt.execution.validation_files import write_validation
from cnn_lstm_hyperopt.training import Predictions

RULES = TradingRules(2, 10.0, {"AAPL": 0.0, "IBM": 3.0}, "next_close")
SHARES = (0.5, 0.52, 0.47, 0.55, 0.5, 0.51, 0.53, 0.48, 0.5, 0.49)
NUMBERS = tuple(range(0, 30, 3))


def prepared(target: str, **changed) -> Dataset:
    dates = {"start": date(2004, 1, 3), "end": date(2008, 12, 31), "lookback": 10}
    return prepare_dataset(DataSettings(source="embedded", symbols=("AAPL", "IBM"), target=target, **dates, **changed))


@pytest.fixture(
    scope="module",
    params=[
        ("volatility", {}),
        ("direction", {"horizon": 2}),
        ("direction", {"cv_folds": 3}),
        ("direction", {"cv_scheme": "combinatorial", "cv_folds": 4}),  # holds out each window three times
    ],
    ids=["volatility", "direction, 2 bars", "direction, 3 folds", "direction, 6 of 4 blocks"],
)
def dataset(request) -> Dataset:
    target, changed = request.param
    return prepared(target, **changed)


def store(folder, number, dataset, probabilities):
    write_validation(folder, number, dataset.folds, Predictions(probabilities.astype(np.float32), None))


def labels_of(dataset: Dataset):
    return np.concatenate([fold.validation.labels.numpy() for fold in dataset.folds])


def write(folder, dataset, shares=SHARES):
    """A file for each trial that is right in that share of the windows; trials are numbered by threes."""
    labels = labels_of(dataset)
    for place, share in enumerate(shares):
        rng = np.random.default_rng(place)
        said = np.where(rng.random(len(labels)) < share, labels, 1 - labels)
        store(folder, 3 * place, dataset, sure(said, confidence=rng.uniform(0.51, 0.99)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, dataset):
    folder = tmp_path_factory.mktemp("trials") / "validation"
    write(folder, dataset)
    return folder


def read(folder, dataset, numbers=NUMBERS, metric="accuracy", **more):
    rules = replace(RULES, horizon=dataset.horizon)
    return read_trials(folder, numbers, dataset, metric=metric, rules=rules, **more)


def frames_of(folder):
    """Each file, read by pandas."""
    found = {}
    for path in sorted(folder.iterdir()):
        frame = pd.read_parquet(path)
        frame["up"] = (frame["probability_1"] > 0.5).astype(float)
        found[int(path.stem[-5:])] = frame.assign(hit=(frame["up"] == frame["label"]).astype(float))
    return found


def sums_by_date(folder, value):
    by_date = [frame.assign(value=value(frame)).groupby("date")["value"] for frame in frames_of(folder).values()]
    return np.column_stack([each.sum().to_numpy() for each in by_date]), by_date[0].count().to_numpy().astype(float)


def test_only_the_given_trials_are_read(folder, dataset, tmp_path):
    assert read(folder, dataset, {3, 12}).numbers == (3, 12)
    for place, numbers in ((tmp_path / "validation", NUMBERS), (folder, {1, 2}), (folder, set())):
        assert read(place, dataset, numbers) is None
    assert deflated(read(folder, dataset), None, n_trials=5) is deflated(read(folder, dataset), 4, n_trials=5) is None
    alone = read(folder, dataset, {0}).overfitting
    assert (alone.probability, bool(alone.reason)) == (None, True)


def test_missing_damaged_and_foreign_files_are_named_and_ignored(dataset, tmp_path):
    write(tmp_path, dataset)
    whole = read(tmp_path, dataset, {0, 9})
    (tmp_path / "trial_00003.parquet").write_bytes(b"half a file")
    pd.read_parquet(tmp_path / "trial_00006.parquet").iloc[1:].to_parquet(tmp_path / "trial_00006.parquet")
    for number in NUMBERS[4:]:
        (tmp_path / f"trial_{number:05d}.parquet").unlink()
    found = read(tmp_path, dataset)
    assert (found.numbers, found.missing) == ((0, 9), (3, 6, *NUMBERS[4:]))
    assert found.overfitting == whole.overfitting


@pytest.mark.parametrize(("metric", "of"), [("accuracy", "accuracy"), ("log_loss", "log probability")])
def test_overfitting_is_that_of_sums_by_date_over_all_windows(folder, dataset, metric, of):
    """Of hits or log probabilities; a date has a window for each symbol and each fold that holds it out."""

    def value(frame):
        own = np.where(frame["label"] == 1, frame["probability_1"], 1 - frame["probability_1"])
        return frame["hit"] if metric == "accuracy" else np.log(own)

    sums, counts = sums_by_date(folder, value)
    found, by_hand = read(folder, dataset, metric=metric), probability_of_backtest_overfitting(sums, counts)
    assert (found.of, found.overfitting.probability) == (of, pytest.approx(by_hand.probability))
    assert found.overfitting.in_sample == pytest.approx(by_hand.in_sample, rel=1e-5)
    assert (found.overfitting.n_trials, found.overfitting.unit, found.overfitting.n_units) == (10, "dates", len(counts))


def test_without_a_trial_above_chance_the_probability_is_unknown(folder, dataset):
    known = read(folder, dataset).overfitting
    found = read(folder, dataset, beats_chance=False).overfitting
    assert (known.probability is None, found.probability, found.in_sample) == (False, None, None)
    assert (found.reason, found.n_trials) == ("no trial beats chance", 10)


@pytest.mark.parametrize(("kind", "units"), [("windows", np.arange(200)), ("groups", np.arange(200) // 2)])
def test_windows_without_dates_are_cut_into_blocks_of_windows_or_groups(kind, units, tmp_path):
    """In another order than that of the file."""
    changed = {"dated": False, **({"groups": units} if kind == "groups" else {})}
    whole = prepared("volatility")
    windows = replace(whole.folds[0].validation.subset(np.arange(200)), **changed)
    dataset = replace(whole, folds=(replace(whole.folds[0], validation=windows),))
    write(tmp_path, dataset)
    found = read(tmp_path, dataset).overfitting
    assert (found.unit, found.n_units) == (kind, len(np.unique(units)))
    hits = np.column_stack([frame["hit"] for frame in frames_of(tmp_path).values()])
    sums = np.stack([np.bincount(units, weights=column) for column in hits.T], axis=1)
    in_order = probability_of_backtest_overfitting(sums, np.bincount(units).astype(float), unit=kind)
    assert found.in_sample == pytest.approx(in_order.in_sample, abs=0.05)
    assert found != in_order


def returns_by_hand(folder, dataset):
    """Each symbol's first window of a date, whichever fold held it out."""
    returns = np.concatenate([fold.validation.traded for fold in dataset.folds])
    found = {}
    for number, frame in frames_of(folder).items():
        once = frame.assign(traded=returns).drop_duplicates(["date", "symbol"]).sort_values(["date", "symbol"])
        rules = replace(RULES, horizon=dataset.horizon)
        market = Market.of(
            once["traded"].to_numpy(), once["date"].to_numpy(), once["symbol"].astype(str).to_numpy(), rules
        )
        up = once["up"].to_numpy()
        found[number] = market.strategy(up), market.excess(up).returns
    return found


@pytest.mark.parametrize(("chosen", "n_trials"), [(9, 10), (0, 10), (9, 40)])
def test_the_sharpe_ratio_of_the_chosen_trial_is_deflated_by_all(folder, dataset, chosen, n_trials):
    """Also by trials without predictions."""
    found = deflated(read(folder, dataset), chosen, n_trials=n_trials)
    if dataset.target != "direction":
        assert found is None
        return
    returns = returns_by_hand(folder, dataset)
    (own, excess), sharpes = returns[chosen], [sharpe(each.returns) for _, each in returns.values()]
    assert (found.trial_number, found.n_trials) == (chosen, n_trials)
    assert found.sharpe == pytest.approx(sharpe(own.returns))
    assert found.annual_sharpe == pytest.approx(own.annual_sharpe)
    assert (found.excess_sharpe, found.excess_annual_sharpe) == pytest.approx((excess.sharpe, excess.annual_sharpe))
    assert found.deflated == pytest.approx(deflated_sharpe(excess.returns, sharpes, n_trials))


def test_of_three_classes_the_most_probable_one_is_read(tmp_path):
    """The first class is not in the file: it is the rest."""
    dataset = prepared("direction", horizon=2, direction_classes=3)
    said = np.random.default_rng(0).integers(0, 3, len(labels_of(dataset)))
    store(tmp_path, 0, dataset, sure(said, 3, confidence=0.4))
    (fold,) = dataset.folds
    up, windows = (said == 2).astype(float), fold.validation
    market = Market.of(windows.traded, windows.dates, windows.symbols, RULES)
    by_hand = market.excess(up)
    found = deflated(read(tmp_path, dataset, {0}), 0, n_trials=1)
    assert (found.sharpe, found.exposure) == pytest.approx((market.strategy(up).sharpe, by_hand.exposure))
    assert found.deflated == pytest.approx(deflated_sharpe(by_hand.returns.returns, [by_hand.returns.sharpe], 1))
