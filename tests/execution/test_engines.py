"""Engines by name, the settings that belong to them, and the places of workers on GPUs."""

import socket
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.config.schema import ENGINES as DECLARED
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.execution import ENGINES, Gpu, places, resolve_workers
from cnn_lstm_hyperopt.execution.placement import CONTEXT_MB, VISIBLE, visible_names, workers_per_gpu

REPOSITORY = Path(__file__).parents[2]
FOUR = [Gpu(str(number), 16_000.0) for number in range(4)]


def test_settings_and_documentation_know_every_engine():
    assert list(DECLARED) == list(ENGINES) == ["local", "ray"]
    page = (REPOSITORY / "docs/how-to/scale-out.md").read_text(encoding="utf-8")
    for name, engine in ENGINES.items():
        assert (engine.place, engine.description) == (DECLARED[name]["place"], DECLARED[name]["description"])
        assert f"--engine {name}" in page


@pytest.mark.parametrize(
    ("settings", "field", "code"),
    [
        ({"engine": "dask"}, "engine", None),
        ({"ray_address": "auto", "workers": 4}, "ray_address", "address-without-ray"),
        ({"engine": "ray", "ray_address": "auto"}, "workers", "workers-of-cluster"),
        ({"engine": "ray", "ray_address": "ray://head:10001", "workers": 4}, "ray_address", "not-an-address"),
        ({"engine": "ray", "ray_address": "head", "workers": 4}, "ray_address", "not-an-address"),
        ({"gpus_per_trial": 0.5, "training": {"device": "cpu"}}, "gpus_per_trial", "gpus-on-cpu"),
        ({"engine": "ray", "study": {"storage": "postgresql+psycopg://me@db/x"}}, "engine", "ray-with-server"),
        ({"gpus_per_trial": 0}, "gpus_per_trial", None),
        ({"gpus_per_trial": 2}, "gpus_per_trial", None),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], field: str, code: str | None):
    with pytest.raises(ConfigError) as caught:
        load_settings(settings, environment={})
    assert caught.value.field.endswith(field)
    assert code in (None, caught.value.code)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        ENGINES["ray"].check(load_settings({"engine": "ray"}, environment={}))
    assert (caught.value.field, caught.value.code) == ("engine", "missing-extra")
    assert "cnn-lstm-hyperopt[ray]" in str(caught.value)


def test_an_address_without_a_cluster_is_refused_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = load_settings({"engine": "ray", "ray_address": f"127.0.0.1:{port}", "workers": 2}, environment={})
    with pytest.raises(ConfigError) as caught:
        ENGINES["ray"].check(settings)
    assert (caught.value.field, caught.value.code) == ("ray_address", "no-cluster")


# ---------------------------------------------------------------------- places on GPUs


def test_workers_take_turns_over_the_gpus():
    assert [gpu.name for gpu in places(FOUR, 6, None, None)] == ["0", "1", "2", "3", "0", "1"]
    assert [gpu.name for gpu in places(FOUR[:2], 4, 0.5, None)] == ["0", "1", "0", "1"]


def test_a_gpu_with_little_memory_gets_fewer_workers():
    small, large = Gpu("small", 4_000.0), Gpu("large", 24_000.0)
    assert workers_per_gpu(small, 0.25, 1_500.0) == 2
    assert workers_per_gpu(large, 0.25, 1_500.0) == 4
    assert [gpu.name for gpu in places([small, large], 6, 0.25, 1_500.0)] == ["small", "large"] * 2 + ["large"] * 2
    with pytest.raises(ConfigError) as caught:
        places([small, large], 7, 0.25, 1_500.0)
    assert (caught.value.field, caught.value.code) == ("workers", "too-many-workers")


@given(
    memory=st.lists(st.floats(1_000, 80_000), min_size=1, max_size=8),
    share=st.sampled_from([0.1, 0.2, 0.25, 1 / 3, 0.5, 0.7, 1.0]),
    trial_mb=st.none() | st.floats(100, 10_000),
    data=st.data(),
)
def test_no_gpu_has_more_workers_than_its_share_and_memory_allow(memory, share, trial_mb, data):
    gpus = [Gpu(str(number), size) for number, size in enumerate(memory)]
    most = [workers_per_gpu(gpu, share, trial_mb) for gpu in gpus]
    workers = data.draw(st.integers(1, sum(most)))
    chosen = places(gpus, workers, share, trial_mb)
    counts = [chosen.count(gpu) for gpu in gpus]
    assert sum(counts) == workers
    for gpu, count, bound in zip(gpus, counts, most, strict=True):
        assert count <= bound
        assert count * share <= 1 + 1e-6
        assert count <= 1 or trial_mb is None or count * (trial_mb + CONTEXT_MB) <= gpu.memory_mb
    free = [count < bound for count, bound in zip(counts, most, strict=True)]
    assert all(max(counts) - count <= 1 for count, has_place in zip(counts, free, strict=True) if has_place)
    assert all(a is not b or len(gpus) == 1 or share <= 0.5 for a, b in pairwise(chosen))


def test_auto_fills_the_gpus_up_to_the_number_of_trials():
    def workers(n_trials: int = 100, **more: Any) -> int:
        return resolve_workers(load_settings({"study": {"n_trials": n_trials}, **more}, environment={}), "cuda", FOUR)

    assert workers() == 4
    assert workers(gpus_per_trial=0.25) == 16
    assert workers(gpus_per_trial=0.25, limits={"memory_mb": 7_500}) == 8
    assert workers(3, gpus_per_trial=0.25) == 3
    assert workers(workers=7) == 7


def test_gpus_keep_the_names_that_the_user_made_visible():
    assert visible_names({VISIBLE: "2, GPU-3f"}, 2) == ["2", "GPU-3f"]
    assert visible_names({}, 3) == ["0", "1", "2"]
    assert visible_names({VISIBLE: "0,1,2"}, 2) == ["0", "1"]  # torch sees fewer
