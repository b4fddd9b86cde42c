"""A training whose process is killed, again and again, in the end is the one that was left alone, to the bit."""

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

import torch
from safetensors.torch import save_file
from conftest import config, network, windows
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig
from cnn_lstm_hyperopt.progress import CONTINUE
from cnn_lstm_hyperopt.training import FoldTraining, ValueScale, last_good, train_folds, write_checkpoint
from cnn_lstm_hyperopt.training.runtime.device import one_thread, seeded_dropout

folder, n_folds = Path(sys.argv[1]), int(sys.argv[2])
settings = config(
    max_epochs={EPOCHS}, dropout_schedule="linear", balancing="uncertainty",
    augmentation=AugmentationConfig(jitter=0.1, mixup=0.4),
)


def keep(decision, take):
    checkpoint = take()
    write_checkpoint(folder / "checkpoint.pt", checkpoint)
    print(checkpoint.epoch, flush=True)


folds = []
for place in range(n_folds):
    with seeded_dropout(place, torch.device("cpu")):
        folds.append(FoldTraining(
            network(seed=place), windows(160, place), windows(80, place + 5), settings,
            scale=ValueScale(5.0, 3.0), generator=torch.Generator().manual_seed(place),
        ))
with one_thread():
    start = last_good(folder / "checkpoint.pt")
    outcome = train_folds(folds, settings, on_report=lambda report: CONTINUE, start=start, on_epoch_end=keep)
for place, fold in enumerate(folds):
    save_file(dict(fold.network.state_dict()), folder / f"{{place}}.safetensors")
(folder / "outcome.txt").write_text(repr((outcome.best_epoch, outcome.best.loss, outcome.best.score, outcome.epochs)))
"""


def process(folder: Path, n_folds: int) -> subprocess.Popen:
    command = [sys.executable, "-c", TRAINING, str(folder), str(n_folds)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parent
    )


def run_to_the_end(folder: Path, n_folds: int) -> list[int]:
    """Epochs whose end was told."""
    with process(folder, n_folds) as running:
        told, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors
    return [int(line) for line in told.split()]


def kill_after(folder: Path, n_folds: int, epochs: int, seconds: float) -> int:
    """Kills it some time after so many epochs of its own; the last that was told."""
    with process(folder, n_folds) as running:
        told = [int(running.stdout.readline()) for _ in range(epochs)]
        time.sleep(seconds)  # into an evaluation, a step, or the middle of writing
        running.kill()
        told += [int(line) for line in running.stdout.read().split()]
    assert running.returncode == -signal.SIGKILL
    return told[-1]


@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("n_folds", [2, 1])
def test_a_training_whose_process_is_killed_goes_on_to_the_bit(tmp_path, n_folds):
    whole, killed, chance = tmp_path / "whole", tmp_path / "killed", random.Random(n_folds)
    assert run_to_the_end(whole, n_folds) == list(range(1, EPOCHS + 1))
    done = 0
    for _ in range(KILLS):
        last = kill_after(killed, n_folds, chance.randint(2, 3), chance.uniform(0, 0.02))
        assert done < last < EPOCHS
        done = last
    rest = run_to_the_end(killed, n_folds)
    assert done <= rest[0]  # nothing that was told is lost
    assert rest[-1] == EPOCHS
    assert (killed / "outcome.txt").read_text() == (whole / "outcome.txt").read_text()
    for place in range(n_folds):
        one, other = (load_file(folder / f"{place}.safetensors") for folder in (whole, killed))
        np.testing.assert_equal(one, other)
