"""What choosing the best of many trials does, from the files that trials leave behind: by pandas, and by hand."""

import math
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from builders.finalists import sure
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.evaluation import (
    deflated_sharpe,
    probability_of_backtest_overfitting,
    sharpe,
    strategy_returns,
)
from cnn_lstm_hyperopt.evaluation.selection_bias import deflated, read_trials
from cnn_lstm_hyperopt.execution.validation_files import write_validation
from cnn_lstm_hyperopt.training import Predictions

COST = 10.0


def prepared(target: str, **changed) -> Dataset:
    return prepare_dataset(
        DataSettings(
            source="embedded",
            symbols=("AAPL", "IBM"),
            target=target,
            start=date(2004, 1, 3),
            end=date(2008, 12, 31),
            lookback=10,
            **changed,
        )
    )


@pytest.fixture(
    scope="module", params=["volatility", "direction, 2 bars", "direction, 3 folds", "direction, 6 of 4 blocks"]
)
def dataset(request) -> Dataset:
    """One fold or several; in combinatorial ones each window is held out three times."""
    return {
        "volatility": lambda: prepared("volatility"),
        "direction, 2 bars": lambda: prepared("direction", horizon=2),
        "direction, 3 folds": lambda: prepared("direction", cv_folds=3),
        "direction, 6 of 4 blocks": lambda: prepared("direction", cv_scheme="combinatorial", cv_folds=4),
    }[request.param]()


def labels_of(dataset: Dataset):
    return np.concatenate([fold.validation.labels.numpy() for fold in dataset.folds])


def write(folder, dataset, shares, *, first=0):
    """A file for each trial that is right in about so many windows; trials are numbered by threes."""
    labels = labels_of(dataset)
    for place, share in enumerate(shares):
        rng = np.random.default_rng(place)
        said = np.where(rng.random(len(labels)) < share, labels, 1 - labels)
        confidence = rng.uniform(0.51, 0.99)
        probabilities = sure(said, confidence=confidence).astype(np.float32)
        write_validation(folder, first + 3 * place, dataset.folds, Predictions(probabilities, None))
    return [first + 3 * place for place in range(len(shares))]


SHARES = (0.5, 0.52, 0.47, 0.55, 0.5, 0.51, 0.53, 0.48, 0.5, 0.49)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, dataset):
    folder = tmp_path_factory.mktemp("trials") / "validation"
    write(folder, dataset, SHARES)
    return folder


NUMBERS = tuple(range(0, 30, 3))


def read(folder, dataset, numbers=NUMBERS, metric="accuracy", cost_bps=COST):
    return read_trials(folder, numbers, dataset, metric=metric, cost_bps=cost_bps)


@pytest.fixture
def series(folder, dataset):
    return read(folder, dataset)


def frames_of(folder):
    """What each file says, read by pandas."""
    found = {}
    for path in sorted(folder.iterdir()):
        frame = pd.read_parquet(path)
        frame["hit"] = ((frame["probability_1"] > 0.5) == (frame["label"] == 1)).astype(float)
        frame["up"] = (frame["probability_1"] > 0.5).astype(float)
        found[int(path.stem[-5:])] = frame
    return found


# ---------------------------------------------------------------------- reading


def test_of_three_classes_the_most_probable_one_is_read(tmp_path):
    """The first class is not in the file: it is what is left to 1."""
    dataset = prepared("direction", horizon=2, direction_classes=3)
    labels = labels_of(dataset)
    said = np.random.default_rng(0).integers(0, 3, len(labels))
    write_validation(tmp_path, 0, dataset.folds, Predictions(sure(said, 3, confidence=0.4).astype(np.float32), None))
    series = read(tmp_path, dataset, {0})
    (fold,) = dataset.folds
    up, windows = (said == 2).astype(float), fold.validation  # neither down nor flat is bought
    by_hand = strategy_returns(up, windows.values.numpy(), windows.dates, windows.symbols, horizon=2, cost_bps=COST)
    found = deflated(series, 0, n_trials=1)
    assert found.sharpe == pytest.approx(by_hand.sharpe)
    assert found.deflated == pytest.approx(deflated_sharpe(by_hand.returns, [by_hand.sharpe], 1))


