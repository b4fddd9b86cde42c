"""The scaler against scikit-learn."""

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.preprocessing import StandardScaler

from cnn_lstm_hyperopt.data.scaling import CLIP, Scaler


@settings(max_examples=30)
@given(rows=arrays(np.float64, (12, 3), elements=st.integers(-1000, 1000).map(lambda x: x / 7)))
def test_equals_scikit_learn_up_to_the_clip_and_survives_json(rows):
    scaler, other = Scaler.fit(rows), rows * 1.5 + 3
    expected = np.clip(StandardScaler().fit(rows).transform(other), -CLIP, CLIP)
    np.testing.assert_allclose(scaler.transform(other), expected, rtol=1e-9, atol=1e-9)
    assert Scaler.from_dict(json.loads(json.dumps(scaler.as_dict()))) == scaler


def test_a_constant_feature_becomes_zero_and_freak_values_are_clipped():
    rows = np.column_stack([np.full(5, 0.1), np.arange(5.0)])
    scaler = Scaler.fit(rows)
    assert scaler.std[0] == 1
    np.testing.assert_allclose(scaler.transform(rows)[:, 0], 0, atol=1e-15)
    scaled = Scaler.fit(np.array([[-1.0], [1.0]])).transform(np.array([[-99.0], [3.0], [99.0]]))
    np.testing.assert_array_equal(scaled, [[-10], [3], [10]])


def test_chosen_rows_and_many_parts_give_the_same_to_the_bit():
    """Millions of rows are summed and scaled part by part; the second opinion is NumPy on all rows at once."""
    random = np.random.default_rng(0)
    rows, chosen = random.normal(2, 3, (140_000, 3)), random.random(140_000) < 0.6
    scaler = Scaler.fit(rows)
    assert scaler == Scaler(tuple(rows.mean(axis=0).tolist()), tuple(rows.std(axis=0).tolist()))
    assert Scaler.fit(rows, chosen) == Scaler.fit(rows[chosen])
    expected = scaler.transform(rows).astype(np.float32)
    np.testing.assert_array_equal(scaler.transform_to_float32(rows), expected)
