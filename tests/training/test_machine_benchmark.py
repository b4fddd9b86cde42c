"""The machine's speed: measured for real once, small; then where it is kept, and when it is measured anew."""

import json
import math
from dataclasses import replace

import pytest
import torch

from cnn_lstm_hyperopt.config import parse_space
from cnn_lstm_hyperopt.models import network_config
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.training import machine_benchmark as calibration
from cnn_lstm_hyperopt.training.cost_model import TERMS
from cnn_lstm_hyperopt.training.machine_benchmark import (
    CACHE_VARIABLE,
    cache_file,
    calibrate,
    calibration_for,
    device_name,
)
from cnn_lstm_hyperopt.training.runtime.precision import supported_precisions

CPU = torch.device("cpu")


# ---------------------------------------------------------------------- measuring


def small(patch, configurations):
    """A measurement of a second: few configurations, all of them small, one timed step each."""
    patch.setattr(calibration, "CONFIGURATIONS", configurations)
    patch.setattr(calibration, "STEPS", 1)
    patch.setattr(calibration, "LARGEST_PARAMETERS", 500_000)
    patch.setattr(calibration, "STEP_SECONDS", 0.005)


@pytest.fixture(scope="module")
def measured():
    with pytest.MonkeyPatch.context() as patch:
        small(patch, 3)
        return calibrate(CPU)


def test_a_measurement_says_what_it_was_made_with(measured):
    assert measured.device == device_name(CPU)
    assert tuple(measured.speeds) == tuple(measured.evaluation) == supported_precisions(CPU)
    assert measured.measured.endswith("+00:00")
    assert measured.process_mb >= 0
    assert math.isfinite(measured.error)


def test_measured_speeds_are_finite_and_none_is_negative(measured):
    for speeds in measured.speeds.values():
        assert len(speeds) == len(TERMS)
        assert all(type(speed) is float and math.isfinite(speed) and speed >= 0 for speed in speeds)
    assert all(0 < share < math.inf for share in measured.evaluation.values())


def test_predictions_of_a_measurement_are_positive_and_finite_all_over_the_space(measured):
    space, _ = parse_space(None)
    for number in range(50):
        params = random_configuration(space, 5, number)
        config = network_config(params, input_dim=11, n_classes=2, has_regression=True)
        for precision in measured.speeds:
            cost = config.cost(lookback=60)
            assert 0 < measured.step_seconds(cost, 32, precision) < math.inf
            assert 0 < measured.evaluation_seconds(cost, 32, 100, precision) < math.inf


def test_every_precision_of_the_device_is_measured_and_no_other(monkeypatch):
    small(monkeypatch, 1)
    monkeypatch.setattr(calibration, "supported_precisions", lambda device: ("float32",))
    assert tuple(calibrate(CPU).speeds) == ("float32",)


def test_global_randomness_and_threads_are_left_as_they_were(monkeypatch):
    """Or a user's script would go on differently the first time, when there is something to measure."""
    small(monkeypatch, 1)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    calibrate(CPU)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


# ---------------------------------------------------------------------- keeping


