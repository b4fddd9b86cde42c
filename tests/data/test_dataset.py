"""Whole datasets: counts, splits, scaling, warnings, the locked period."""

import json
from datetime import date

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from builders.errors import raises
from builders.frames import random_frame
from builders.questions import SCHEMES
from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.config.schema.retrain import EvaluationSettings
from cnn_lstm_hyperopt.data.dataset import Dataset, LockedPeriod, prepare_dataset
from cnn_lstm_hyperopt.data.features import FEATURE_NAMES
from cnn_lstm_hyperopt.data.labels import labeller
from cnn_lstm_hyperopt.data.sources.synthetic import SyntheticSource
from cnn_lstm_hyperopt.data.window_table import frame_windows
from cnn_lstm_hyperopt.errors import DataError


def write(folder, **frames):
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv")
    return folder


def of_folder(folder, **asked) -> Dataset:
    return prepare_dataset(DataSettings(data_dir=folder, **{"lookback": 5, **asked}))


def synthetic(*symbols, **asked) -> Dataset:
    return prepare_dataset(DataSettings(**{"symbols": symbols or ("SYN1",), "lookback": 10, **asked}))


def test_counts_dates_and_balance_of_the_embedded_five():
    symbols, span = ("AAPL", "IBM", "MSFT", "NVDA", "AMZN"), {"start": date(2000, 3, 1), "end": date(2013, 3, 1)}
    asked = DataSettings(source="embedded", symbols=symbols, **span, target="volatility", train_share=0.25)
    embedded = prepare_dataset(asked)
    splits = embedded.description["splits"]
    assert {name: [each["windows"], each["first"], each["last"]] for name, each in splits.items()} == {
        "train": [11115, "2000-07-12", "2009-05-14"],
        "validation": [2380, "2009-05-18", "2011-04-05"],
        "test": [2380, "2011-04-07", "2013-02-28"],
    }
    for each, windows in zip(splits.values(), (embedded.train, embedded.validation, embedded.test), strict=True):
        counts, shares = each["class_counts"], each["class_shares"]
        assert sum(counts) == each["windows"] == len(windows)
        assert shares == [count / sum(counts) for count in counts]
        assert 0.4 < shares[1] < 0.6
    assert embedded.description["class_names"] == list(embedded.class_names) == ["calm", "volatile"]
    assert embedded.description["windows"]["NVDA"] == {"train": 2223, "validation": 476, "test": 476, "purged": 2}
    assert len(embedded.warnings) == 1  # of survivorship
    batch = embedded.train.gather(torch.arange(5))
    assert (batch.shape, batch.dtype, embedded.feature_names) == ((5, 60, 11), torch.float32, FEATURE_NAMES)
    assert float(embedded.train.series.abs().max()) <= 10
    (fold,) = embedded.folds
    assert (fold.train, fold.validation) == (embedded.train, embedded.validation)
    assert (fold.value_mean, fold.value_std) == (embedded.value_mean, embedded.value_std)
    assert "folds" not in embedded.description


def test_holes_of_more_than_the_largest_gap_start_segments(tmp_path):
    write(tmp_path, A=random_frame(400, holes=(200,)))
    found = [of_folder(tmp_path, max_gap_days=days).description["symbols"]["A"]["segments"] for days in (10, 60)]
    assert found == [2, 1]


def test_purge_windows_of_each_symbol_go_at_each_cut(tmp_path):
    write(tmp_path, A=random_frame(400, 1), B=random_frame(400, 2))
    for horizon, purge in ((1, None), (5, None), (2, 9)):
        facts = of_folder(tmp_path, horizon=horizon, purge=purge).description
        assert [facts["windows"][name]["purged"] for name in ("A", "B")] == [2 * (purge or horizon)] * 2
        assert facts["purge"] == (purge or horizon)


def test_the_test_set_counts_its_evaluations_and_the_description_is_reproducible(tmp_path):
    write(tmp_path, A=random_frame(400))
    first, second = of_folder(tmp_path), of_folder(tmp_path)
    assert (len(first.test) > 0, first.test.times_opened) == (True, 0)
    assert len(first.test.open()) == len(first.test.open()) == len(first.test)
    assert first.test.times_opened == 2
    assert json.loads(json.dumps(first.description, allow_nan=False)) == first.description == second.description
    keys = {"first", "last", "bars", "segments", "sha256", "adjustment", "problems"}
    assert set(first.description["symbols"]["A"]) == keys


