"""Groups of features: equal to their formulas, causal, scale-free and finite; the market counts the symbols of a date."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.frames import random_frame
from builders.loaders import loader, parts
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.bars import normalise_bars
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.feature_groups import FEATURE_GROUPS, columns_of, own_groups
from cnn_lstm_hyperopt.data.features import FEATURE_NAMES, WARM_UP
from cnn_lstm_hyperopt.data.labels import labeller, log_ranges
from cnn_lstm_hyperopt.data.lookahead.causality import check_recomputed
from cnn_lstm_hyperopt.data.market_features import market_features
from cnn_lstm_hyperopt.data.own_features import FeatureSet, feature_set
from cnn_lstm_hyperopt.data.window_table import bars_needed
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.models.inputs import GROUPS

RELATIVE = FeatureSet(groups=("relative_ranges", "volume_ratios"))
BARS, PRICES = 130, ["open", "high", "low", "close"]


def groups_at(frame):
    """The six features of ranges and volumes."""
    return RELATIVE.compute(frame)[:, len(FEATURE_NAMES) :]


def test_a_group_has_a_flag_and_its_features_follow_the_eleven_others():
    assert tuple(FEATURE_GROUPS) == GROUPS
    every = FeatureSet(groups=GROUPS)
    assert [every.names[place] for places in every.group_columns.values() for place in places] == list(every.names[11:])
    assert columns_of(("volume_ratios",)) == {"volume_ratios": (11, 12, 13)}


def test_each_feature_is_its_formula_and_the_first_bars_have_shorter_spans():
    frame = random_frame(BARS)
    frame.iloc[70:75, :4] = 50.0  # no range
    frame.iloc[80:85, 4] = 0.0
    ranges = np.maximum(np.log(frame["high"] / frame["low"]), 1e-5).to_numpy()
    volume, found = frame["volume"].to_numpy(), groups_at(frame)
    for t in range(BARS):
        r = {span: np.median(ranges[max(0, t + 1 - span) : t + 1]) for span in (1, 5, 22, 60)}
        v = {span: np.median(volume[max(0, t + 1 - span) : t + 1]) for span in (1, 5, 22, 60)}
        expected = [np.log(r[span] / r[60]) for span in (1, 5, 22)]
        expected += [np.log((v[span] + v[60]) / (2 * v[60])) for span in (1, 5, 22)]
        np.testing.assert_allclose(found[t], expected, atol=1e-9)


@pytest.mark.parametrize("traded", [0, 1, 40, 61])
def test_features_stay_finite_without_range_and_with_rare_volume(traded):
    frame = random_frame(BARS)
    frame[PRICES], frame.iloc[traded:, 4] = 7.0, 0.0
    found = groups_at(frame)
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 5
    np.testing.assert_array_equal(found[:, :3], 0)


def test_the_last_range_ratio_of_a_window_is_the_range_against_the_boundary_of_the_label():
    """The window of 60 bars has exactly the bars of the boundary, and no bar more or less is in the median."""
    frame = random_frame(200)
    labels = labeller(DataSettings(target="volatility")).label(frame)
    boundary = log_ranges(frame) - groups_at(frame)[:, 0]
    valid = np.flatnonzero(labels.valid)
    np.testing.assert_array_equal(labels.values[valid] > boundary[valid], labels.classes[valid] == 1)
    start = valid[0] - DataSettings().lookback + 1  # the label's first bar is the first bar of the first window
    assert start == 0
    np.testing.assert_allclose(boundary[valid[0]], np.log(np.median(np.exp(log_ranges(frame)[start : valid[0] + 1]))))


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), t=st.integers(0, BARS - 2), price=st.floats(1e-3, 1e3), volume=st.floats(1e-6, 1e6))
def test_features_use_no_later_bars_and_no_scale(seed, t, price, volume):
    frame = random_frame(BARS, seed)
    changed = frame.copy()
    changed.iloc[t + 1 :] *= np.random.default_rng(seed).uniform(0.5, 2, (BARS - t - 1, 1))
    np.testing.assert_array_equal(groups_at(changed)[: t + 1], groups_at(frame)[: t + 1])
    changed = frame.assign(volume=frame["volume"] * volume)
    changed[PRICES] *= price
    np.testing.assert_allclose(groups_at(changed), groups_at(frame), rtol=1e-7, atol=1e-9)


def market_of(**frames):
    return market_features(frames, 10.0)


def three_calendars(seed=0):
    """Three symbols: one begins later, one lacks every third date and has a long hole."""
    whole = random_frame(BARS, seed)
    rare = random_frame(BARS, seed + 2)
    kept = (np.arange(BARS) % 3 != 0) & ((np.arange(BARS) < 50) | (np.arange(BARS) > 70))
    return {"A": whole, "B": random_frame(BARS, seed + 1).iloc[40:], "C": rare[kept]}


def test_the_market_is_the_mean_and_the_rank_among_the_symbols_with_a_bar_of_the_date():
    frames = three_calendars()
    frames["D"] = frames["A"].copy()  # equal values share a rank
    returns = pd.DataFrame({symbol: np.log(frame["close"]).diff() for symbol, frame in frames.items()})
    ratios = pd.DataFrame({symbol: pd.Series(groups_at(frame)[:, 0], frame.index) for symbol, frame in frames.items()})
    hole = frames["C"].index[np.flatnonzero(np.diff(frames["C"].index.day_of_year) > 20)[0] + 1]
    returns.loc[hole, "C"] = np.nan
    ratios.loc[hole:, "C"] = pd.Series(groups_at(frames["C"].loc[hole:])[:, 0], frames["C"].loc[hole:].index)
    for symbol, found in market_of(**frames).items():
        for column, table in enumerate((returns, ratios)):
            count = table.notna().sum(axis=1)
            rank = 2 * (table.rank(axis=1)[symbol] - 1) / (count - 1) - 1
            expected = pd.DataFrame({"mean": table.mean(axis=1), "rank": rank.where(count > 1)}).fillna(0.0)
            np.testing.assert_allclose(
                found[:, [column, 2 + column]], expected.loc[frames[symbol].index], rtol=1e-9, atol=1e-12
            )


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), t=st.integers(0, BARS - 2), changed=st.sampled_from("ABC"))
def test_the_market_of_a_date_depends_on_no_later_bar_of_any_symbol(seed, t, changed):
    frames = three_calendars(seed)
    date = frames["A"].index[t]
    other = dict(frames)
    later = other[changed].index > date
    other[changed] = other[changed].mul(np.where(later, 1.7, 1.0), axis=0)
    other["B" if changed == "A" else "A"] = frames["B" if changed == "A" else "A"].loc[:date]
    before, after = market_of(**frames), market_of(**other)
    for symbol, frame in frames.items():
        count = int((frame.index <= date).sum())
        np.testing.assert_array_equal(after[symbol][:count], before[symbol][:count])


def loaded(**frames):
    tables = {symbol: frame.rename_axis("date").reset_index() for symbol, frame in frames.items()}
    return [normalise_bars(symbol, table, symbol) for symbol, table in tables.items()]


def test_bars_of_one_symbol_or_of_several_frequencies_have_no_market():
    daily, hourly = random_frame(400, step="D"), random_frame(400, step="h")
    names = [
        feature_set(DataSettings(), loaded(**frames), GROUPS).groups
        for frames in ({"A": daily}, {"A": daily, "B": hourly})
    ]
    assert names == [GROUPS[:2], GROUPS[:2]]
    assert feature_set(DataSettings(), loaded(A=daily, B=daily), ("market",)).groups == ("market",)


def test_a_dataset_with_groups_has_the_same_windows_and_hash_and_more_channels():
    bars = loaded(**{name: random_frame(300, seed) for seed, name in enumerate("AB")})
    settings_ = DataSettings(source="files", data_dir=".", lookback=20, feature_columns=(), target="volatility")
    plain, full = (prepare_dataset(settings_, (bars, []), groups=groups) for groups in ((), GROUPS))
    assert full.description["sha256"] == plain.description["sha256"]
    assert full.train.input_dim == 11 + 3 + 3 + 4
    assert full.for_trials().columns == columns_of(GROUPS)
    assert full.train.series[:, :11].equal(plain.train.series)
    assert full.train.starts.equal(plain.train.starts)
    assert full.train.series.isfinite().all()


def test_groups_need_no_more_bars_than_the_eleven_features():
    settings_ = DataSettings(source="files", data_dir=".", lookback=30, target="volatility")
    assert bars_needed(settings_) == max(WARM_UP + 30, 60) + 1
    with pytest.raises(DataError) as caught:
        prepare_dataset(settings_, (loaded(A=random_frame(bars_needed(settings_) - 1)), []), groups=GROUPS)
    assert (caught.value.code, caught.value.field) == ("too-few-bars", "data.lookback")


def test_a_market_that_looks_ahead_is_found():
    frames = three_calendars()

    def ahead(frame, symbol):
        return (
            market_features({"A": frame, "B": frames["A"].shift(-1).dropna()}, 10.0)["A"][:, :1]
            + frame[["close"]].shift(-1).to_numpy()
        )

    with pytest.raises(DataError) as caught:
        check_recomputed(ahead, frames["A"], ("market_return",), "A")
    assert caught.value.code == "looks-ahead"


def test_each_column_and_the_function_are_groups_with_names_of_parameters():
    found = own_groups(["vix (close)", "vix_close_", "a.b"], "mine:more", 14, 19)
    assert found == {"own.vix_close_": (14,), "own.vix_close__2": (15,), "own.a_b": (16,), "own.mine_more": (17, 18)}


def test_the_users_inputs_are_groups_only_if_inputs_are_selected():
    frame = random_frame(300).assign(mood=np.random.default_rng(0).standard_normal(300))
    data = DataSettings(source="files", data_dir=".", lookback=20, feature_columns=("mood",), target="volatility")
    bars = normalise_bars("A", frame.rename_axis("date").reset_index(), "A", columns=("mood",))
    plain = prepare_dataset(data, ([bars], []), groups=("relative_ranges",))
    assert plain.for_trials().columns == columns_of(("relative_ranges",))
    selected = plain.with_own_groups()
    assert selected.for_trials().columns == {**columns_of(("relative_ranges",)), "own.mood": (14,)}
    assert selected.description["own_groups"] == {"own.mood": [14]}


def test_each_feature_of_loaders_is_a_group_unless_it_is_the_only_one():
    several, single = (
        dataset_from_loaders([loader(parts(40, seed)) for seed in range(3)], None),
        dataset_from_loaders(
            [loader((x[..., :1], *rest)) for x, *rest in (parts(40, seed) for seed in range(3))], None
        ),
    )
    assert list(several.with_own_groups().columns) == [f"own.feature_{k}" for k in range(several.train.input_dim)]
    assert single.with_own_groups().columns == {}
