"""The cost model: speeds are found again from timings, predictions add up, and memory grows with what it is needed for."""

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


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    """Any consistent profile, in numbers that float64 holds exactly."""
    amount = st.integers(0, 10**9)
    recurrent, narrow, rest = draw(amount), draw(amount), draw(amount)
    return Profile(
        parameters=draw(amount),
        multiply_adds=recurrent + narrow + rest,
        recurrent_multiply_adds=recurrent,
        narrow_multiply_adds=narrow,
        recurrent_reads=draw(amount),
        recurrent_states=draw(amount),
        sequence_elements=draw(amount),
        attention_scores=draw(amount),
    )


batch_sizes = st.integers(1, 4096)


def measured_amounts(rng: np.random.Generator, steps: int, terms: int = len(TERMS)) -> np.ndarray:
    """Work of ``steps`` steps whose kinds differ by many orders of magnitude, as they do in life."""
    return 10.0 ** rng.uniform(0, 2, (steps, terms)) * 10.0 ** np.linspace(0, 9, terms)


# ---------------------------------------------------------------------- work


def test_work_names_each_term_once_in_order():
    profile = Profile(
        parameters=1,
        multiply_adds=10 + 100 + 1000,
        recurrent_multiply_adds=10,
        narrow_multiply_adds=100,
        recurrent_reads=7,
        recurrent_states=11,
        sequence_elements=13,
        attention_scores=17,
    )
    assert dict(zip(TERMS, work(profile, 2), strict=True)) == {
        "step": 1,
        "parameter": 1,
        "recurrent multiply-add": 20,
        "recurrent weight read": 7,
        "recurrent state": 22,
        "narrow multiply-add": 200,
        "other multiply-add": 2000,
        "sequence element": 26,
        "attention score": 34,
    }


@given(profile=profiles(), first=batch_sizes, second=batch_sizes)
def test_work_is_linear_in_the_batch_but_for_what_a_step_does_once(profile, first, second):
    one, other, both = (work(profile, size) for size in (first, second, first + second))
    np.testing.assert_array_equal(both[PER_WINDOW], one[PER_WINDOW] + other[PER_WINDOW])
    np.testing.assert_array_equal(both[PER_STEP], one[PER_STEP])


@given(first=profiles(), second=profiles(), batch_size=batch_sizes)
def test_work_adds_up_over_profiles_but_for_the_step_itself(first, second, batch_size):
    apart = work(first, batch_size) + work(second, batch_size)
    together = work(first + second, batch_size)
    np.testing.assert_array_equal(together[1:], apart[1:])
    assert together[0] == 1


# ---------------------------------------------------------------------- fitting


@pytest.mark.parametrize("seed", range(5))
def test_known_speeds_are_found_again_from_exact_timings(seed):
    rng = np.random.default_rng(seed)
    amounts = measured_amounts(rng, 40)
    speeds = 10.0 ** -np.linspace(0, 9, len(TERMS)) * rng.uniform(0.5, 2, len(TERMS))
    speeds[rng.choice(len(TERMS), 3, replace=False)] = 0.0
    np.testing.assert_allclose(fit_speeds(amounts, amounts @ speeds), speeds, rtol=1e-6, atol=1e-18)


@given(seed=st.integers(0, 10_000), steps=st.integers(1, 30), noise=st.floats(0, 2))
def test_speeds_are_never_negative_and_always_finite(seed, steps, noise):
    rng = np.random.default_rng(seed)
    amounts = measured_amounts(rng, steps)
    speeds = fit_speeds(amounts, rng.lognormal(0, noise, steps))
    assert np.isfinite(speeds).all()
    assert (speeds >= 0).all()


def test_a_kind_of_work_that_nobody_did_gets_no_speed_and_disturbs_no_other():
    rng = np.random.default_rng(3)
    amounts = measured_amounts(rng, 30)
    amounts[:, [3, 8]] = 0.0
    speeds = 10.0 ** -np.linspace(0, 9, len(TERMS))
    speeds[[3, 8]] = 0.0
    found = fit_speeds(amounts, amounts @ speeds)
    assert found[3] == found[8] == 0
    np.testing.assert_allclose(found, speeds, rtol=1e-6)


