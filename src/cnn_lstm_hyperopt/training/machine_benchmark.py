"""Measurement of this machine's speed, which takes about 20 seconds per device and is cached for all studies.

The measurement does not depend on a study's data or search space, so two studies with the same seed get the same predicted
costs. The result is stored in the user's cache directory, and each study stores a copy of the result that it uses.
"""

import logging
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cnn_lstm_hyperopt.config import Params, TrainingSettings, parse_space
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.models import NetworkConfig, Profile, network_config
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.training import TrainingConfig, ValueScale, predict
from cnn_lstm_hyperopt.training.cost_model import TERMS, CostModel, fit_speeds, work
from cnn_lstm_hyperopt.training.runtime.allocator import give_back_pages, keep_freed_pages
from cnn_lstm_hyperopt.training.runtime.device import one_thread, seeded_dropout
from cnn_lstm_hyperopt.training.runtime.memory import resident_mb
from cnn_lstm_hyperopt.training.runtime.precision import Precision, supported_precisions
from cnn_lstm_hyperopt.training.train_step import Stepper
from cnn_lstm_hyperopt.utils.atomic_io import CACHE_VARIABLE, cache_folder, write_json
from cnn_lstm_hyperopt.utils.reading import parse_json, read_text
from cnn_lstm_hyperopt.utils.text import printable

__all__ = ["CACHE_VARIABLE", "cache_file", "calibrate", "calibration_for", "device_name"]

log = logging.getLogger(__name__)

CONFIGURATIONS = {"classic": 20, "full": 16}
"""Number of timed configurations of each architecture."""
LARGEST_PARAMETERS = 10_000_000
STEPS = 4
FEATURES, LOOKBACK, SHORTEST_LOOKBACK = 11, 60, 6
EVALUATED = 64
MAX_BYTES = 100_000
"""Maximum size of a cache file in bytes; a valid file has about 2,000 bytes."""
STEP_SECONDS, SLOWEST_STEP_SECONDS = 0.05, 0.15
ASSUMED_MULTIPLY_ADDS = 25e9
"""Assumed multiply-adds per second in float32; used only to select the length of the windows in the measurement."""


@dataclass(frozen=True)
class _Timed:
    """Seconds of one configuration's fastest step in one precision. The fastest step is used because noise only adds seconds."""

    profile: Profile
    batch_size: int
    step: float
    evaluation: float


def calibration_for(
    device: torch.device, *, remeasure: bool = False, on_start: Callable[[], None] = lambda: None
) -> CostModel:
    """Return the cost model of the device from the cache, or from a new measurement.

    Args:
        device: device of the trials.
        remeasure: whether to measure even if the cache has the speeds of the device.
        on_start: function that is called before a measurement, which takes about 20 seconds.
    """
    path = cache_file(device)
    if not remeasure and path.is_file():
        try:
            return _read_cache(path, device)
        except ValueError as error:
            log.warning("%s is ignored (%s); measuring again", path, printable(str(error)))
    on_start()
    model = calibrate(device)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, model.as_dict())
    except OSError as error:
        log.warning("can't save this machine's speeds to %s (%s); the next study measures again", path, error)
    return model


def _read_cache(path: Path, device: torch.device) -> CostModel:
    """Read and check a cache file with the speeds of a device.

    Raises:
        ValueError: the file can't be read, or the speeds in a precision of this device are missing.
    """
    raw = parse_json(read_text(path, MAX_BYTES))
    model = CostModel.from_dict(raw)
    if raw["terms"] != list(TERMS):
        raise ValueError("it was measured by another version")
    missing = [precision for precision in supported_precisions(device) if precision not in model.speeds]
    if missing:
        raise ValueError(f"speeds in {' and '.join(missing)} are missing")
    return model


def cache_file(device: torch.device) -> Path:
    """Return the path of the cache file for the device, its precisions and the installed build of torch."""
    name = "".join(letter if letter.isalnum() else "-" for letter in device_name(device))
    return cache_folder() / f"speeds-{name}.json"