def test_symbols_without_windows_of_a_split_are_named_in_one_warning_each_and_direction_is_warned_of(tmp_path):
    write(
        tmp_path,
        ALL=random_frame(400),
        OLD=random_frame(100),
        NEW=random_frame(70, start="2011-05-02"),
        TINY=random_frame(20),
    )
    data = of_folder(tmp_path, lookback=10)
    *parts, direction = data.warnings[-4:]
    without = {"training": ["NEW", "TINY"], "validation": ["NEW", "OLD", "TINY"], "test": ["OLD", "TINY"]}
    for line, (part, symbols), cut in zip(parts, without.items(), (0, 0, 1), strict=True):
        assert f"{len(symbols)} symbols without {part} windows" in line
        assert [name for name in ("ALL", "NEW", "OLD", "TINY") if f"{name} (" in line] == symbols
        assert list(data.description["cuts"].values())[cut] in line
    assert "NEW (70 bars, 2011-05-02 to 2011-08-05)" in parts[0]
    assert "44 bars" in parts[0]
    assert "--target volatility" in direction
    assert data.description["warnings"] == list(data.warnings)
    assert synthetic().warnings == ()


THREE = {"direction_classes": 3, "lookback": 5}


@pytest.mark.parametrize(
    ("bars", "change", "asked", "field", "code"),  # the prices of a slice are 50, or another factor
    [
        (93, (0, 0, 1), {"lookback": 60}, "data.lookback", "too-few-bars"),
        (94, (0, 0, 1), {"lookback": 60}, "data.split", "too-few-dates"),
        (95, (0, 0, 1), {"lookback": 60, "target": "volatility", "horizon": 3}, "data.lookback", "too-few-bars"),
        (96, (0, 0, 1), {"lookback": 60, "target": "volatility", "horizon": 3}, "data.split", "too-few-dates"),
        (60, (0, 0, 1), {"lookback": 2, "target": "volatility"}, "data.lookback", "too-few-bars"),
        (61, (0, 0, 1), {"lookback": 2, "target": "volatility"}, "data.split", "too-few-dates"),
        (200, (0, 200, 0), {"target": "volatility"}, "data.target", "one-class"),
        (300, (100, 300, 1.5), {**THREE, "dead_zone_atr": 1.6}, "data.target", "class-not-in-training"),
        (300, (100, 300, 1.5), {**THREE, "dead_zone_atr": 50}, "data.target", "one-class"),
        (700, (0, 450, 0), {"target": "volatility", "cv_folds": 3}, "data.target", "one-class"),  # in the first fold
        (400, (0, 0, 1), {"cv_folds": 12}, "data.cv_folds", "too-many-folds"),
    ],
)
def test_bars_that_do_not_suffice(tmp_path, bars, change, asked, field, code):
    frame, (first, stop, factor) = random_frame(bars), change
    prices = frame.iloc[first:stop, :4]
    frame.iloc[first:stop, :4] = prices * factor if factor else 50.0
    with raises(DataError, code, field) as text:
        of_folder(write(tmp_path, A=frame), **asked)
    assert "\n" not in text[0]


@pytest.mark.parametrize(
    ("asked", "names", "extra"),
    [
        ({"direction_classes": 3}, ["down", "flat", "up"], {"dead_zone_atr": 0.25}),
        ({"target": "triple_barrier"}, ["lower barrier", "neither", "upper barrier"], {"barriers_atr": [2.0, 2.0]}),
    ],
)
def test_three_classes_reach_the_windows_and_the_description(tmp_path, asked, names, extra):
    data = of_folder(write(tmp_path, A=random_frame(500)), horizon=5, **asked)
    expected = {"class_names": names, "value_name": data.value_name, "best_attainable_accuracy": None, **extra}
    assert {name: data.description[name] for name in expected} == expected
    assert (data.n_classes, set(data.train.labels.tolist())) == (3, {0, 1, 2})
    assert data.description["splits"]["train"]["class_counts"] == list(data.train.class_counts(3))


def test_training_ends_with_each_windows_own_label_and_validation_with_the_longest(tmp_path):
    """Many labels of horizon 10 end after one or two bars: training windows near the cut stay if their label ends before it."""
    asked = {"horizon": 10, "target": "triple_barrier", "barriers_atr": (1.5, 1.5)}
    data = of_folder(write(tmp_path, A=random_frame(600)), **asked)
    frame = pd.read_csv(tmp_path / "A.csv", index_col="date", parse_dates=True)
    labels = labeller(DataSettings(**asked)).label(frame)
    known = dict(zip(frame.index, frame.index[np.arange(600) + labels.reach], strict=True))
    cuts = [pd.Timestamp(data.description["cuts"][name]) for name in ("validation", "test")]
    expected = sum(day < cuts[0] <= known[day] for day in frame.index[37:590]) + 10
    assert 10 < expected < 20
    assert pd.Timestamp(data.validation.dates[-1]) == frame.index[frame.index.get_loc(cuts[1]) - 11]
    assert data.description["purge"] == {"train": "as far as each label looks", "validation": 10}
    assert data.description["windows"]["A"]["purged"] == expected
    assert of_folder(tmp_path, **asked, purge=10).description["windows"]["A"]["purged"] == 20