def relative_error(amounts: np.ndarray, seconds: np.ndarray, speeds: np.ndarray) -> float:
    return float((((amounts @ speeds) / seconds - 1) ** 2).sum())


def best_of_all_subsets(amounts: np.ndarray, seconds: np.ndarray) -> float:
    """Smallest error by brute force: the optimum is an ordinary least-squares fit on the terms that it uses."""
    terms, found = amounts.shape[1], [float(len(seconds))]  # with no term at all every relative error is 1
    for size in range(1, terms + 1):
        for chosen in itertools.combinations(range(terms), size):
            part = np.zeros(terms)
            relative = amounts[:, chosen] / seconds[:, None]
            part[list(chosen)] = np.linalg.lstsq(relative, np.ones(len(seconds)), rcond=None)[0]
            if (part >= 0).all():
                found.append(relative_error(amounts, seconds, part))
    return min(found)


@pytest.mark.parametrize("seed", range(10))
def test_no_other_non_negative_speeds_have_a_smaller_relative_error(seed):
    rng = np.random.default_rng(seed)
    amounts, seconds = rng.uniform(0.1, 3, (12, 4)), rng.uniform(0.01, 10, 12)
    fitted = relative_error(amounts, seconds, fit_speeds(amounts, seconds))
    assert fitted == pytest.approx(best_of_all_subsets(amounts, seconds), rel=1e-9)


def test_a_slow_step_weighs_no_more_than_a_quick_one():
    """The relative error counts: the same step ten times over, amounts and seconds, changes nothing."""
    rng = np.random.default_rng(1)
    amounts, seconds = rng.uniform(0.1, 3, (12, 4)), rng.uniform(0.01, 10, 12)
    factor = np.where(np.arange(12) % 3 == 0, 10.0, 1.0)
    np.testing.assert_allclose(
        fit_speeds(amounts * factor[:, None], seconds * factor), fit_speeds(amounts, seconds), rtol=1e-9
    )


# ---------------------------------------------------------------------- the model


def model(**speeds: tuple[float, ...]) -> CostModel:
    return CostModel("a device", "2026-11-24T17:00:00+00:00", speeds, dict.fromkeys(speeds, 0.25), 300.0, 0.05)


def only(**seconds: float) -> tuple[float, ...]:
    """Speeds that are zero but for the named terms, with ``_`` for what no name can hold."""
    names = [term.replace(" ", "_").replace("-", "_") for term in TERMS]
    assert set(seconds) <= set(names)
    return tuple(seconds.get(name, 0.0) for name in names)


def test_a_model_survives_json(speeds):
    assert CostModel.from_dict(json.loads(json.dumps(speeds.as_dict()))) == speeds


@pytest.mark.parametrize("terms", [TERMS[:-1], (*TERMS, "another"), (TERMS[1], TERMS[0], *TERMS[2:]), ()])
def test_speeds_of_other_kinds_of_work_are_refused(speeds, terms):
    with pytest.raises(ValueError, match="another version"):
        CostModel.from_dict({**speeds.as_dict(), "terms": list(terms)})


@given(profile=profiles(), batch_size=batch_sizes)
def test_a_step_takes_the_sum_over_its_work(profile, batch_size):
    speeds = tuple(1.0 / (index + 1) for index in range(len(TERMS)))
    expected = math.fsum(amount * speed for amount, speed in zip(work(profile, batch_size), speeds, strict=True))
    assert model(float32=speeds).step_seconds(profile, batch_size, "float32") == pytest.approx(expected)


def test_the_faster_precision_depends_on_the_shape_of_the_step():
    """bfloat16 starts later and multiplies faster: it wins beyond 1,024 multiply-adds, and a tie is float32's."""
    both = model(bfloat16=only(step=2.0, other_multiply_add=2**-10), float32=only(step=1.0, other_multiply_add=2**-9))
    chosen = [both.faster_precision(Profile(multiply_adds=amount), 1) for amount in (0, 1023, 1024, 1025, 10**6)]
    assert chosen == ["float32", "float32", "float32", "bfloat16", "bfloat16"]
    assert both.faster_precision(Profile(multiply_adds=100), 16) == "bfloat16"  # the batch counts, too


