"""The machine's speed: one small real measurement; then its cache file, and when it is measured again."""

import json
import math
from dataclasses import replace

import pytest
import torch

from builders.trainings import CPU
from cnn_lstm_hyperopt.config import parse_space
from cnn_lstm_hyperopt.models import network_config
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.training import machine_benchmark
from cnn_lstm_hyperopt.training.cost_model import TERMS
from cnn_lstm_hyperopt.training.machine_benchmark import CACHE_VARIABLE, cache_file, calibrate, calibration_for
from cnn_lstm_hyperopt.training.runtime.precision import supported_precisions


@pytest.fixture(scope="module")
def measured():
    """A measurement of a second: three small configurations, one timed step each."""
    small = {"CONFIGURATIONS": 3, "STEPS": 1, "LARGEST_PARAMETERS": 500_000, "STEP_SECONDS": 0.005}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in small.items():
            patch.setattr(machine_benchmark, name, value)
        threads, state = torch.get_num_threads(), torch.get_rng_state()
        model = calibrate(CPU)
        assert torch.get_num_threads() == threads
        assert torch.equal(torch.get_rng_state(), state)
        return model


def test_a_measurement_is_finite_and_describes_the_machine(measured):
    assert measured.device == machine_benchmark.device_name(CPU)
    assert tuple(measured.speeds) == tuple(measured.evaluation) == supported_precisions(CPU)
    assert measured.measured.endswith("+00:00")
    assert measured.process_mb >= 0
    assert math.isfinite(measured.error)
    for speeds in measured.speeds.values():
        assert len(speeds) == len(TERMS)
        assert all(type(speed) is float and math.isfinite(speed) and speed >= 0 for speed in speeds)
    assert all(0 < share < math.inf for share in measured.evaluation.values())


def test_predictions_of_a_measurement_are_positive_and_finite_all_over_the_space(measured):
    space, _ = parse_space(None)
    for number in range(50):
        params = random_configuration(space, 5, number)
        cost = network_config(params, input_dim=11, n_classes=2, has_regression=True).cost(lookback=60)
        for precision in measured.speeds:
            assert 0 < measured.step_seconds(cost, 32, precision) < math.inf
            assert 0 < measured.evaluation_seconds(cost, 32, 100, precision) < math.inf


# ---------------------------------------------------------------------- the cache


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


def all_speeds(value):
    return {"speeds": {"float32": value}, "evaluation": {"float32": 1}}


BROKEN = [b"", b"{", b"[]", b"null", b"7", b'"speeds"', b"{}", b"\xef\xbb\xbf{}", b"\xff\xfe\x00\x80"]
BROKEN += [b"[" * 50_000, b'{"error": NaN}', b" " * 200_000, b'{"a\x1b[31m": 1, "a\x1b[31m": 2}']
WRONG = [
    all_speeds([1.0] * 9),  # no bfloat16
    {"speeds": {"float32": [1.0] * 9}, "evaluation": {"float32": 1, "bfloat16": 1}},
    *map(all_speeds, ([1.0] * 3, ["1"] * 9, [-1.0] * 9, [True] * 9, [10**350] * 9, [0] * 9)),
    {"speeds": {"\x1b[31m": []}},
    {"speeds": None},
    {"evaluation": {}},
    {"process_mb": -1},
    {"error": None},
    {"device": 5},
    {"terms": 5},
    {"terms": ["step", "parameter"]},
]


@pytest.mark.parametrize("content", [*BROKEN, *WRONG], ids=lambda content: str(content)[:50])
def test_a_cache_with_wrong_content_is_ignored_with_a_warning_and_replaced(cache, speeds, caplog, content):
    if isinstance(content, dict):
        if content == WRONG[0] and len(speeds.speeds) == 1:
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
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert cache_file(CPU).parent == tmp_path
    monkeypatch.setenv(CACHE_VARIABLE, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_file(CPU).parent.name == "cnn-lstm-hyperopt"
    assert tmp_path in cache_file(CPU).parents


def test_another_build_of_torch_or_another_kind_of_arithmetic_has_its_own_speeds(monkeypatch):
    here, others = cache_file(CPU), []
    assert here.name.isascii()
    assert here.name.removesuffix(".json").replace("-", "").isalnum()
    for target, value in [
        ("torch.__version__", "9.9.9"),
        ("torch.backends.cpu.get_cpu_capability", lambda: "SOMETHING"),
        ("platform.machine", lambda: "riscv64"),
        ("cnn_lstm_hyperopt.training.machine_benchmark.supported_precisions", lambda device: ("float32", "float16")),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(target, value)
            others.append(cache_file(CPU))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    assert len({here, *others, cache_file(torch.device("cuda"))}) == 6
