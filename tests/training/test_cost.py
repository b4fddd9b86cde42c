"""The cost model, and the machine's speed: one small real measurement, its cache file, and when it is measured again."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from builders.trainings import CPU
from cnn_lstm_hyperopt.config import parse_space
from cnn_lstm_hyperopt.models import Profile, network_config
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.training import machine_benchmark
from cnn_lstm_hyperopt.training.cost_model import EARLIER_TERMS, TERMS, CostModel, fit_speeds, memory_mb, work
from cnn_lstm_hyperopt.training.machine_benchmark import CACHE_VARIABLE, cache_file, calibrate, calibration_for
from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS
from cnn_lstm_hyperopt.training.runtime.precision import supported_precisions

PER_STEP = [TERMS.index(name) for name in ("step", "parameter", "recurrent weight read", "layer", "GRU step")]
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


def test_work_has_each_term_once_in_order():
    assert list(TERMS) == [
        *("step", "parameter", "recurrent multiply-add", "recurrent weight read", "recurrent state"),
        *("narrow multiply-add", "other multiply-add", "sequence element", "attention score", "layer", "GRU step"),
    ]
    amounts = work(Profile(1, 10 + 100 + 1000, 10, 100, 7, 11, 13, 17, layers=19, gru_steps=23), 2)
    assert amounts.tolist() == [1, 1, 20, 7, 22, 200, 2000, 26, 34, 19, 23]


@given(profile=profiles(), other=profiles(), size=batch_sizes, more=batch_sizes)
def test_work_is_linear_in_the_batch_and_in_profiles_but_for_what_a_step_does_once(profile, other, size, more):
    one, two, both = (work(profile, each) for each in (size, more, size + more))
    np.testing.assert_array_equal(both[PER_WINDOW], one[PER_WINDOW] + two[PER_WINDOW])
    np.testing.assert_array_equal(both[PER_STEP], one[PER_STEP])
    together = work(profile + other, size)
    np.testing.assert_array_equal(together[1:], (one + work(other, size))[1:])
    assert together[0] == 1


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
    terms, found = range(amounts.shape[1]), [float(len(seconds))]  # without any term every relative error is 1
    for chosen in itertools.chain.from_iterable(itertools.combinations(terms, n + 1) for n in terms):
        part, relative = np.zeros(len(terms)), amounts[:, chosen] / seconds[:, None]
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


def model(**speeds):
    return CostModel("a device", "2026-11-24T17:00:00+00:00", speeds, dict.fromkeys(speeds, 0.25), 300.0, 0.05)


def test_a_model_survives_json_and_has_this_machines_precisions(speeds):
    assert CostModel.from_dict(json.loads(json.dumps(speeds.as_dict()))) == speeds
    assert tuple(speeds.speeds) == supported_precisions(torch.device("cpu"))  # other tests rely on it


@given(profile=profiles(), batch_size=batch_sizes)
def test_a_step_takes_the_sum_over_its_work_and_an_evaluation_its_share(profile, batch_size):
    speeds = tuple(1.0 / (index + 1) for index in range(len(TERMS)))
    expected = math.fsum(amount * speed for amount, speed in zip(work(profile, batch_size), speeds, strict=True))
    one = model(float32=speeds)
    assert one.step_seconds(profile, batch_size, "float32") == pytest.approx(expected)
    evaluations = [one.evaluation_seconds(profile, batch_size, n * batch_size, "float32") for n in (0, 10)]
    assert evaluations == pytest.approx([0, 0.25 * 10 * expected])
    assert one.faster_precision(profile, batch_size) == "float32"  # the device has no bfloat16


def test_the_faster_precision_depends_on_the_shape_of_the_step():
    """bfloat16 starts later and multiplies faster: it wins beyond 1,024 multiply-adds, and a tie is float32's."""
    slow, fast = ((step, *[0.0] * 5, each, *[0.0] * (len(TERMS) - 7)) for step, each in ((1.0, 2**-9), (2.0, 2**-10)))
    both = model(bfloat16=fast, float32=slow)
    chosen = [both.faster_precision(Profile(multiply_adds=amount), 1) for amount in (0, 1023, 1024, 1025, 10**6)]
    assert chosen == ["float32", "float32", "float32", "bfloat16", "bfloat16"]
    assert both.faster_precision(Profile(multiply_adds=100), 16) == "bfloat16"  # the batch counts, too


@given(profile=profiles(), size=batch_sizes, more=st.integers(1, 4096), optimizer=optimizers, precision=precisions)
def test_memory_never_shrinks_with_the_batch_or_with_parameters(profile, size, more, optimizer, precision):
    here = memory_mb(profile, size, optimizer, precision)
    assert memory_mb(profile, size + more, optimizer, precision) >= here
    for kind in ("parameters", "recurrent_states", "sequence_elements"):
        larger = replace(profile, **{kind: getattr(profile, kind) + more})
        assert memory_mb(larger, size, optimizer, precision) >= here
    stored = 4 * profile.parameters * (3 + OPTIMIZERS[optimizer].states) / 1e6
    wide, narrow = (memory_mb(profile, size, optimizer, kind) for kind in ("float32", "bfloat16"))
    assert wide >= narrow >= stored * (1 - 1e-12)  # weights, gradients, the optimiser's numbers, the best weights


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


