"""Conformal sets and intervals: the quantile, the sets of mapie, the coverage of exchangeable windows, the stored form."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapie.classification import SplitConformalClassifier
from mapie.regression import SplitConformalRegressor
from sklearn.base import BaseEstimator

from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.inference.conformal import Conformal, StoredConformal, calibrate, conformal_quantile
from cnn_lstm_hyperopt.inference.model import load_model
from cnn_lstm_hyperopt.inference.stored_form import FormError
from cnn_lstm_hyperopt.training import Predictions


class Known(BaseEstimator):
    """Predicts the numbers that it is given, and is never fitted."""

    fitted_ = True

    def __init__(self, n_classes=2):
        self.classes_ = np.arange(n_classes)

    def fit(self, X, y):
        raise NotImplementedError

    def predict_proba(self, X):
        return X

    def predict(self, X):
        return X[:, 0]


def drawn(seed, windows, n_classes):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(n_classes), windows).astype(np.float32)
    labels = np.array([rng.choice(n_classes, p=row / row.sum()) for row in probabilities.astype(np.float64)])
    labels[:n_classes] = np.arange(n_classes)  # mapie needs every class
    values = rng.normal(size=windows).astype(np.float32)
    return labels, Predictions(probabilities, values), values + rng.normal(size=windows)


@given(
    seed=st.integers(0, 10_000),
    windows=st.integers(10, 80),
    n_classes=st.integers(2, 4),
    level=st.sampled_from([0.8, 0.9]),
)
@settings(deadline=None, max_examples=10)
def test_sets_and_intervals_are_those_of_mapie(seed, windows, n_classes, level):
    labels, known, targets = drawn(seed, windows, n_classes)
    _, new, _ = drawn(seed + 1, 40, n_classes)
    found = calibrate(labels, known, targets, level)
    classifier = SplitConformalClassifier(Known(n_classes), confidence_level=level, conformity_score="lac", prefit=True)
    classifier.conformalize(known.probabilities.astype(np.float64), labels)
    _, sets = classifier.predict_set(new.probabilities.astype(np.float64))
    assert np.array_equal(found.sets(new.probabilities), sets[:, :, 0])
    regressor = SplitConformalRegressor(Known(), confidence_level=level, prefit=True)
    regressor.conformalize(known.values[:, None].astype(np.float64), targets)
    _, ends = regressor.predict_interval(new.values[:, None].astype(np.float64))
    np.testing.assert_allclose(np.stack(found.intervals(new.values), axis=1), ends[:, :, 0], rtol=1e-6)


@pytest.mark.parametrize("windows", [9, 19, 50])
def test_exchangeable_windows_are_covered_as_often_as_the_theory_says(windows):
    rng = np.random.default_rng(windows)
    scores = rng.random((20_000, windows + 1))
    inside = [row[-1] <= conformal_quantile(row[:-1], 0.9) for row in scores]
    expected = math.ceil((windows + 1) * 0.9) / (windows + 1)  # exact for continuous scores
    assert np.mean(inside) == pytest.approx(expected, abs=4 * math.sqrt(0.09 / 20_000))


def test_few_windows_give_no_sets_and_labels_alone_give_no_intervals():
    labels, known, targets = drawn(0, 8, 2)
    assert calibrate(labels, known, targets) is None
    labels, known, _ = drawn(0, 9, 2)
    found = calibrate(labels, known, None)
    assert (found.windows, found.half_width, found.intervals(known.values)) == (9, None, None)
    assert found.class_score == pytest.approx(1 - known.probabilities[np.arange(9), labels].min())


def test_a_saved_model_predicts_its_sets_in_the_last_columns(tmp_path, model, bars):
    stored = Conformal(0.9, 100, 0.5, 0.25)
    replace(model, conformal=stored).save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.conformal == stored
    frame, plain = loaded.predict_bars(bars), model.predict_bars(bars)
    assert frame[plain.columns].equals(plain)
    assert list(frame)[len(plain.columns) :] == [
        "set_0",
        "set_1",
        "value_low",
        "range_percent_low",
        "value_high",
        "range_percent_high",
    ]
    assert frame["set_1"].equals((1 - frame["probability_1"].astype(float) <= 0.5).astype(int).rename("set_1"))
    np.testing.assert_allclose(frame["value_high"] - frame["value_low"], 0.5, atol=1e-5)
    assert (frame["range_percent_low"] < frame["range_percent"]).all()
    text = (tmp_path / "model" / "model.json").read_text()
    (tmp_path / "model" / "model.json").write_text(text.replace('"windows": 100', '"windows": "many"'))
    with pytest.raises(SaveDirError) as caught:
        load_model(tmp_path / "model")
    assert (caught.value.field, "model.json: conformal: " in str(caught.value)) == ("windows", True)


def test_a_stored_entry_is_checked():
    entry = {"level": 0.9, "windows": 100, "class_score": 0.6, "half_width": None}
    assert StoredConformal.taken_from({}) is None
    assert StoredConformal.taken_from({"conformal": entry}) == Conformal(0.9, 100, 0.6)
    for key, value in (("level", 1.0), ("windows", 0), ("class_score", 2.0), ("half_width", -1.0), ("other", 1)):
        with pytest.raises(FormError) as caught:
            StoredConformal.taken_from({"conformal": entry | {key: value}})
        assert caught.value.violations[0].field == key