@given(profile=profiles(), batch_size=batch_sizes)
def test_a_device_without_bfloat16_computes_in_float32(profile, batch_size):
    assert model(float32=only(step=1.0)).faster_precision(profile, batch_size) == "float32"


def test_an_evaluation_takes_its_share_of_what_training_on_the_windows_takes(speeds):
    profile = Profile(1000, 5000, 2000, 500, 800, 300, 900, 40)
    for precision in speeds.speeds:
        step = speeds.step_seconds(profile, 32, precision)
        share = speeds.evaluation[precision]
        assert speeds.evaluation_seconds(profile, 32, 320, precision) == pytest.approx(share * 10 * step)
        assert speeds.evaluation_seconds(profile, 32, 0, precision) == 0


def test_the_speeds_of_the_tests_are_those_of_this_machines_precisions(speeds):
    """What other tests rely on."""
    assert tuple(speeds.speeds) == supported_precisions(torch.device("cpu"))
    assert all(len(each) == len(TERMS) for each in speeds.speeds.values())


# ---------------------------------------------------------------------- memory


@given(
    profile=profiles(),
    batch_size=batch_sizes,
    more=st.integers(1, 4096),
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    precision=st.sampled_from(["float32", "bfloat16"]),
)
def test_memory_never_shrinks_with_the_batch_or_with_parameters(profile, batch_size, more, optimizer, precision):
    here = memory_mb(profile, batch_size, optimizer, precision)
    assert memory_mb(profile, batch_size + more, optimizer, precision) >= here
    larger = replace(profile, parameters=profile.parameters + more)
    assert memory_mb(larger, batch_size, optimizer, precision) >= here
    for kind in ("recurrent_states", "sequence_elements"):
        longer = replace(profile, **{kind: getattr(profile, kind) + more})
        assert memory_mb(longer, batch_size, optimizer, precision) >= here


@given(profile=profiles(), batch_size=batch_sizes, optimizer=st.sampled_from(sorted(OPTIMIZERS)))
def test_memory_holds_at_least_weights_gradients_optimiser_and_the_best_weights(profile, batch_size, optimizer):
    kept = 4 * profile.parameters * (3 + OPTIMIZERS[optimizer].states) / 1e6
    wide, narrow = (memory_mb(profile, batch_size, optimizer, precision) for precision in ("float32", "bfloat16"))
    assert wide >= narrow >= kept * (1 - 1e-12)


@given(
    profile=profiles(),
    batch_size=batch_sizes,
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    precision=st.sampled_from(["float32", "bfloat16"]),
    networks=st.integers(2, 20),
)
def test_each_network_beside_the_first_adds_what_is_kept_of_it_and_no_activations(
    profile, batch_size, optimizer, precision, networks
):
    """Weights, gradients, the optimiser's numbers and the best weights; what a step needs is there once."""
    one, many = (memory_mb(profile, batch_size, optimizer, precision, networks=n) for n in (1, networks))
    kept = 4 * profile.parameters * (3 + OPTIMIZERS[optimizer].states) / 1e6
    assert one == memory_mb(profile, batch_size, optimizer, precision)
    assert kept * (networks - 1) * (1 - 1e-9) <= many - one + 1e-9 * many <= 1.3 * kept * (networks - 1) + 2e-9 * many


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_optimisers_keep_as_many_numbers_as_memory_counts(name):
    weight = torch.nn.Parameter(torch.randn(5, 3))
    optimizer = OPTIMIZERS[name].make([weight], 0.01)
    (weight**2).sum().backward()
    optimizer.step()
    kept = [value for value in optimizer.state[weight].values() if torch.is_tensor(value) and value.shape == (5, 3)]
    assert len(kept) == OPTIMIZERS[name].states