@pytest.mark.parametrize("scheme", [{}, {"cv_folds": 3}, {"cv_scheme": "combinatorial", "cv_folds": 4}], ids=str)
@settings(max_examples=8)
@given(bars=st.integers(1, 8), factor=st.sampled_from([0.8, 0.9, 1.1, 1.2]))
def test_who_is_judged_does_not_depend_on_prices_after_the_decision(tmp_path_factory, scheme, bars, factor):
    """A jump shortly before the test period ends many labels earlier than they did, and others later."""
    folder = tmp_path_factory.mktemp("bars")
    asked = {"horizon": 8, "target": "triple_barrier", "barriers_atr": (2.0, 2.0), **scheme}
    frame, found = random_frame(400), []
    for _ in range(2):
        data = of_folder(write(folder, A=frame), **asked)
        test_begins = frame.index.get_loc(pd.Timestamp(data.description["cuts"]["test"]))
        frame.iloc[test_begins - bars :, :4] *= factor
        judged = [data.validation, data.test.open(), *(fold.validation for fold in data.folds)]
        found.append([windows.dates.tolist() for windows in judged])
    assert found[0] == found[1]


@pytest.fixture(scope="module", params=SCHEMES)
def folded(request) -> Dataset:
    return synthetic("SYN1", "SYN2", horizon=2, train_share=0.5, **SCHEMES[request.param])


def test_folds_change_nothing_of_what_finalists_train_on(folded):
    plain = synthetic("SYN1", "SYN2", horizon=2, train_share=0.5)
    assert folded.scaler == plain.scaler
    for name in ("train", "validation"):
        mine, other = getattr(folded, name), getattr(plain, name)
        assert torch.equal(mine.series, other.series)
        assert torch.equal(mine.starts, other.starts)


