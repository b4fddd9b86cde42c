"""One thread, a seed, no reports by the clock; a training of given windows."""

import math

import pytest
import torch

from builders.trainings import CPU, SCALE, config, go_on, network, one_thread_and_a_seed  # noqa: F401
from cnn_lstm_hyperopt.training import stopwatch, train
from cnn_lstm_hyperopt.training.runtime.device import seeded_dropout


@pytest.fixture(autouse=True)
def _no_clock(monkeypatch):
    monkeypatch.setattr(stopwatch, "LOOK_SECONDS", math.inf)


@pytest.fixture
def training():
    """``training(train, validation, net=…, on_report=…, seed=…, **config)`` returns network, outcome and reports."""

    def run(train_windows, validation, *, net=None, on_report=go_on, seed=0, **changed):
        net = net or network(n_classes=int(train_windows.labels.max()) + 1)
        reports = []

        def listen(report):
            reports.append(report)
            return on_report(report)

        with seeded_dropout(seed, CPU):
            generator = torch.Generator().manual_seed(seed)
            options = {"scale": SCALE, "generator": generator, "on_report": listen}
            outcome = train(net, train_windows, validation, config(**changed), **options)
        return net, outcome, reports

    return run


@pytest.fixture
def clock(monkeypatch):
    """``clock(network, …)``: the first training step takes 32 s, each other one 0.25 s, an evaluation 64 s, all else nothing."""

    class Clock:
        now, warm = 1000.0, False

        def __init__(self, *networks):
            for net in networks:
                net.register_forward_hook(self.tick)
            monkeypatch.setattr(stopwatch, "time", self)

        def tick(self, module, args, output):
            self.now += 64.0 if not module.training else 0.25 if self.warm else 32.0
            self.warm |= module.training

        def perf_counter(self):
            return self.now

        process_time = perf_counter

    return Clock