def test_trials_that_are_not_asked_for_are_left_out(folder, dataset):
    assert read(folder, dataset, {3, 12}).numbers == (3, 12)


def test_there_is_nothing_without_the_folder_or_without_trials_in_it(folder, dataset, tmp_path):
    assert read(tmp_path / "validation", dataset) is None
    assert read(folder, dataset, {1, 2}) is None
    assert read(folder, dataset, set()) is None


def test_files_that_are_missing_damaged_or_of_other_windows_are_named_and_cost_nothing(dataset, tmp_path):
    write(tmp_path, dataset, SHARES)
    whole = read(tmp_path, dataset, {0, 9})
    (tmp_path / "trial_00003.parquet").write_bytes(b"half a file")
    pd.read_parquet(tmp_path / "trial_00006.parquet").iloc[1:].to_parquet(tmp_path / "trial_00006.parquet")
    for number in NUMBERS[4:]:
        (tmp_path / f"trial_{number:05d}.parquet").unlink()
    found = read(tmp_path, dataset)
    assert found.numbers == (0, 9)
    assert found.missing == (3, 6, *NUMBERS[4:])
    assert found.overfitting == whole.overfitting


# ---------------------------------------------------------------------- overfitting


def test_overfitting_is_that_of_hits_by_date_over_all_windows(folder, series, dataset):
    """A date has as many windows as there are symbols, times the folds that hold it out."""
    by_date = [frame.groupby("date")["hit"] for frame in frames_of(folder).values()]
    sums = np.column_stack([each.sum().to_numpy() for each in by_date])
    counts = by_date[0].count().to_numpy().astype(float)
    by_hand = probability_of_backtest_overfitting(sums, counts)
    found = series.overfitting
    assert series.of == "accuracy"
    assert found == by_hand
    assert found.probability is not None
    assert found.n_trials == 10
    assert (found.unit, found.n_units) == ("dates", len(counts))


def test_of_a_study_of_the_log_loss_log_probabilities_are_summed(folder, dataset):
    sums = []
    for frame in frames_of(folder).values():
        happened = np.where(frame["label"] == 1, frame["probability_1"], 1 - frame["probability_1"])
        sums.append(frame.assign(reading=np.log(happened)).groupby("date")["reading"].sum().to_numpy())
    counts = frame.groupby("date")["label"].count().to_numpy().astype(float)
    by_hand = probability_of_backtest_overfitting(np.column_stack(sums), counts)
    found = read(folder, dataset, metric="log_loss")
    assert found.of == "log probability"
    assert found.overfitting.probability == pytest.approx(by_hand.probability)
    assert found.overfitting.in_sample == pytest.approx(by_hand.in_sample, rel=1e-5)


def test_one_that_is_truly_better_is_no_luck(dataset, tmp_path):
    write(tmp_path, dataset, (0.5, 0.5, 0.9, *[0.5] * 7))
    better = read(tmp_path, dataset)
    assert better.overfitting.probability == 0
    assert better.overfitting.in_sample == pytest.approx(better.overfitting.out_of_sample, abs=0.02)


def test_of_a_single_trial_nothing_is_known(dataset, tmp_path):
    write(tmp_path, dataset, (0.6,))
    alone = read(tmp_path, dataset, {0}).overfitting
    assert alone.probability is None
    assert alone.reason == "too few trials: 1, and at least 10 are needed"


