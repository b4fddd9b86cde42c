"""The pause of a process that is stopped within a training (Ctrl-Z, ``kill -STOP``) is no training time. Real signals."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PAUSE = 1
TRAINING = f"""
import json, os, signal, subprocess

import torch
from builders.trainings import SCALE, config, go_on, network, windows
from cnn_lstm_hyperopt.training import train
from cnn_lstm_hyperopt.utils.processes import noticing_stops


def trained(stopped_at):
    steps, net = 0, network()

    def stop_once(module, args, output):
        nonlocal steps
        steps += module.training
        if module.training and steps == stopped_at:
            subprocess.Popen(["sh", "-c", f"sleep {PAUSE}; kill -CONT {{os.getpid()}}"])
            os.kill(os.getpid(), signal.SIGSTOP)

    net.register_forward_hook(stop_once)
    options = dict(scale=SCALE, generator=torch.Generator().manual_seed(0), on_report=go_on)
    outcome = train(net, windows(80), windows(80, 1), config(max_epochs=1), **options)
    return outcome.seconds, outcome.paused_seconds, outcome.projected_seconds


torch.set_num_threads(1)
found = {{"by the clock": trained(8)}}
with noticing_stops():
    for stopped_at in (0, 1, 8):
        found[str(stopped_at)] = trained(stopped_at)
print(json.dumps(found))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGCONT"), reason="the system does not stop processes")
def test_the_pause_of_a_stopped_process_is_no_training():
    """In the first of ten steps, in the eighth, in none; without a signal handler, the clock decides."""
    command = [sys.executable, "-c", TRAINING]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["by the clock"][0] > PAUSE
    assert found["by the clock"][1] == found["0"][1] == 0.0
    for stopped_at in ("1", "8"):
        seconds, paused, projected = found[stopped_at]
        assert paused > 0.5 * PAUSE  # all but a usual step, which takes long on a busy machine
        assert projected == pytest.approx(seconds)
        assert seconds < found["by the clock"][0]
