"""Configurations as points: there and back for every domain, and that a snapped vector is that of a real configuration."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cnn_lstm_hyperopt.config import Choices, Fixed, FloatRange, IntRange, SearchSpace
from cnn_lstm_hyperopt.search.distributions import with_fixed
from cnn_lstm_hyperopt.search.samplers import random_configuration
from cnn_lstm_hyperopt.search.samplers.encoding import NEUTRAL, Axis, Encoding
from cnn_lstm_hyperopt.space.parameters import ParameterSpec


def axis_of(domain):
    return Axis("x", domain, slice(0, 1))


whole_ranges = st.builds(
    lambda low, width, log: IntRange(low, low + width, log), st.integers(1, 500), st.integers(1, 500), st.booleans()
)
real_ranges = st.builds(
    lambda low, factor, log: FloatRange(low, low * factor, log),
    st.floats(1e-8, 1e4),
    st.floats(1.001, 1e6),
    st.booleans(),
)
shares = st.floats(0, 1)


@given(whole_ranges, st.data())
def test_whole_numbers_go_there_and_back(domain, data):
    axis, number = axis_of(domain), data.draw(st.integers(domain.low, domain.high))
    position = axis.position(number)
    assert 0 < position < 1
    assert axis.value(position) == number
    assert type(axis.value(position)) is int


@given(whole_ranges, shares, shares)
def test_positions_of_whole_numbers_rise_with_them_and_any_position_is_one(domain, a, b):
    axis = axis_of(domain)
    low, high = axis.value(min(a, b)), axis.value(max(a, b))
    assert domain.low <= low <= high <= domain.high
    assert (axis.value(0.0), axis.value(1.0)) == (domain.low, domain.high)


def test_each_whole_number_has_the_share_of_its_unit():
    """On the plain scale equal shares; on the log scale k has ln (k + ½) − ln (k − ½)."""
    positions = (np.arange(20_000) + 0.5) / 20_000
    plain = [axis_of(IntRange(3, 7)).value(p) for p in positions]
    assert [plain.count(k) for k in range(3, 8)] == [4000] * 5
    log = [axis_of(IntRange(1, 6, log=True)).value(p) for p in positions]
    expected = np.array([math.log(k + 0.5) - math.log(k - 0.5) for k in range(1, 7)])
    np.testing.assert_allclose([log.count(k) / 20_000 for k in range(1, 7)], expected / expected.sum(), atol=2e-4)


@given(real_ranges, shares)
def test_real_numbers_go_there_and_back(domain, share):
    axis = axis_of(domain)
    value = axis.value(share)
    assert domain.low <= value <= domain.high
    assert axis.position(value) == pytest.approx(share, abs=1e-6)
    assert (axis.value(0.0), axis.value(1.0)) == (pytest.approx(domain.low), pytest.approx(domain.high))


def test_the_logarithm_is_taken_where_the_domain_says_so():
    assert axis_of(FloatRange(1e-4, 1.0, log=True)).position(1e-2) == pytest.approx(0.5)
    assert axis_of(FloatRange(0.0, 1.0)).position(0.25) == 0.25
    assert axis_of(FloatRange(-1.0, 1.0)).value(0.5) == 0.0


@pytest.mark.parametrize("values", [(False, True), ("a", "b", "c"), (16, 32, 64), (0.1, 0.5)])
def test_choices_go_there_and_back_with_their_types(values):
    axis = axis_of(Choices(values))
    assert axis.n_choices == len(values)
    for i, value in enumerate(values):
        assert axis.position(value) == i
        assert axis.value(float(i)) is value


def test_a_fixed_parameter_has_no_axis():
    for ask in (lambda axis: axis.position(1), lambda axis: axis.value(0.5)):
        with pytest.raises(ValueError, match="x is fixed and has no axis"):
            ask(axis_of(Fixed(1)))


# ---------------------------------------------------------------------- whole spaces


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
"""Conditions on conditions, on whole numbers, on fixed parameters, and on one that is fixed and not always there."""
SPACES = ["deep", "whole", "tiny", None]


@pytest.fixture(params=SPACES, ids=str)
def space(request, make_space):
    return DEEP if request.param == "deep" else make_space(request.param)


def configurations(space, n):
    for number in range(n):
        params = random_configuration(space, 7, number)
        yield {name: value for name, value in params.items() if name in space.searched()}


def test_what_can_never_be_is_no_axis():
    assert [axis.name for axis in Encoding(DEEP).axes] == [
        name for name in DEEP.domains if name not in ("fixed", "never", "off")
    ]


def test_configurations_go_there_and_back(space):
    encoding = Encoding(space)
    for params in configurations(space, 200):
        vector = encoding.vector(params)
        assert np.isnan(vector).tolist() == [axis.name not in params for axis in encoding.axes]
        again = encoding.params(vector, np.full(len(encoding.axes), np.nan))
        assert list(again) == [name for name in space.domains if name in params]
        for name, value in params.items():
            assert again[name] == (pytest.approx(value) if isinstance(value, float) else value)
            assert type(again[name]) is type(value)


def test_missing_positions_are_filled_where_they_are_needed(space):
    encoding = Encoding(space)
    generator = np.random.default_rng(1)
    choices = np.array([axis.n_choices for axis in encoding.axes])
    for _ in range(100):
        fill = np.where(choices > 0, generator.integers(np.maximum(choices, 1)), generator.random(len(choices)))
        vector = np.where(generator.random(len(choices)) < 0.5, np.nan, fill)
        params = encoding.params(vector, fill)
        assert params == encoding.params(fill, fill)
        whole = with_fixed(space, params)
        assert list(whole) == list(space.active(whole))


def random_vectors(encoding, n, seed=0):
    generator = np.random.default_rng(seed)
    choices = np.array([axis.n_choices for axis in encoding.axes])
    uniform = generator.random((n, len(choices)))
    return np.where(choices > 0, np.floor(uniform * np.maximum(choices, 1)), uniform)


def test_a_snapped_vector_is_that_of_its_configuration(space):
    """Whole numbers at their positions, NaN where a condition fails, head counts that divide."""
    encoding = Encoding(space)
    vectors = random_vectors(encoding, 300)
    before = vectors.copy()
    snapped = encoding.snapped(vectors)
    expected = encoding.vectors([encoding.params(vector, vector) for vector in vectors])
    np.testing.assert_allclose(snapped, expected, atol=1e-9)
    np.testing.assert_array_equal(vectors, before)
    for row, vector in zip(snapped, vectors, strict=True):
        assert encoding.params(row, row) == encoding.params(vector, vector)


def test_snapping_twice_is_snapping_once(space):
    encoding = Encoding(space)
    snapped = encoding.snapped(random_vectors(encoding, 100))
    filled = np.where(np.isnan(snapped), random_vectors(encoding, 100, seed=1), snapped)
    np.testing.assert_allclose(encoding.snapped(filled), snapped, atol=1e-9)


def test_features_are_positions_and_one_hots(space):
    encoding = Encoding(space)
    many = list(configurations(space, 50))
    features = encoding.features(encoding.vectors(many))
    assert features.shape == (50, encoding.n_columns) == (50, len(encoding.axis_of_column))
    for params, row in zip(many, features, strict=True):
        for i, axis in enumerate(encoding.axes):
            columns = row[axis.columns]
            assert set(np.flatnonzero(encoding.axis_of_column == i)) == set(
                range(axis.columns.start, axis.columns.stop)
            )
            if not axis.n_choices:
                assert columns[0] == (axis.position(params[axis.name]) if axis.name in params else NEUTRAL)
            elif axis.name in params:
                hot = np.zeros(axis.n_choices)
                hot[axis.domain.values.index(params[axis.name])] = math.sqrt(0.5)
                np.testing.assert_array_equal(columns, hot)
            else:
                assert (columns == 0).all()


def test_two_choices_are_as_far_apart_as_the_ends_of_a_number():
    space = SearchSpace.of({"kind": ParameterSpec("choice", Choices(("a", "b", "c")))})
    rows = Encoding(space).features(np.array([[0.0], [1.0], [2.0]]))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.linalg.norm(rows[a] - rows[b]) == pytest.approx(1.0)


def test_no_configurations_are_no_rows(space):
    encoding = Encoding(space)
    assert encoding.vectors([]).shape == (0, len(encoding.axes))
    assert encoding.features(encoding.vectors([])).shape == (0, encoding.n_columns)
    assert encoding.snapped(encoding.vectors([])).shape == (0, len(encoding.axes))


@given(st.integers(1, 400), st.integers(1, 60), st.booleans(), shares)
def test_many_whole_numbers_are_snapped_as_one_is(low, width, log, share):
    domain = IntRange(low, low + width, log)
    axis = axis_of(domain)
    start, end = (math.log(v) if log else v for v in (low - 0.5, low + width + 0.5))
    number = start + share * (end - start)
    number = math.exp(number) if log else number
    assume(abs(number % 1 - 0.5) > 1e-9)  # a half is rounded by the last bit
    encoding = Encoding(SearchSpace.of({"x": ParameterSpec("int", domain)}))
    assert encoding.snapped(np.array([[share]]))[0, 0] == pytest.approx(axis.position(axis.value(share)))