@pytest.mark.parametrize(
    ("kind", "changed"), [("windows", {"dated": False}), ("groups", {"dated": False, "groups": np.arange(200) // 2})]
)
def test_windows_without_dates_are_cut_into_blocks_of_windows_or_groups(kind, changed, tmp_path):
    """All windows and each group once, in another order than that of the file."""
    fold = prepared("volatility").folds[0]
    windows = replace(fold.validation.subset(np.arange(200)), **changed)
    dataset = replace(prepared("volatility"), folds=(replace(fold, validation=windows),))
    write(tmp_path, dataset, SHARES)
    found = read(tmp_path, dataset).overfitting
    units = changed.get("groups", np.arange(200))
    assert (found.unit, found.n_units) == (kind, len(np.unique(units)))
    hits = np.column_stack([frame["hit"] for frame in frames_of(tmp_path).values()])
    sums = np.stack([np.bincount(units, weights=column) for column in hits.T], axis=1)
    in_order = probability_of_backtest_overfitting(sums, np.bincount(units).astype(float), unit=kind)
    assert found.in_sample == pytest.approx(in_order.in_sample, abs=0.05)
    assert found != in_order


# ---------------------------------------------------------------------- deflated Sharpe ratio


def returns_by_hand(folder, dataset):
    """Of each trial: each symbol's first window of a date, whichever fold held it out."""
    values = np.concatenate([fold.validation.values.numpy() for fold in dataset.folds])
    found = {}
    for number, frame in frames_of(folder).items():
        once = frame.assign(value=values).drop_duplicates(["date", "symbol"]).sort_values(["date", "symbol"])
        found[number] = strategy_returns(
            once["up"].to_numpy(),
            once["value"].to_numpy(),
            once["date"].to_numpy(),
            once["symbol"].astype(str).to_numpy(),
            horizon=dataset.horizon,
            cost_bps=COST,
        )
    return found


@pytest.mark.parametrize(("chosen", "n_trials"), [(9, 10), (0, 10), (9, 40)])
def test_the_sharpe_ratio_of_the_chosen_trial_is_deflated_by_all(folder, series, dataset, chosen, n_trials):
    """Also by those that left no predictions: all of them were tried."""
    found = deflated(series, chosen, n_trials=n_trials)
    if dataset.target != "direction":
        assert found is None
        return
    returns = returns_by_hand(folder, dataset)
    own = returns[chosen]
    sharpes = [sharpe(each.returns) for each in returns.values()]
    assert (found.trial_number, found.n_trials) == (chosen, n_trials)
    assert found.sharpe == pytest.approx(sharpe(own.returns))
    assert found.annual_sharpe == pytest.approx(own.annual_sharpe)
    assert found.deflated == pytest.approx(deflated_sharpe(own.returns, sharpes, n_trials))
    assert 0 <= found.deflated <= 1


def test_more_trials_make_it_stricter(series, dataset):
    few, many = (deflated(series, 9, n_trials=count) for count in (5, 500))
    if dataset.target == "direction":
        assert many.deflated < few.deflated
        assert many.sharpe == few.sharpe


@pytest.mark.parametrize("chosen", [None, 4])
def test_without_a_chosen_trial_or_without_its_predictions_there_is_no_strategy(series, chosen):
    assert deflated(series, chosen, n_trials=5) is None


def test_a_trial_that_never_says_up_has_no_sharpe_ratio_and_the_others_have(tmp_path):
    """Constant returns of zero."""
    dataset = prepared("direction")
    write(tmp_path, dataset, SHARES)
    labels = labels_of(dataset)
    never = Predictions(sure(np.zeros(len(labels), np.int64)).astype(np.float32), None)
    write_validation(tmp_path, 99, dataset.folds, never)
    series = read(tmp_path, dataset, (*NUMBERS, 99))
    flat = deflated(series, 99, n_trials=6)
    assert (flat.sharpe, flat.annual_sharpe, flat.deflated) == (None, None, None)
    other = deflated(series, 0, n_trials=6)
    assert math.isfinite(other.deflated)


def test_dearer_trades_make_the_ratio_smaller(folder, dataset):
    cheap, dear = (deflated(read(folder, dataset, cost_bps=cost), 9, n_trials=5) for cost in (0.0, 100.0))
    if dataset.target == "direction":
        assert dear.sharpe < cheap.sharpe
