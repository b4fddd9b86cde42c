"""The cost model: fitted speeds, predicted seconds and memory."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cnn_lstm_hyperopt.models import Profile
from cnn_lstm_hyperopt.training.cost_model import TERMS, CostModel, fit_speeds, memory_mb, work
from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS
from cnn_lstm_hyperopt.training.runtime.precision import supported_precisions

PER_STEP = [TERMS.index(name) for name in ("step", "parameter", "recurrent weight read")]
PER_WINDOW = [index for index in range(len(TERMS)) if index not in PER_STEP]
batch_sizes, optimizers = st.integers(1, 4096), st.sampled_from(sorted(OPTIMIZERS))
precisions = st.sampled_from(["float32", "bfloat16"])


@st.composite
def profiles(draw):
    """Any consistent profile, in numbers that float64 represents exactly."""
    recurrent, narrow, rest, *others = (draw(st.integers(0, 10**9)) for _ in range(8))
    parameters, reads, states, elements, scores = others
    return Profile(parameters, recurrent + narrow + rest, recurrent, narrow, reads, states, elements, scores)


def measured_amounts(rng, steps):
    """Work of ``steps`` steps whose kinds differ by many orders of magnitude, as in reality."""
    return 10.0 ** rng.uniform(0, 2, (steps, len(TERMS))) * 10.0 ** np.linspace(0, 9, len(TERMS))


# ---------------------------------------------------------------------- work


def test_work_has_each_term_once_in_order():
    first, per_window = ["step", "parameter"], ["narrow multiply-add", "other multiply-add", "sequence element"]
    recurrent = ["recurrent multiply-add", "recurrent weight read", "recurrent state"]
    assert list(TERMS) == [*first, *recurrent, *per_window, "attention score"]
    amounts = work(Profile(1, 10 + 100 + 1000, 10, 100, 7, 11, 13, 17), 2)
    assert amounts.tolist() == [1, 1, 20, 7, 22, 200, 2000, 26, 34]


@given(profile=profiles(), first=batch_sizes, second=batch_sizes)
def test_work_is_linear_in_the_batch_but_for_what_a_step_does_once(profile, first, second):
    one, other, both = (work(profile, size) for size in (first, second, first + second))
    np.testing.assert_array_equal(both[PER_WINDOW], one[PER_WINDOW] + other[PER_WINDOW])
    np.testing.assert_array_equal(both[PER_STEP], one[PER_STEP])


@given(first=profiles(), second=profiles(), batch_size=batch_sizes)
def test_work_adds_up_over_profiles_but_for_the_step_itself(first, second, batch_size):
    together = work(first + second, batch_size)
    np.testing.assert_array_equal(together[1:], (work(first, batch_size) + work(second, batch_size))[1:])
    assert together[0] == 1


# ---------------------------------------------------------------------- fitting


@pytest.mark.parametrize("seed", range(5))
def test_known_speeds_are_found_again_from_exact_timings(seed):
    """Also where three speeds are 0, and where a kind of work never occurs."""
    rng, scale = np.random.default_rng(seed), 10.0 ** np.linspace(0, 9, len(TERMS))
    amounts = measured_amounts(rng, 40)
    speeds = rng.uniform(0.5, 2, len(TERMS)) / scale
    unused, *zero = rng.choice(len(TERMS), 4, replace=False)
    speeds[[unused, *zero]] = amounts[:, unused] = 0.0
    found = fit_speeds(amounts, amounts @ speeds)
    np.testing.assert_allclose(found * scale, speeds * scale, rtol=1e-6, atol=1e-12)
    assert found[unused] == 0


@given(seed=st.integers(0, 10_000), steps=st.integers(1, 30), noise=st.floats(0, 2))
def test_speeds_are_never_negative_and_always_finite(seed, steps, noise):
    rng = np.random.default_rng(seed)
    speeds = fit_speeds(measured_amounts(rng, steps), rng.lognormal(0, noise, steps))
    assert np.isfinite(speeds).all()
    assert (speeds >= 0).all()


def relative_error(amounts, seconds, speeds):
    return float((((amounts @ speeds) / seconds - 1) ** 2).sum())


def best_of_all_subsets(amounts, seconds):
    """Smallest error by brute force: the optimum is an ordinary least-squares fit on the terms that it uses."""
    terms, found = amounts.shape[1], [float(len(seconds))]  # without any term every relative error is 1
    for chosen in itertools.chain.from_iterable(itertools.combinations(range(terms), n) for n in range(1, terms + 1)):
        part = np.zeros(terms)
        relative = amounts[:, chosen] / seconds[:, None]
        part[list(chosen)] = np.linalg.lstsq(relative, np.ones(len(seconds)), rcond=None)[0]
        if (part >= 0).all():
            found.append(relative_error(amounts, seconds, part))
    return min(found)


@pytest.mark.parametrize("seed", range(10))
def test_no_other_non_negative_speeds_have_a_smaller_relative_error(seed):
    """The error is relative: steps that are ten times as long in amounts and seconds change nothing."""
    rng = np.random.default_rng(seed)
    amounts, seconds = rng.uniform(0.1, 3, (12, 4)), rng.uniform(0.01, 10, 12)
    fitted = fit_speeds(amounts, seconds)
    best = best_of_all_subsets(amounts, seconds)
    assert relative_error(amounts, seconds, fitted) == pytest.approx(best, rel=1e-9)
    factor = np.where(np.arange(12) % 3 == 0, 10.0, 1.0)
    again = fit_speeds(amounts * factor[:, None], seconds * factor)
    np.testing.assert_allclose(again, fitted, rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------------- the model


def model(**speeds):
    return CostModel("a device", "2026-11-24T17:00:00+00:00", speeds, dict.fromkeys(speeds, 0.25), 300.0, 0.05)


def only(**seconds):
    """Speeds that are zero but for the named terms, with ``_`` for other characters."""
    names = [term.replace(" ", "_").replace("-", "_") for term in TERMS]
    assert set(seconds) <= set(names)
    return tuple(seconds.get(name, 0.0) for name in names)


def test_a_model_survives_json_and_has_this_machines_precisions(speeds):
    assert CostModel.from_dict(json.loads(json.dumps(speeds.as_dict()))) == speeds
    assert tuple(speeds.speeds) == supported_precisions(torch.device("cpu"))  # other tests rely on it


@given(profile=profiles(), batch_size=batch_sizes)
def test_a_step_takes_the_sum_over_its_work(profile, batch_size):
    speeds = tuple(1.0 / (index + 1) for index in range(len(TERMS)))
    expected = math.fsum(amount * speed for amount, speed in zip(work(profile, batch_size), speeds, strict=True))
    one = model(float32=speeds)
    assert one.step_seconds(profile, batch_size, "float32") == pytest.approx(expected)
    assert one.faster_precision(profile, batch_size) == "float32"  # the device has no bfloat16


def test_the_faster_precision_depends_on_the_shape_of_the_step():
    """bfloat16 starts later and multiplies faster: it wins beyond 1,024 multiply-adds, and a tie is float32's."""
    both = model(bfloat16=only(step=2.0, other_multiply_add=2**-10), float32=only(step=1.0, other_multiply_add=2**-9))
    chosen = [both.faster_precision(Profile(multiply_adds=amount), 1) for amount in (0, 1023, 1024, 1025, 10**6)]
    assert chosen == ["float32", "float32", "float32", "bfloat16", "bfloat16"]
    assert both.faster_precision(Profile(multiply_adds=100), 16) == "bfloat16"  # the batch counts, too