def device_name(device: torch.device) -> str:
    """Return a name of the device and of all else that determines its speed, such as the version of torch."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} torch {torch.__version__}"
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()} {instructions} {'+'.join(supported_precisions(device))} torch {torch.__version__}"


def calibrate(device: torch.device) -> CostModel:
    """Measure the speeds of a device by timing training steps of random configurations; large networks get short windows."""
    keep_freed_pages()
    timed: dict[Precision, list[_Timed]] = {precision: [] for precision in supported_precisions(device)}
    with one_thread(), seeded_dropout(0, device):
        for params, network, lookback in _configurations():
            windows = _windows(lookback)
            for precision, rows in timed.items():
                rows.append(_time(params, network, windows, precision, device))
            give_back_pages()
    speeds, errors = {}, []
    for precision, rows in timed.items():
        amounts = np.array([work(row.profile, row.batch_size) for row in rows])
        seconds = np.array([row.step for row in rows])
        speeds[precision] = fit_speeds(amounts, seconds)
        errors += [abs(error - 1) for error in amounts @ speeds[precision] / seconds]
    return CostModel(
        device=device_name(device),
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        speeds={precision: tuple(float(speed) for speed in each) for precision, each in speeds.items()},
        evaluation={
            precision: statistics.median(row.evaluation / EVALUATED / (row.step / row.batch_size) for row in rows)
            for precision, rows in timed.items()
        },
        process_mb=resident_mb()
        if device.type == "cpu"
        else 0.0,  # includes the kernels that torch caches for some shapes
        error=float(statistics.median(errors)),
    )


def _configurations() -> Iterator[tuple[Params, NetworkConfig, int]]:
    """Yield random configurations of both architectures, each with its network and a lookback with which steps are fast."""
    for architecture, wanted in CONFIGURATIONS.items():
        space, _ = parse_space({"architecture": architecture, "inputs": {"standardise": False}})
        found = number = 0
        while found < wanted:
            params = random_configuration(space, 0, number)
            number += 1
            profile = _network(params, LOOKBACK).cost(lookback=LOOKBACK)
            seconds = 3 * int(params["training.batch_size"]) * profile.multiply_adds / ASSUMED_MULTIPLY_ADDS
            too_slow = seconds * SHORTEST_LOOKBACK / LOOKBACK > SLOWEST_STEP_SECONDS
            if too_slow or profile.parameters > LARGEST_PARAMETERS:
                continue
            found += 1
            lookback = int(np.clip(LOOKBACK * STEP_SECONDS / seconds, SHORTEST_LOOKBACK, LOOKBACK))
            yield params, _network(params, lookback), lookback


def _network(params: Params, lookback: int) -> NetworkConfig:
    return network_config(params, input_dim=FEATURES, n_classes=2, has_regression=True, lookback=lookback)


def _windows(lookback: int) -> Windows:
    """Return windows of random numbers; the speed of a training does not depend on the values."""
    generator, count = torch.Generator().manual_seed(0), 512
    return Windows(
        series=torch.randn(count + lookback, FEATURES, generator=generator),
        starts=torch.arange(count),
        lookback=lookback,
        labels=torch.randint(0, 2, (count,), generator=generator),
        values=torch.randn(count, generator=generator),
        dates=np.arange(count),
        symbols=np.full(count, "noise"),
    )


def _time(
    params: Params, config: NetworkConfig, windows: Windows, precision: Precision, device: torch.device
) -> _Timed:
    network = build_network(config, seed=0, device=device)
    here = windows.to(device)
    training = TrainingConfig.from_params(params, TrainingSettings(), max_epochs=1, precision=precision)
    scale = ValueScale(0.0, 1.0)
    stepper = Stepper(network, here, training, scale=scale, generator=torch.Generator().manual_seed(0))
    batches = (
        torch.randperm(len(here), generator=torch.Generator().manual_seed(0)).to(device).split(training.batch_size)
    )
    network.train()
    stepper.step(batches[0])  # warm-up: creates kernels and buffers
    steps = [_seconds(partial(stepper.step, batches[i % len(batches)]), device) for i in range(1, STEPS + 1)]
    few = here.subset(np.arange(EVALUATED))
    predict(network, few, scale, precision)
    evaluation = _seconds(partial(predict, network, few, scale, precision), device)
    return _Timed(config.cost(lookback=windows.lookback), training.batch_size, min(steps), evaluation)


def _seconds(action: Callable[[], Any], device: torch.device) -> float:
    """Return the seconds that an action takes; on a CPU, this is the CPU time of the process, which excludes other processes."""
    if device.type != "cuda":
        started = time.process_time()
        action()
        return time.process_time() - started
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    action()
    torch.cuda.synchronize(device)
    return time.perf_counter() - started
