"""Encoding: every domain and configuration survives the round trip; snapped vectors are those of real configurations."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from builders.records import make_space
from cnn_lstm_hyperopt.config import Choices, Fixed, FloatRange, IntRange, SearchSpace
from cnn_lstm_hyperopt.search.distributions import with_fixed
from cnn_lstm_hyperopt.search.samplers import random_configuration
from cnn_lstm_hyperopt.search.samplers.encoding import NEUTRAL, Axis, Encoding
from cnn_lstm_hyperopt.space.parameters import ParameterSpec


def axis_of(domain):
    return Axis("x", domain, slice(0, 1))


shares, logs = st.floats(0, 1), st.booleans()
integers = st.builds(lambda low, n, log: IntRange(low, low + n, log), st.integers(1, 500), st.integers(1, 500), logs)
reals = st.builds(lambda low, k, log: FloatRange(low, low * k, log), st.floats(1e-8, 1e4), st.floats(1.001, 1e6), logs)


@given(integers, st.data(), shares, shares)
def test_integers_survive_the_round_trip_and_positions_are_monotonic(domain, data, a, b):
    axis, number = axis_of(domain), data.draw(st.integers(domain.low, domain.high))
    position = axis.position(number)
    assert 0 < position < 1
    assert axis.value(position) == number
    assert type(axis.value(position)) is int
    assert domain.low <= axis.value(min(a, b)) <= axis.value(max(a, b)) <= domain.high
    assert (axis.value(0.0), axis.value(1.0)) == (domain.low, domain.high)


def test_each_integer_has_the_share_of_its_unit():
    """Equal shares on the linear scale; ln (k + ½) − ln (k − ½) on the log scale."""
    positions = (np.arange(20_000) + 0.5) / 20_000
    linear = [axis_of(IntRange(3, 7)).value(p) for p in positions]
    assert [linear.count(k) for k in range(3, 8)] == [4000] * 5
    log = [axis_of(IntRange(1, 6, log=True)).value(p) for p in positions]
    expected = np.array([math.log(k + 0.5) - math.log(k - 0.5) for k in range(1, 7)])
    np.testing.assert_allclose([log.count(k) / 20_000 for k in range(1, 7)], expected / expected.sum(), atol=2e-4)


@given(reals, shares)
def test_real_numbers_survive_the_round_trip(domain, share):
    axis = axis_of(domain)
    value = axis.value(share)
    assert domain.low <= value <= domain.high
    assert axis.position(value) == pytest.approx(share, abs=1e-6)
    assert (axis.value(0.0), axis.value(1.0)) == (pytest.approx(domain.low), pytest.approx(domain.high))
    middle = math.sqrt(domain.low * domain.high) if domain.log else (domain.low + domain.high) / 2
    assert axis.value(0.5) == pytest.approx(middle)


DEEP = SearchSpace.of(
    {
        "kind": ParameterSpec("choice", Choices(("a", "b", "c"))),
        "fixed": ParameterSpec("int", Fixed(3)),
        "layers": ParameterSpec("int", IntRange(1, 3), when={"kind": ("a", "b")}),
        "log": ParameterSpec("int", IntRange(2, 90, log=True)),
        "skip": ParameterSpec("flag", Choices((False, True)), when={"layers": (2, 3), "fixed": (3,)}),
        "rate": ParameterSpec("log_float", FloatRange(1e-4, 1.0, log=True), when={"skip": (True,), "kind": ("b",)}),
        "never": ParameterSpec("float", FloatRange(0.0, 1.0), when={"fixed": (4,)}),
        "off": ParameterSpec("int", Fixed(1), when={"kind": ("c",)}),
        "below_off": ParameterSpec("float", FloatRange(0.0, 1.0), when={"off": (1,)}),
    }
)
"""Conditions on conditions, integers and fixed parameters, one of which is conditional itself."""


@pytest.fixture(params=["deep", "whole", "tiny", None], ids=str)
def space(request):
    return DEEP if request.param == "deep" else make_space(request.param)


def configurations(space, n):
    for number in range(n):
        params = random_configuration(space, 7, number)
        yield {name: value for name, value in params.items() if name in space.searched()}


def random_vectors(encoding, n, seed=0):
    choices = np.array([axis.n_choices for axis in encoding.axes])
    uniform = np.random.default_rng(seed).random((n, len(choices)))
    return np.where(choices > 0, np.floor(uniform * np.maximum(choices, 1)), uniform)


def test_fixed_and_impossible_parameters_have_no_axis():
    names = [name for name in DEEP.domains if name not in ("fixed", "never", "off")]
    assert [axis.name for axis in Encoding(DEEP).axes] == names
    for call in (lambda axis: axis.position(1), lambda axis: axis.value(0.5)):
        with pytest.raises(ValueError, match="x"):
            call(axis_of(Fixed(1)))


def test_configurations_survive_the_round_trip(space):
    encoding = Encoding(space)
    for params in configurations(space, 200):
        vector = encoding.vector(params)
        assert np.isnan(vector).tolist() == [axis.name not in params for axis in encoding.axes]
        again = encoding.params(vector, np.full(len(encoding.axes), np.nan))
        assert list(again) == [name for name in space.domains if name in params]
        for name, value in params.items():
            assert again[name] == (pytest.approx(value) if isinstance(value, float) else value)
            assert type(again[name]) is type(value)


def test_missing_positions_are_filled(space):
    encoding = Encoding(space)
    missing = np.random.default_rng(1).random((100, len(encoding.axes))) < 0.5
    for fill, without in zip(random_vectors(encoding, 100), missing, strict=True):
        params = encoding.params(np.where(without, np.nan, fill), fill)
        assert params == encoding.params(fill, fill)
        assert list(with_fixed(space, params)) == list(space.active(with_fixed(space, params)))


def test_a_snapped_vector_is_that_of_its_configuration(space):
    """Integers at their positions, NaN for inactive parameters, head counts that divide; a second time changes nothing."""
    encoding = Encoding(space)
    vectors = random_vectors(encoding, 300)
    many = [encoding.params(vector, vector) for vector in vectors]
    snapped = encoding.snapped(vectors)
    np.testing.assert_array_equal(vectors, random_vectors(encoding, 300))  # unchanged
    np.testing.assert_allclose(snapped, encoding.vectors(many), atol=1e-9)
    assert [encoding.params(row, row) for row in snapped] == many
    whole = [list(encoding.configuration(row).items()) for row in snapped]
    assert [list(each.items()) for each in encoding.configurations(snapped)] == whole
    filled = np.where(np.isnan(snapped), random_vectors(encoding, 300, seed=1), snapped)
    np.testing.assert_allclose(encoding.snapped(filled), snapped, atol=1e-9)


@given(integers, shares)
def test_integers_are_snapped_as_one_by_one(domain, share):
    axis = axis_of(domain)
    start, end = (math.log(v) if domain.log else v for v in (domain.low - 0.5, domain.high + 0.5))
    number = start + share * (end - start)
    number = math.exp(number) if domain.log else number
    assume(abs(number % 1 - 0.5) > 1e-9)  # the last bit decides how a half is rounded
    encoding = Encoding(SearchSpace.of({"x": ParameterSpec("int", domain)}))
    assert encoding.snapped(np.array([[share]]))[0, 0] == pytest.approx(axis.position(axis.value(share)))


def test_features_are_positions_and_one_hots(space):
    encoding, many = Encoding(space), list(configurations(space, 50))
    features = encoding.features(encoding.vectors(many))
    assert features.shape == (50, encoding.n_columns) == (50, len(encoding.axis_of_column))
    for i, axis in enumerate(encoding.axes):
        own = range(axis.columns.start, axis.columns.stop)
        assert np.flatnonzero(encoding.axis_of_column == i).tolist() == list(own)
        for params, row in zip(many, features, strict=True):
            number = [axis.position(params[axis.name]) if axis.name in params else NEUTRAL]
            choices = [math.sqrt(0.5) * (v == params.get(axis.name)) for v in getattr(axis.domain, "values", ())]
            assert row[axis.columns].tolist() == (choices or number)
