"""Leaks: the data of training and trials must not depend on later bars or on another symbol.

Each check runs twice: on the package, where it passes, and on a package with a leak built in (``LEAKED``), where it must fail.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from builders import questions
from builders.frames import random_frame
from builders.questions import TARGETS
from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.config.schema.retrain import EvaluationSettings
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
FRAMES = {name: random_frame(420, seed) for name, seed in (("A", 1), ("B", 2))}

SCHEMES: dict[str, dict[str, Any]] = {"one fold": {}, **questions.SCHEMES}
Change = Callable[[pd.DataFrame], pd.DataFrame]


def make(folder: Path, change: Change = lambda frame: frame, test_periods: int = 1, **asked: Any) -> Dataset:
    """The dataset of both symbols' bars after a change."""
    for name, frame in FRAMES.items():
        change(frame.copy()).to_csv(folder / f"{name}.csv")
    return prepare_dataset(
        DataSettings(data_dir=folder, lookback=LOOKBACK, horizon=5, **asked),
        evaluation=EvaluationSettings(test_periods=test_periods),
    )


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


def check_scaling(folder: Path, **asked: Any) -> None:
    """Later bars change nothing of the training windows: not the bars in them, and not what they are scaled by."""
    before = make(folder, **asked)
    after = make(folder, from_date(before.validation.dates.min()), **asked)
    assert before.scaler == after.scaler
    assert (before.value_mean, before.value_std) == (after.value_mean, after.value_std)
    assert_same(before.train, after.train)


def check_scaling_of_folds(folder: Path, **asked: Any) -> None:
    """Bars from a fold's validation block on change nothing of what it trains on."""
    before = make(folder, **asked)
    for number, fold in enumerate(before.folds):
        changed = make(folder, from_date(fold.validation.dates.min()), **asked).folds[number]
        assert_same(fold.train, changed.train)
        assert (fold.value_mean, fold.value_std) == (changed.value_mean, changed.value_std)


def check_periods(folder: Path, **asked: Any) -> None:
    """Bars from a period of the test set on change nothing of what is trained, validated and scaled before it."""
    periods = make(folder, test_periods=2, **asked)
    for number in (1, 2):
        before = periods.period(number)
        first = before.test.open().dates.min()
        after = make(folder, from_date(first), test_periods=2, **asked).period(number)
        assert (before.scaler, before.value_mean) == (after.scaler, after.value_mean)
        assert_same(before.train, after.train)
        assert_same(before.validation, after.validation)
        assert before.validation.dates.max() < first


def check_symbols(folder: Path, **asked: Any) -> None:
    """Each window holds the features of its own symbol's bars alone."""
    data = make(folder, **asked)
    alone = {
        name: pd.DataFrame(data.scaler.transform(BUILT_IN.compute(frame)), index=frame.index)
        for name, frame in FRAMES.items()
    }
    for windows in (data.train, data.validation, data.test.open()):
        inputs = windows.gather(torch.arange(len(windows))).numpy()
        for x, day, symbol in zip(inputs, windows.dates, windows.symbols, strict=True):
            place = alone[symbol].index.get_loc(day)
            np.testing.assert_allclose(x, alone[symbol].to_numpy()[place - LOOKBACK + 1 : place + 1], atol=1e-5)


def check_intervals(folder: Path, **asked: Any) -> None:
    """No label of training looks at a bar of validation, and none of validation at one of test; nor in any fold."""
    data = make(folder, **asked)
    question = labeller(DataSettings(horizon=5, **asked))
    known = {
        name: dict(zip(frame.index, frame.index[np.arange(len(frame)) + question.label(frame).reach], strict=True))
        for name, frame in FRAMES.items()
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


def check_test_period(folder: Path, **asked: Any) -> None:
    """Other bars in the test period change nothing that trials see, to the bit."""
    before = make(folder, **asked)
    test_begins = before.test.open().dates.min()
    files = []
    for data in (before, make(folder, from_date(test_begins), **asked)):
        save_trial_data(folder / "trials.safetensors", data.for_trials())  # holds all: test_shared_arrays.py
        files.append((folder / "trials.safetensors").read_bytes())
    same = files[0] == files[1]  # a bool, so that pytest does not compare megabytes of text for minutes
    assert same


def test_a_purge_of_0_with_horizon_5_is_refused():
    with pytest.raises(ValueError, match="purge"):
        DataSettings(horizon=5, purge=0)


HONEST = [
    *((check_scaling, target, "one fold") for target in TARGETS),
    *((check_scaling_of_folds, target, scheme) for target in TARGETS for scheme in ("expanding", "rolling")),
    *((check_periods, target, "one fold") for target in TARGETS),
    (check_symbols, "direction", "one fold"),
    *((check_intervals, target, scheme) for target in TARGETS for scheme in SCHEMES),
]
LEAKED = [
    *((scaler_of_all_rows, check_scaling, target, "one fold") for target in TARGETS),
    *((scaler_of_all_rows, check_scaling_of_folds, "volatility", scheme) for scheme in ("expanding", "rolling")),
    *((scaler_of_the_whole_training, check_scaling_of_folds, "volatility", name) for name in ("expanding", "rolling")),
    *((leak, check_periods, "volatility", "one fold") for leak in (scaler_of_all_rows, no_purge)),
    (windows_across_symbols, check_symbols, "direction", "one fold"),
    *((no_purge, check_intervals, target, "one fold") for target in TARGETS),
    *((no_purge_in_folds, check_intervals, "volatility", scheme) for scheme in SCHEMES if scheme != "one fold"),
    *((leak, check_test_period, "volatility", name) for leak in (scaler_of_all_rows, no_purge) for name in SCHEMES),
]


@pytest.mark.mostly_slow(17)
@pytest.mark.parametrize(("check", "target", "scheme"), HONEST)
def test_no_data_depends_on_later_bars_or_on_another_symbol(tmp_path, check, target, scheme):
    check(tmp_path, **TARGETS[target], **SCHEMES[scheme])


@pytest.mark.mostly_slow(6)
@pytest.mark.mostly_thorough(12)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("target", TARGETS)
def test_the_test_period_changes_nothing_that_trials_see(tmp_path, target, scheme):
    check_test_period(tmp_path, **TARGETS[target], **SCHEMES[scheme])


@pytest.mark.mostly_slow(13)
@pytest.mark.parametrize(("leak", "check", "target", "scheme"), LEAKED)
def test_each_leak_makes_its_check_fail(monkeypatch, tmp_path, leak, check, target, scheme):
    leak(monkeypatch)
    with pytest.raises(AssertionError):
        check(tmp_path, **TARGETS[target], **SCHEMES[scheme])