def test_an_evaluation_takes_its_share_of_what_training_on_the_windows_takes(speeds):
    profile = Profile(1000, 5000, 2000, 500, 800, 300, 900, 40)
    for precision in speeds.speeds:
        expected = speeds.evaluation[precision] * 10 * speeds.step_seconds(profile, 32, precision)
        assert speeds.evaluation_seconds(profile, 32, 320, precision) == pytest.approx(expected)
        assert speeds.evaluation_seconds(profile, 32, 0, precision) == 0


# ---------------------------------------------------------------------- memory


@given(profile=profiles(), size=batch_sizes, more=st.integers(1, 4096), optimizer=optimizers, precision=precisions)
def test_memory_never_shrinks_with_the_batch_or_with_parameters(profile, size, more, optimizer, precision):
    here = memory_mb(profile, size, optimizer, precision)
    assert memory_mb(profile, size + more, optimizer, precision) >= here
    for kind in ("parameters", "recurrent_states", "sequence_elements"):
        larger = replace(profile, **{kind: getattr(profile, kind) + more})
        assert memory_mb(larger, size, optimizer, precision) >= here


@given(profile=profiles(), size=batch_sizes, optimizer=optimizers)
def test_memory_holds_at_least_weights_gradients_optimiser_and_the_best_weights(profile, size, optimizer):
    stored = 4 * profile.parameters * (3 + OPTIMIZERS[optimizer].states) / 1e6
    wide, narrow = (memory_mb(profile, size, optimizer, precision) for precision in ("float32", "bfloat16"))
    assert wide >= narrow >= stored * (1 - 1e-12)


@given(profile=profiles(), size=batch_sizes, optimizer=optimizers, precision=precisions, networks=st.integers(2, 20))
def test_each_further_network_adds_its_own_numbers_and_no_activations(profile, size, optimizer, precision, networks):
    """Weights, gradients, the optimiser's numbers and the best weights; the activations of a step exist once."""
    one, many = (memory_mb(profile, size, optimizer, precision, networks=n) for n in (1, networks))
    stored = 4 * profile.parameters * (3 + OPTIMIZERS[optimizer].states) * (networks - 1) / 1e6
    assert one == memory_mb(profile, size, optimizer, precision)
    assert stored * (1 - 1e-9) <= many - one + 1e-9 * many <= 1.3 * stored + 2e-9 * many


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_optimisers_store_as_many_numbers_as_memory_counts(name):
    weight = torch.nn.Parameter(torch.randn(5, 3))
    optimizer = OPTIMIZERS[name].make([weight], 0.01)
    (weight**2).sum().backward()
    optimizer.step()
    stored = [value for value in optimizer.state[weight].values() if torch.is_tensor(value) and value.shape == (5, 3)]
    assert len(stored) == OPTIMIZERS[name].states
