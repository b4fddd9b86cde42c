"""Trainings in processes that are killed or stopped."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

pytestmark = pytest.mark.slow

EPOCHS, KILLS = 50, 5
KILLED_TRAINING = f"""
import sys
from pathlib import Path

from builders.trainings import Training
from safetensors.torch import save_file
from cnn_lstm_hyperopt.training import last_good, train_folds, write_checkpoint
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig
from cnn_lstm_hyperopt.training.runtime.device import one_thread
from cnn_lstm_hyperopt.progress import CONTINUE

folder, n_folds = Path(sys.argv[1]), int(sys.argv[2])
training = Training(
    (160,) * n_folds, max_epochs={EPOCHS}, learning_rate=0.01, dropout_schedule="linear", balancing="uncertainty",
    augmentation=AugmentationConfig(jitter=0.1, mixup=0.4),
)


def save(decision, take):
    checkpoint = take()
    write_checkpoint(folder / "checkpoint.pt", checkpoint)
    print(checkpoint.epoch, flush=True)


with one_thread():
    start = last_good(folder / "checkpoint.pt")
    outcome = train_folds(
        training.folds(), training.config, on_report=lambda report: CONTINUE, start=start, on_epoch_end=save
    )
for place, network in enumerate(training.networks):
    save_file(dict(network.state_dict()), folder / f"{{place}}.safetensors")
(folder / "outcome.txt").write_text(repr((outcome.best_epoch, outcome.best.loss, outcome.best.score, outcome.epochs)))
"""


def process(folder, n_folds):
    command = [sys.executable, "-c", KILLED_TRAINING, str(folder), str(n_folds)]
    tests = Path(__file__).parents[1]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tests)


def run_to_the_end(folder, n_folds):
    """Return the epochs whose end was printed."""
    with process(folder, n_folds) as running:
        printed, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors
    return [int(line) for line in printed.split()]


def kill_after(folder, n_folds, epochs, seconds):
    """Kill it some time after this number of its epochs; return the last epoch that was printed."""
    with process(folder, n_folds) as running:
        printed = [int(running.stdout.readline()) for _ in range(epochs)]
        time.sleep(seconds)  # into an evaluation, a step, or the middle of writing
        running.kill()
        printed += [int(line) for line in running.stdout.read().split()]
    assert running.returncode == -signal.SIGKILL
    return printed[-1]


@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("n_folds", [2, 1])
def test_a_training_whose_process_is_killed_resumes_bit_for_bit(tmp_path, n_folds):
    whole, killed, chance = tmp_path / "whole", tmp_path / "killed", random.Random(n_folds)
    assert run_to_the_end(whole, n_folds) == list(range(1, EPOCHS + 1))
    done = 0
    for _ in range(KILLS):
        last = kill_after(killed, n_folds, chance.randint(2, 3), chance.uniform(0, 0.02))
        assert done < last < EPOCHS
        done = last
    rest = run_to_the_end(killed, n_folds)
    assert done <= rest[0]  # no printed epoch is lost
    assert rest[-1] == EPOCHS
    assert (killed / "outcome.txt").read_text() == (whole / "outcome.txt").read_text()
    for place in range(n_folds):
        one, other = (load_file(folder / f"{place}.safetensors") for folder in (whole, killed))
        np.testing.assert_equal(one, other)


PAUSE = 1
STOPPED_TRAINING = f"""
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
    command = [sys.executable, "-c", STOPPED_TRAINING]
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