def test_each_fold_and_the_final_models_are_scaled_by_their_own_training_rows(folded):
    """Against scikit-learn on the features of each symbol's bars alone."""
    unscaled, rows_of = {}, {}
    for each in SyntheticSource(0).load(("SYN1", "SYN2"), None, None)[0]:
        features, ends, dates = frame_windows(each.frame, 10, 10)
        unscaled[each.symbol] = features
        for end, day in zip(ends, dates.tolist(), strict=True):
            rows_of[each.symbol, day] = np.arange(end - 9, end + 1)

    def keys(windows):
        return list(zip(windows.symbols.tolist(), windows.dates.tolist(), strict=True))

    def scaler_of(train):
        read = {(symbol, row) for symbol, day in keys(train) for row in rows_of[symbol, day].tolist()}
        return StandardScaler().fit(np.array([unscaled[symbol][row] for symbol, row in read]))

    whole = scaler_of(folded.train)
    np.testing.assert_allclose(folded.scaler.mean, whole.mean_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(folded.scaler.std, whole.scale_, rtol=1e-9)
    for train, *judged in [(fold.train, fold.validation) for fold in folded.folds] + [
        (folded.train, folded.validation, folded.test.open())
    ]:
        expected = scaler_of(train)
        for windows in (train, *judged):
            for number, (symbol, day) in list(enumerate(keys(windows)))[::97]:
                scaled = np.clip(expected.transform(unscaled[symbol][rows_of[symbol, day]]), -10, 10)
                np.testing.assert_allclose(windows.gather(torch.tensor([number]))[0].numpy(), scaled, atol=2e-6)
    for fold in folded.folds:
        values = fold.train.values.double()
        assert fold.value_mean == pytest.approx(float(values.mean()), abs=1e-6)
        assert fold.value_std == pytest.approx(float(values.std(correction=0)), rel=1e-5)


def test_the_last_expanding_fold_is_training_and_validation_and_no_series_is_copied():
    data = synthetic(cv_folds=3)
    assert (data.folds[-1].train, data.folds[-1].validation) == (data.train, data.validation)
    for seen, fold in zip(data.for_trials().folds[:-1], data.folds[:-1], strict=True):
        assert seen.train.series is seen.validation.series is fold.train.series
    last = data.for_trials().folds[-1].train  # the finalists' series has the rows of the test period, too
    assert len(last.series) < len(data.train.series)


def test_trials_get_a_share_of_each_folds_training_windows_and_only_the_rows_of_its_windows(folded):
    trials = folded.for_trials()
    assert (trials.n_classes, trials.has_regression) == (folded.n_classes, folded.has_regression)
    assert not any(isinstance(value, LockedPeriod) for value in vars(trials).values())
    assert len(folded.search_train) == round(0.5 * len(folded.train))
    for seen, fold in zip(trials.folds, folded.folds, strict=True):
        assert len(seen.train) == round(0.5 * len(fold.train))
        assert torch.equal(seen.validation.labels, fold.validation.labels)
        every = torch.arange(len(fold.validation))
        assert torch.equal(seen.validation.gather(every), fold.validation.gather(every))
        assert (seen.value_mean, seen.value_std) == (fold.value_mean, fold.value_std)
        assert seen.train.series is seen.validation.series
        starts = torch.cat([seen.train.starts, seen.validation.starts])
        assert (starts[:, None] + torch.arange(10)).unique().tolist() == list(range(len(seen.train.series)))


def test_the_description_tells_each_folds_dates_and_counts(folded):
    facts = folded.description
    for shown, fold in zip(facts["folds"], folded.folds, strict=True):
        train, validation, blocks = shown["train"], shown["validation"], shown["validation"]["blocks"]
        assert (train["windows"], train["first"]) == (len(fold.train), str(fold.train.dates.min())[:10])
        assert validation["windows"] == len(fold.validation)
        assert blocks[0]["first"] == str(fold.validation.dates.min())[:10]
        assert blocks[-1]["last"] == str(fold.validation.dates.max())[:10]
        assert len(blocks) == (2 if facts["cv_scheme"] == "combinatorial" else 1)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_other_settings_or_another_seed_are_another_dataset():
    asked = ({}, {"horizon": 2}, {"synthetic_seed": 1}, *SCHEMES.values())
    assert len({synthetic(**each).description["sha256"] for each in asked}) == len(asked)
    assert synthetic(synthetic_seed=0).description["sha256"] == synthetic().description["sha256"]


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ({"embargo": 5, "cv_folds": 3}, "data.embargo=5"),
        ({"embargo": 5}, "data.embargo=5"),
        ({"target": "volatility", "lookback": 59}, "data.lookback=59"),
        ({"target": "volatility", "lookback": 60}, ""),
        ({"target": "volatility", "lookback": 60, "horizon": 3}, "data.lookback: 62"),
        ({"cv_scheme": "combinatorial", "cv_folds": 4, "embargo": 3}, "data.embargo: 10"),
        ({"cv_folds": 5, "split": (0.6, 0.1, 0.3)}, ""),
        ({"cv_folds": 5, "split": (0.58, 0.12, 0.3)}, "data.cv_folds"),
    ],
)
def test_settings_without_effect_few_windows_and_short_windows_are_warned_of(asked, part):
    warnings = synthetic(**asked).warnings
    assert len(warnings) == bool(part)
    assert all(part in each for each in warnings)


def test_the_first_period_is_the_split_and_the_second_is_scaled_by_its_own_training_rows():
    asked = DataSettings(symbols=("SYN1", "SYN2"), lookback=10, target="volatility")
    dataset, plain = prepare_dataset(asked, evaluation=EvaluationSettings(test_periods=2)), prepare_dataset(asked)
    assert (dataset.description, plain.period(1)) == (plain.description, plain)
    first, second = dataset.period(1), dataset.period(2)
    assert (first.scaler, first.value_mean, first.value_std) == (plain.scaler, plain.value_mean, plain.value_std)
    for mine, other in ((first.train, plain.train), (first.validation, plain.validation)):
        everything = torch.arange(len(other))
        assert torch.equal(mine.gather(everything), other.gather(everything))
    tested, whole = [each.test.open() for each in (first, second)], dataset.test.open()
    for number, windows in enumerate(tested, start=1):
        there = dataset.periods.positions(number)
        assert windows.dates.tolist() == whole.dates[there].tolist()
        assert windows.symbols.tolist() == whole.symbols[there].tolist()
    stale = dataset.period(2, scaled_as=1).test.open()
    same = whole.subset(dataset.periods.positions(2))
    assert torch.equal(stale.gather(torch.arange(len(stale))), same.gather(torch.arange(len(same))))
    values = second.train.values.numpy().astype(float)
    assert (second.value_mean, second.value_std) == pytest.approx((values.mean(), values.std()), rel=1e-5)
    assert len(second.train) > len(first.train)
