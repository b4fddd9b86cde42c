"""A training that stops after any epoch, or is killed, and resumes from its file is bit for bit the one that never stopped."""

import itertools
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from builders.trainings import AUGMENTATION, CPU, Training, assert_same_end, leaves, stop_after
from cnn_lstm_hyperopt.training import last_good
from cnn_lstm_hyperopt.training.dropout_schedules import DROPOUT_SCHEDULES
from cnn_lstm_hyperopt.training.loss_weighting import LOSS_WEIGHTINGS
from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS
from cnn_lstm_hyperopt.training.runtime.precision import supported_precisions
from cnn_lstm_hyperopt.training.schedules import SCHEDULES

FAMILIES = {"optimizer": OPTIMIZERS, "scheduler": SCHEDULES, "dropout_schedule": DROPOUT_SCHEDULES}
ALL_OPTIONS = {"weight_decay": 1e-3, "l1": 1e-4, "l2": 1e-4, "label_smoothing": 0.1, "augmentation": AUGMENTATION}


def combinations():
    """All of the three families. Latin squares give each member each loss weighting, and one or two folds in the fast half."""
    for places in itertools.product(*(range(len(family)) for family in FAMILIES.values())):
        chosen = {name: list(family)[place] for (name, family), place in zip(FAMILIES.items(), places, strict=True)}
        chosen["balancing"] = list(LOSS_WEIGHTINGS)[sum(places) % len(LOSS_WEIGHTINGS)]
        for n_folds in (1, 2):
            marks = [pytest.mark.slow] if (sum(places) + n_folds) % 2 else []
            yield pytest.param(chosen, n_folds, marks=marks, id=f"{'-'.join(chosen.values())}-{n_folds}")


def assert_resumes_bit_for_bit(file, sizes, **options):
    """Stop after every epoch and resume with networks, generators and schedules of other seeds."""
    whole, start = Training(sizes, **options).run(), None
    end = int(whole.outcome.epochs)
    for epoch in range(1, end + 1):
        part = Training(sizes, seed=0 if epoch == 1 else 10 * epoch, **options)
        part.run(stop_after(epoch) if epoch < end else lambda report: whole.outcome.decision, start=start, save=file)
        assert part.curve() == whole.curve()[: len(part.curve())]
        assert list(part.states) == [epoch - 1, epoch][epoch == 1 :]
        np.testing.assert_equal(part.states, {done: whole.states[done] for done in part.states})
        start = last_good(file)
        assert (start.epoch, start.finished) == (epoch, epoch == end)
    assert_same_end(whole, part)
    return whole


@pytest.mark.mostly_slow(16)
@pytest.mark.mostly_thorough(40)
@pytest.mark.parametrize(("chosen", "n_folds"), list(combinations()))
def test_a_training_that_is_stopped_after_every_epoch_is_the_one_that_was_not(tmp_path, chosen, n_folds):
    options = {"opposed": True, "max_epochs": 4, "learning_rate": 0.01, **ALL_OPTIONS, **chosen}
    whole = assert_resumes_bit_for_bit(tmp_path / "checkpoint.pt", (16, 24)[:n_folds], **options)
    first, *_, last = whole.states.values()
    rates = [states[".fold 1.optimizer.param_groups.0.lr"] for states in (first, last)]
    assert rates[1] < rates[0]  # a state that never changes would prove nothing
    weighting = [{name: leaf for name, leaf in states.items() if "balancing" in name} for states in (first, last)]
    assert (str(weighting[0]) == str(weighting[1])) is (chosen["balancing"] == "fixed")


VARIANTS = {
    "no regression": {"values": False},
    "early reports": {"sizes": (40, 56, 83), "early_reports": (0.25, 0.5), "balancing": "dynamic", **ALL_OPTIONS},
    "patience": {"max_epochs": 40, "min_patience": 3, "scheduler": "exponential"},
    "overfitting": {"learning_rate": 0.1},
    "bfloat16": {"precision": "bfloat16"},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_resume_bit_for_bit(tmp_path, variant):
    if variant == "bfloat16" and "bfloat16" not in supported_precisions(CPU):
        pytest.skip("this processor has no bfloat16")
    whole = assert_resumes_bit_for_bit(tmp_path / "checkpoint.pt", **{"sizes": (40,), **VARIANTS[variant]})
    if variant in ("patience", "overfitting"):
        assert whole.outcome.best_epoch < whole.outcome.epochs - 1  # some cuts come after the best epoch
        assert whole.outcome.epochs < 39


def test_taking_checkpoints_does_not_change_a_training(tmp_path, training):
    one, again = Training(seed=3), Training(seed=3).run(save=tmp_path / "checkpoint.pt")
    options = {"net": one.networks[0], "seed": one.seeds[0], "max_epochs": 5, "learning_rate": 0.03}
    net, outcome, _ = training(one.windows[0], one.validation[0], **options)
    assert again.outcome.best.loss == outcome.best.loss
    np.testing.assert_equal(leaves(again.networks[0].state_dict()), leaves(net.state_dict()))


EPOCHS, KILLS = 50, 5
KILLED_TRAINING = f"""
import sys
from functools import partial
from pathlib import Path
from builders.trainings import AUGMENTATION, Training
from safetensors.torch import save_file
from cnn_lstm_hyperopt.training import last_good
from cnn_lstm_hyperopt.training.runtime.device import one_thread

folder, n_folds = Path(sys.argv[1]), int(sys.argv[2])
options = dict(dropout_schedule="linear", balancing="uncertainty", augmentation=AUGMENTATION, learning_rate=0.01)
training = Training((160,) * n_folds, max_epochs={EPOCHS}, **options)
training.announce = partial(print, flush=True)
with one_thread():
    training.run(start=last_good(folder / "checkpoint.pt"), save=folder / "checkpoint.pt")
for place, network in enumerate(training.networks):
    save_file(dict(network.state_dict()), folder / f"{{place}}.safetensors")
outcome = training.outcome
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
        printed = [running.stdout.readline() for _ in range(epochs)]
        time.sleep(seconds)  # into an evaluation, a step, or the middle of writing
        running.kill()
        printed += running.stdout.read().split()
    assert running.returncode == -signal.SIGKILL
    return int(printed[-1])


@pytest.mark.slow
@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("n_folds", [2, 1])
def test_a_training_whose_process_is_killed_resumes_bit_for_bit(tmp_path, n_folds):
    whole, killed, chance = tmp_path / "whole", tmp_path / "killed", random.Random(n_folds)
    assert run_to_the_end(whole, n_folds) == list(range(1, EPOCHS + 1))
    kills = (kill_after(killed, n_folds, chance.randint(2, 3), chance.uniform(0, 0.02)) for _ in range(KILLS))
    done = [0, *kills]
    assert done == sorted(set(done))
    rest = run_to_the_end(killed, n_folds)
    assert done[-1] <= rest[0] < rest[-1] == EPOCHS  # no printed epoch is lost
    assert (killed / "outcome.txt").read_text() == (whole / "outcome.txt").read_text()
    for place in range(n_folds):
        one, other = (load_file(folder / f"{place}.safetensors") for folder in (whole, killed))
        np.testing.assert_equal(one, other)