@pytest.fixture
def counted(monkeypatch, tmp_path, speeds):
    """An empty cache of its own, and a measurement that only counts: the n-th is told from the others by its error."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    made = []

    def measure(device):
        made.append(replace(speeds, error=float(len(made) + 1)))
        return made[-1]

    monkeypatch.setattr(calibration, "calibrate", measure)
    return made


def ask(**options):
    """The speeds, and whether a measurement was announced."""
    announced = []
    model = calibration_for(CPU, on_start=lambda: announced.append(True), **options)
    return model, len(announced)


def test_the_first_question_measures_and_the_next_are_answered_from_the_cache(counted):
    first, announced = ask()
    assert (len(counted), announced) == (1, 1)
    for _ in range(2):
        assert ask() == (first, 0)
    assert len(counted) == 1
    assert [path.name for path in cache_file(CPU).parent.iterdir()] == [cache_file(CPU).name]


def test_to_measure_anew_replaces_what_the_cache_holds(counted):
    ask()
    second, announced = ask(remeasure=True)
    assert (second.error, announced, len(counted)) == (2.0, 1, 2)
    assert ask() == (second, 0)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", '"speeds"', "{}", "\ufeff{}", json.dumps({"terms": list(TERMS)})],
    ids=lambda text: text[:12] or "empty",
)
def test_a_broken_cache_is_measured_anew_and_mended(counted, caplog, text):
    path = cache_file(CPU)
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    model, announced = ask()
    assert (len(counted), announced) == (1, 1)
    assert f"{path} is not used" in caplog.text
    assert ask() == (model, 0)


def test_a_cache_that_is_no_text_is_measured_anew(counted):
    path = cache_file(CPU)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff\xfe\x00\x80")
    assert ask()[1] == 1
    assert ask()[1] == 0


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"speeds": {"float32": [1.0] * 3}}, "speeds and evaluation must have the same precisions"),
        ({"speeds": {"float32": [1.0] * 3}, "evaluation": {"float32": 1}}, "speeds.float32 must be 9 finite numbers"),
        ({"speeds": {"float32": ["1"] * 9}, "evaluation": {"float32": 1}}, "speeds.float32 must be 9 finite numbers"),
        ({"speeds": {"float32": [-1.0] * 9}, "evaluation": {"float32": 1}}, "speeds.float32 must be 9 finite numbers"),
        ({"speeds": {"float32": [True] * 9}, "evaluation": {"float32": 1}}, "speeds.float32 must be 9 finite numbers"),
        (
            {"speeds": {"float32": [10**350] * 9}, "evaluation": {"float32": 1}},
            "speeds.float32 must be 9 finite numbers",
        ),
        ({"speeds": {"float32": [0] * 9}, "evaluation": {"float32": 1}}, "speeds.float32 must not all be 0"),
        ({"speeds": {"\x1b[31m": []}}, "speeds must have float32, and bfloat16 at most beside it"),
        ({"speeds": None}, "speeds must have float32, and bfloat16 at most beside it"),
        ({"evaluation": {}}, "evaluation must have float32, and bfloat16 at most beside it"),
        ({"process_mb": -1}, "process_mb must be a finite number and not negative"),
        ({"error": None}, "error must be a finite number and not negative"),
        ({"device": 5}, "device must be text"),
        ({"terms": 5}, "it was measured by another version"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_cache_with_wrong_values_is_told_and_measured_anew(counted, speeds, caplog, changed, reason):
    path = cache_file(CPU)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**speeds.as_dict(), **changed}), encoding="utf-8")
    model, announced = ask()
    assert announced == 1
    assert f"{path} is not used ({reason}" in caplog.text
    assert "\x1b" not in caplog.text
    assert ask() == (model, 0)


@pytest.mark.parametrize(
    "text", ["[" * 50_000, '{"error": NaN}', " " * 200_000, '{"a\x1b[31m": 1, "a\x1b[31m": 2}'], ids=len
)
def test_a_cache_of_whatever_text_is_measured_anew(counted, caplog, text):
    path = cache_file(CPU)
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    assert ask()[1] == 1
    assert f"{path} is not used (" in caplog.text
    assert "\x1b" not in caplog.text
    assert ask()[1] == 0


def test_speeds_of_another_version_are_measured_anew(counted, speeds):
    path = cache_file(CPU)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**speeds.as_dict(), "terms": ["step", "parameter"]}), encoding="utf-8")
    assert ask()[1] == 1
    assert json.loads(path.read_text(encoding="utf-8"))["terms"] == list(TERMS)
    assert ask()[1] == 0


def test_a_cache_that_can_not_be_written_is_no_error(counted, monkeypatch, tmp_path, caplog):
    (tmp_path / "a_file").write_text("x")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "a_file" / "cache"))
    for times in (1, 2):
        model, announced = ask()
        assert (model.error, announced) == (float(times), 1)
    assert "can't be kept in" in caplog.text


def test_a_directory_in_the_caches_place_is_no_error(counted, caplog):
    cache_file(CPU).mkdir(parents=True)
    assert ask()[1] == 1
    assert "can't be kept in" in caplog.text


def test_the_cache_lies_where_the_variable_says_and_else_with_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert cache_file(CPU).parent == tmp_path
    monkeypatch.setenv(CACHE_VARIABLE, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_file(CPU).parent.name == "cnn-lstm-hyperopt"
    assert tmp_path in cache_file(CPU).parents


def test_another_build_of_torch_or_another_kind_of_arithmetic_has_speeds_of_its_own(monkeypatch):
    here = cache_file(CPU)
    assert cache_file(CPU) == here
    assert set(here.name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")
    others = []
    for target, value in [
        ("torch.__version__", "9.9.9"),
        ("torch.backends.cpu.get_cpu_capability", lambda: "SOMETHING"),
        ("platform.machine", lambda: "riscv64"),
        ("cnn_lstm_hyperopt.training.machine_benchmark.supported_precisions", lambda device: ("float32", "float16")),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(target, value)
            others.append(cache_file(CPU))
    assert len({here, *others}) == 5
