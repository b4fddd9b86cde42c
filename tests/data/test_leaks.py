"""Leaks: the data of training and trials must not depend on later bars or on another symbol.

Each check runs twice: on the package, where it passes, and on a package with a leak built in (``LEAKS``), where it must fail.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.data import dataset as dataset_module
from cnn_lstm_hyperopt.data import window_table as table_module
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.data.labels import labeller
from cnn_lstm_hyperopt.data.own_features import BUILT_IN
from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.data.shared_arrays import save_trial_data
from cnn_lstm_hyperopt.data.splits import WindowDates
from cnn_lstm_hyperopt.data.windows import Windows

LOOKBACK = 8
BARS = 420

TARGETS: dict[str, dict[str, Any]] = {
    "direction": {"target": "direction"},
    "direction with a dead zone": {"target": "direction", "direction_classes": 3},
    "volatility": {"target": "volatility"},
    "triple barrier": {"target": "triple_barrier", "barriers_atr": (1.5, 1.5)},
}
SCHEMES: dict[str, dict[str, Any]] = {
    "one fold": {},
    "expanding": {"cv_scheme": "expanding", "cv_folds": 3},
    "rolling": {"cv_scheme": "rolling", "cv_folds": 3},
    "combinatorial": {"cv_scheme": "combinatorial", "cv_folds": 4, "cv_test_blocks": 2, "embargo": 3},
}
Make = Callable[..., Dataset]
Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def frames(make_frame) -> dict[str, pd.DataFrame]:
    return {name: make_frame(BARS, seed) for name, seed in (("A", 1), ("B", 2))}


@pytest.fixture
def make(tmp_path: Path, frames) -> Make:
    """``make(change, horizon=5, …)``: the dataset of both symbols' bars, changed so."""

    def prepare(change: Change = lambda frame: frame, **asked: Any) -> Dataset:
        for name, frame in frames.items():
            change(frame.copy()).to_csv(tmp_path / f"{name}.csv")
        return prepare_dataset(DataSettings(data_dir=tmp_path, lookback=LOOKBACK, **asked))

    return prepare


# ---------------------------------------------------------------------- leaks


def scaler_of_all_rows(patch: pytest.MonkeyPatch) -> None:
    """A scaler that is fitted on all rows."""
    fit = Scaler.fit
    patch.setattr(Scaler, "fit", classmethod(lambda cls, rows, chosen=None: fit(rows)))


def scaler_of_the_whole_training(patch: pytest.MonkeyPatch) -> None:
    """All folds scaled like the finalists' windows, whose training goes on after an early fold's end."""
    fit, first = Scaler.fit, {}  # the features of a dataset are one array, and the finalists' rows are fitted first

    def once(cls: type[Scaler], rows: np.ndarray, chosen: np.ndarray | None = None) -> Scaler:
        return first.setdefault(id(rows), (fit(rows, chosen), rows))[0]

    patch.setattr(Scaler, "fit", classmethod(once))


def no_purge(patch: pytest.MonkeyPatch) -> None:
    """A purge of 0, whatever the horizon."""
    patch.setattr(table_module, "reach_bars", lambda segment, bars: np.arange(len(segment)))


def no_purge_in_folds(patch: pytest.MonkeyPatch) -> None:
    """Training and validation are purged, folds are not."""
    patch.setattr(dataset_module, "WindowDates", lambda decided, *_: WindowDates(*[decided] * 4))


def windows_across_symbols(patch: pytest.MonkeyPatch) -> None:
    """Windows cut from the rows of all symbols together: the second one's first windows begin with bars of the first."""
    rows_of, calls = table_module.feature_rows, []

    def joined(*args: Any, **options: Any) -> Any:
        rows = rows_of(*args, **options)
        calls.append(rows)
        return rows if len(calls) == 1 else replace(rows, ends=np.arange(len(rows.features)))

    patch.setattr(table_module, "feature_rows", joined)


BUILT = (scaler_of_all_rows, scaler_of_the_whole_training, no_purge, no_purge_in_folds, windows_across_symbols)
LEAKS = {leak.__name__: leak for leak in BUILT}


def test_a_purge_of_0_with_horizon_5_is_refused():
    with pytest.raises(ValueError, match="purge"):
        DataSettings(horizon=5, purge=0)


# ---------------------------------------------------------------------- checks


def from_date(first: pd.Timestamp | np.datetime64, factor: float = 1.7) -> Change:
    """All bars from a date on become others: prices and volumes are multiplied, each bar by another number."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        late = frame.index >= first
        frame.loc[late] *= np.linspace(factor, 3 * factor, int(late.sum()))[:, None]
        return frame

    return change


def assert_same(before: Windows, after: Windows) -> None:
    everything = torch.arange(len(before))
    assert torch.equal(before.gather(everything), after.gather(everything))
    assert torch.equal(before.labels, after.labels)
    assert torch.equal(before.values, after.values)
    assert np.array_equal(before.dates, after.dates)
    assert before.symbols.tolist() == after.symbols.tolist()


def check_scaling(make: Make, **asked: Any) -> None:
    """Later bars change nothing of the training windows: not the bars in them, and not what they are scaled by."""
    before = make(**asked)
    after = make(from_date(before.validation.dates.min()), **asked)
    assert before.scaler == after.scaler
    assert (before.value_mean, before.value_std) == (after.value_mean, after.value_std)
    assert_same(before.train, after.train)


def check_scaling_of_folds(make: Make, **asked: Any) -> None:
    """Bars from a fold's validation block on change nothing of what it trains on."""
    before = make(**asked)
    for number, fold in enumerate(before.folds):
        changed = make(from_date(fold.validation.dates.min()), **asked).folds[number]
        assert_same(fold.train, changed.train)
        assert (fold.value_mean, fold.value_std) == (changed.value_mean, changed.value_std)


