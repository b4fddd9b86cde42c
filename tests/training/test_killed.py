"""A training whose process is killed again and again ends bit for bit as one that was left alone."""

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
TRAINING = f"""
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
    command = [sys.executable, "-c", TRAINING, str(folder), str(n_folds)]
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