def test_a_measurement_describes_the_machine_and_predicts_finite_seconds_all_over_the_space(monkeypatch):
    """A measurement of a second: three small configurations, one timed step each."""
    small = {
        "CONFIGURATIONS": {"classic": 2, "full": 1},
        "STEPS": 1,
        "LARGEST_PARAMETERS": 500_000,
        "STEP_SECONDS": 0.005,
    }
    for name, value in small.items():
        monkeypatch.setattr(machine_benchmark, name, value)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    measured = calibrate(CPU)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert measured.device == machine_benchmark.device_name(CPU)
    assert tuple(measured.speeds) == tuple(measured.evaluation) == supported_precisions(CPU)
    assert (measured.measured[-6:], measured.process_mb >= 0, math.isfinite(measured.error)) == ("+00:00", True, True)
    for speeds in measured.speeds.values():
        assert [type(speed) is float and 0 <= speed < math.inf for speed in speeds] == [True] * len(TERMS)
    space, _ = parse_space(None)
    for number in range(50):
        params = random_configuration(space, 5, number)
        cost = network_config(params, input_dim=11, n_classes=2, has_regression=True).cost(lookback=60)
        for precision in measured.speeds:
            assert 0 < measured.step_seconds(cost, 32, precision) < math.inf
            assert 0 < measured.evaluation_seconds(cost, 32, 100, precision) < math.inf


@pytest.fixture
def cache(monkeypatch, tmp_path, speeds):
    """An empty cache, and a measurement whose error is its number."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    numbers = iter(range(1, 99))
    monkeypatch.setattr(machine_benchmark, "calibrate", lambda device: replace(speeds, error=float(next(numbers))))
    path = cache_file(CPU)
    path.parent.mkdir()
    return path


def ask(**options):
    """The number of the measurement, and whether it was announced."""
    announced = []
    return calibration_for(CPU, on_start=lambda: announced.append(True), **options).error, bool(announced)


def test_the_first_call_measures_and_the_next_read_the_cache(cache):
    assert [ask(), ask(), ask()] == [(1, True), (1, False), (1, False)]
    assert list(cache.parent.iterdir()) == [cache]
    assert [ask(remeasure=True), ask()] == [(2, True), (2, False)]


BROKEN = [b"", b"{", b"[]", b"null", b"7", b'"speeds"', b"{}", b"\xef\xbb\xbf{}", b"\xff\xfe\x00\x80"]
BROKEN += [b"[" * 50_000, b'{"error": NaN}', b" " * 200_000, b'{"a\x1b[31m": 1, "a\x1b[31m": 2}']
N = len(TERMS)
NUMBERS = [[1.0] * 3, ["1"] * N, [-1.0] * N, [True] * N, [10**350] * N, [0] * N, [1.0] * N]  # the last: no bfloat16
WRONG = [{"speeds": {"float32": each}, "evaluation": {"float32": 1}} for each in NUMBERS]
WRONG += [{"speeds": {"float32": [1.0] * N}, "evaluation": {"float32": 1, "bfloat16": 1}}, {"terms": ["step"]}]
WRONG += [{"speeds": {"\x1b[31m": []}}, {"speeds": None}, {"evaluation": {}}, {"process_mb": -1}, {"error": None}]
WRONG += [{"device": 5}, {"terms": 5}]
EARLIER = {"speeds": {"float32": [1.0] * 9}, "evaluation": {"float32": 0.5}, "terms": list(EARLIER_TERMS)}
WRONG += [EARLIER]


def test_a_study_of_an_earlier_version_has_no_seconds_for_new_kinds_of_work(speeds):
    found = CostModel.from_dict({**speeds.as_dict(), **EARLIER})
    assert found.speeds["float32"] == (*[1.0] * 9, *[0.0] * (N - 9))


@pytest.mark.parametrize("content", [*BROKEN, *WRONG], ids=lambda content: str(content)[:50])
def test_a_cache_with_wrong_content_is_ignored_with_a_warning_and_replaced(cache, speeds, caplog, content):
    if isinstance(content, dict):
        if content is WRONG[6] and len(speeds.speeds) == 1:
            pytest.skip("this processor has no bfloat16 either")
        content = json.dumps({**speeds.as_dict(), **content}).encode()
    cache.write_bytes(content)
    assert [ask(), ask()] == [(1, True), (1, False)]
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert str(cache) in warning
    assert "\x1b" not in warning
    assert json.loads(cache.read_text(encoding="utf-8"))["terms"] == list(TERMS)


@pytest.mark.parametrize("place", ["below a file", "a directory"])
def test_a_cache_that_can_not_be_written_is_a_warning(cache, monkeypatch, tmp_path, caplog, place):
    if place == "a directory":
        cache.mkdir()
    else:
        (tmp_path / "a_file").write_text("x")
        monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "a_file" / "cache"))
    assert [ask(), ask()] == [(1, True), (2, True)]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2


def test_the_cache_is_in_the_folder_of_the_variable_or_of_the_user(monkeypatch, tmp_path):
    for name, value in {CACHE_VARIABLE: "", "XDG_CACHE_HOME": str(tmp_path / "xdg"), "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    assert cache_file(CPU).parent.name == "cnn-lstm-hyperopt"
    assert tmp_path in cache_file(CPU).parents
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert cache_file(CPU).parent == tmp_path


def test_another_build_of_torch_or_another_kind_of_arithmetic_has_its_own_speeds(monkeypatch):
    here, others = cache_file(CPU), []
    assert here.name.isascii()
    assert here.name.removesuffix(".json").replace("-", "").isalnum()
    changed = {"torch.__version__": "9.9.9", "torch.backends.cpu.get_cpu_capability": lambda: "SOMETHING"}
    changed |= {"platform.machine": lambda: "riscv64"}
    changed |= {f"{machine_benchmark.__name__}.supported_precisions": lambda device: ("float32", "float16")}
    for target, value in changed.items():
        with monkeypatch.context() as patch:
            patch.setattr(target, value)
            others.append(cache_file(CPU))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    assert len({here, *others, cache_file(torch.device("cuda"))}) == 6