def check_symbols(make: Make, frames: dict[str, pd.DataFrame], **asked: Any) -> None:
    """Each window holds the features of its own symbol's bars alone."""
    data = make(**asked)
    alone = {
        name: pd.DataFrame(data.scaler.transform(BUILT_IN.compute(frame)), index=frame.index)
        for name, frame in frames.items()
    }
    for windows in (data.train, data.validation, data.test.open()):
        inputs = windows.gather(torch.arange(len(windows))).numpy()
        for x, day, symbol in zip(inputs, windows.dates, windows.symbols, strict=True):
            place = alone[symbol].index.get_loc(day)
            np.testing.assert_allclose(x, alone[symbol].to_numpy()[place - LOOKBACK + 1 : place + 1], atol=1e-5)


def check_intervals(make: Make, frames: dict[str, pd.DataFrame], **asked: Any) -> None:
    """No label of training looks at a bar of validation, and none of validation at one of test; nor in any fold."""
    data = make(**asked)
    question = labeller(DataSettings(**asked))
    known = {
        name: dict(zip(frame.index, frame.index[np.arange(len(frame)) + question.label(frame).reach], strict=True))
        for name, frame in frames.items()
    }

    def ends(windows: Windows) -> list[pd.Timestamp]:
        return [known[symbol][pd.Timestamp(day)] for symbol, day in zip(windows.symbols, windows.dates, strict=True)]

    test_begins = data.test.open().dates.min()
    assert max(ends(data.train)) < data.validation.dates.min()
    assert max(ends(data.validation)) < test_begins
    for fold in data.folds:
        assert max([*ends(fold.train), *ends(fold.validation)]) < test_begins
        for day, end in zip(fold.train.dates, ends(fold.train), strict=True):
            inside = (fold.validation.dates >= day) & (fold.validation.dates <= end)
            assert not inside.any()


def check_test_period(make: Make, folder: Path, **asked: Any) -> None:
    """Other bars in the test period change nothing that trials see, to the bit."""
    before = make(**asked)
    test_begins = before.test.open().dates.min()
    files = []
    for data in (before, make(from_date(test_begins), **asked)):
        save_trial_data(folder / "trials.safetensors", data.for_trials())  # holds all: test_shared_arrays.py
        files.append((folder / "trials.safetensors").read_bytes())
    same = files[0] == files[1]  # a bool, so that pytest does not compare megabytes of text for minutes
    assert same


targets = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
schemes = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)


@targets
def test_the_scaler_knows_training_rows_only(make, target):
    check_scaling(make, horizon=5, **target)


@pytest.mark.parametrize("scheme", [SCHEMES["expanding"], SCHEMES["rolling"]], ids=["expanding", "rolling"])
@targets
def test_a_folds_scaler_knows_its_own_training_rows_only(make, target, scheme):
    check_scaling_of_folds(make, horizon=5, **target, **scheme)


def test_no_window_crosses_symbols(make, frames):
    check_symbols(make, frames)


@schemes
@targets
def test_no_labels_interval_reaches_what_it_is_kept_from(make, frames, target, scheme):
    check_intervals(make, frames, horizon=5, **target, **scheme)


@pytest.mark.mostly_slow(6)
@schemes
@targets
def test_the_test_period_changes_nothing_that_trials_see(make, tmp_path, target, scheme):
    check_test_period(make, tmp_path, horizon=5, **target, **scheme)


class TestEachLeakMakesItsCheckFail:
    @pytest.fixture
    def leak(self, request, monkeypatch) -> None:
        LEAKS[request.param](monkeypatch)

    @pytest.mark.parametrize("leak", ["scaler_of_all_rows"], indirect=True)
    @targets
    def test_scaling(self, leak, make, target):
        with pytest.raises(AssertionError):
            check_scaling(make, horizon=5, **target)

    @pytest.mark.parametrize("leak", ["scaler_of_all_rows", "scaler_of_the_whole_training"], indirect=True)
    @pytest.mark.parametrize("scheme", ["expanding", "rolling"])
    def test_scaling_of_folds(self, leak, make, scheme):
        with pytest.raises(AssertionError):
            check_scaling_of_folds(make, horizon=5, **SCHEMES[scheme])

    @pytest.mark.parametrize("leak", ["windows_across_symbols"], indirect=True)
    def test_symbols(self, leak, make, frames):
        with pytest.raises(AssertionError):
            check_symbols(make, frames)

    @pytest.mark.parametrize("leak", ["no_purge"], indirect=True)
    @targets
    def test_intervals(self, leak, make, frames, target):
        with pytest.raises(AssertionError):
            check_intervals(make, frames, horizon=5, **target)

    @pytest.mark.parametrize("leak", ["no_purge_in_folds"], indirect=True)
    @pytest.mark.parametrize("scheme", ["expanding", "rolling", "combinatorial"])
    def test_intervals_in_folds(self, leak, make, frames, scheme):
        with pytest.raises(AssertionError):
            check_intervals(make, frames, horizon=5, **SCHEMES[scheme])

    @pytest.mark.parametrize("leak", ["scaler_of_all_rows", "no_purge"], indirect=True)
    @schemes
    def test_test_period(self, leak, make, tmp_path, scheme):
        with pytest.raises(AssertionError):
            check_test_period(make, tmp_path, horizon=5, **scheme)
