"""Forms of windows: each is read as the same array."""

import numpy as np
import pandas as pd
import pytest
import torch

from builders.estimators import panel
from cnn_lstm_hyperopt.api.estimators.inputs import read_panel, require_same_order
from cnn_lstm_hyperopt.errors import ArrayError

X = panel(5, time=4, features=3)
NAMES = ["a", "b", "c"]


def nested(x):
    return pd.DataFrame({name: [pd.Series(window[:, k]) for window in x] for k, name in enumerate(NAMES)})


def long(x):
    frames = {number: pd.DataFrame(window, columns=NAMES) for number, window in enumerate(x)}
    return pd.concat(frames, names=["window", "time"])


def sktime_long(x):
    table = long(x).reset_index().melt(["window", "time"], var_name="dim_id", value_name="value")
    return table.rename(columns={"window": "case_id", "time": "reading_id"})


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x,
        lambda x: x.tolist(),
        torch.tensor,
        nested,
        long,
        lambda x: long(x).sample(frac=1, random_state=0).sort_index(level=0, sort_remaining=False),
        sktime_long,
        lambda x: [pd.DataFrame(window, columns=NAMES) for window in x],
    ],
    ids=["array", "lists", "tensor", "nested", "long", "long, times in any order", "sktime", "list of frames"],
)
def test_every_form_is_read_as_the_same_windows(form):
    np.testing.assert_array_equal(read_panel(form(X), "time_features").values, X.astype(np.float32))


def test_channels_before_time_are_swapped_and_tables_of_windows_keep_their_names():
    swapped = read_panel(X.transpose(0, 2, 1), "channels_time")
    np.testing.assert_array_equal(swapped.values, X.astype(np.float32))
    assert read_panel(long(X), "time_features").names == tuple(NAMES)


def test_windows_of_a_long_table_keep_the_order_in_which_they_first_occur():
    table = pd.concat([long(X).loc[[3]], long(X).loc[[1]]])
    np.testing.assert_array_equal(read_panel(table, "time_features").values, X[[3, 1]].astype(np.float32))


NAMED = ["w0", "w10", "w2", "w1", "w3"]
"""Ids whose order of the file is not that of their texts."""


def test_windows_of_sktime_keep_the_order_in_which_they_first_occur():
    table = sktime_long(X).replace({"case_id": dict(enumerate(NAMED))})
    found = read_panel(table, "time_features")
    np.testing.assert_array_equal(found.values, X.astype(np.float32))
    assert list(found.ids) == NAMED
    late = table[~((table["case_id"] == "w0") & (table["reading_id"] == 0))]  # w0 occurs first, with a later reading
    whole = pd.concat([late, table.drop(late.index)])
    np.testing.assert_array_equal(read_panel(whole, "time_features").values, X.astype(np.float32))


def test_a_series_with_the_ids_in_another_order_is_refused():
    found = read_panel(long(X).rename(index=dict(enumerate(NAMED)), level=0), "time_features")
    targets = pd.Series(range(5), index=NAMED)
    pairs = targets.set_axis(pd.MultiIndex.from_product([["a"], range(5)]))
    for accepted in (targets, targets.to_numpy(), targets.reset_index(drop=True), pairs, list(targets), None):
        require_same_order("y", accepted, found)
    for refused in (targets.sort_index(), targets.sort_index().to_frame()):
        with pytest.raises(ArrayError) as caught:
            require_same_order("groups", refused, found)
        assert (caught.value.code, caught.value.field) == ("other-order", "groups")
    require_same_order("groups", targets.sort_index().loc[found.ids], found)
    require_same_order("y", targets.sort_index(), read_panel(X, "time_features"))


def test_a_flat_table_is_left_to_scikit_learn():
    assert read_panel(pd.DataFrame(X[:, :, 0]), "time_features") is None
    assert read_panel(X[:, :, 0], "time_features") is None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ([X[0], X[1][:3]], "lengths-differ"),
        (long(X).iloc[:-1], "lengths-differ"),
        (pd.concat([long(X), long(X)[:1]]), "duplicate-row"),
        (pd.concat([sktime_long(X), sktime_long(X)[:1]]), "duplicate-row"),
        (pd.DataFrame({"a": [pd.Series([1.0, 2.0])], "b": [pd.Series([1.0])]}), "lengths-differ"),
        (pd.DataFrame({"a": [pd.Series(["x", "y"])]}), "not-numbers"),
        (X * 1e30, "number-too-large"),
    ],
)
def test_windows_that_do_not_fit_together_are_refused(data, code):
    with pytest.raises(ArrayError) as caught:
        read_panel(data, "time_features")
    assert (caught.value.field, caught.value.code) == ("X", code)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("missing", [np.nan, np.inf])
def test_missing_numbers_are_refused_as_by_scikit_learn(missing):
    holes = X.copy()
    holes[1, 2, 0] = missing
    with pytest.raises(ValueError, match="X contains"):
        read_panel(holes, "time_features")
