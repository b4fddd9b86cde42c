"""Whatever is chosen for a training, it can be stopped after any epoch, or its process killed, and goes on to the bit.

Every optimiser is met with every schedule, dropout schedule and balancing, on one fold and on two.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, ProgressReport
from cnn_lstm_hyperopt.training import (
    Checkpoint,
    FoldTraining,
    Outcome,
    ValueScale,
    last_good,
    train_folds,
    write_checkpoint,
)
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig
from cnn_lstm_hyperopt.training.dropout_schedules import DROPOUT_SCHEDULES
from cnn_lstm_hyperopt.training.loss_weighting import BALANCINGS
from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS
from cnn_lstm_hyperopt.training.runtime.device import seeded_dropout
from cnn_lstm_hyperopt.training.schedules import SCHEDULES

CPU, EPOCHS = torch.device("cpu"), 4
STOP = Decision(Action.STOP, "Ctrl-C")
FAMILIES = {"optimizer": OPTIMIZERS, "scheduler": SCHEDULES, "dropout_schedule": DROPOUT_SCHEDULES}


def combinations() -> Iterator[Any]:
    """All of the three families. Latin squares give each member each balancing, and one fold or two in the fast half."""
    for places in itertools.product(*(range(len(family)) for family in FAMILIES.values())):
        chosen = {name: list(family)[place] for (name, family), place in zip(FAMILIES.items(), places, strict=True)}
        chosen["balancing"] = list(BALANCINGS)[sum(places) % len(BALANCINGS)]
        for n_folds in (1, 2):
            marks = [pytest.mark.slow] if (sum(places) + n_folds) % 2 else []
            yield pytest.param(chosen, n_folds, marks=marks, id=f"{'-'.join(chosen.values())}-{n_folds}")


class Process:
    """What a new process would make: networks, generators and schedules that stand nowhere near those of the run before."""

    def __init__(self, parts: Any, n_folds: int, seed: int, **options: Any) -> None:
        network, windows, config = parts
        self.config = config(
            max_epochs=EPOCHS,
            learning_rate=0.01,
            weight_decay=1e-3,
            l2=1e-4,
            label_smoothing=0.1,
            augmentation=AugmentationConfig(jitter=0.1, scaling=0.2, time_masking=0.5, mixup=0.4),
            **options,
        )
        self.folds: list[FoldTraining] = []
        self.reports: list[tuple[Any, ...]] = []
        self.states: dict[int, dict[str, Any]] = {}
        for place in range(n_folds):
            train, judged = windows(16 + 8 * place, place), windows(16 + 8 * place, place)
            judged.labels.bitwise_xor_(
                1
            )  # the more is learnt, the worse it gets: the plateau schedule has something to do
            with seeded_dropout(seed + place, CPU):
                self.folds.append(
                    FoldTraining(
                        network(seed=seed + place, dropout=0.3),
                        train,
                        judged,
                        self.config,
                        scale=ValueScale(5.0, 3.0),
                        generator=torch.Generator().manual_seed(seed + place),
                    )
                )

    def run(self, file: Path, *, until: int, start: Checkpoint | None = None) -> Outcome:
        """Is stopped after ``until``, and leaves its checkpoint of then."""

        def listen(report: ProgressReport) -> Decision:
            self.reports.append((report.epoch, report.score, report.loss, report.last))
            return STOP if report.epoch == until < EPOCHS else CONTINUE

        def keep(decision: Decision, take: Callable[[], Checkpoint]) -> None:
            checkpoint = take()
            self.states[checkpoint.epoch] = leaves(checkpoint.states)
            if checkpoint.epoch == until:
                write_checkpoint(file, checkpoint)

        return train_folds(self.folds, self.config, on_report=listen, start=start, on_epoch_end=keep)


def leaves(value: Any, name: str = "") -> dict[str, Any]:
    """All that is in nested dicts, lists and tuples but the seconds; tensors as copies."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        inner = [leaves(each, f"{name}.{key}") for key, each in items if key != "stopwatch"]
        return {name: leaf for part in inner for name, leaf in part.items()}
    return {name: value.clone() if isinstance(value, torch.Tensor) else value}


def assert_same(here: dict[str, Any], there: dict[str, Any]) -> None:
    assert here.keys() == there.keys()
    for name, leaf in here.items():
        other = there[name]
        same = torch.equal(leaf, other) if isinstance(leaf, torch.Tensor) else leaf == other
        assert same, (name, leaf, other)


@pytest.fixture(autouse=True)
def _no_report_within_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnn_lstm_hyperopt.training.trainer.LOOK_SECONDS", math.inf)
    monkeypatch.setattr("cnn_lstm_hyperopt.training.trainer.FIRST_LOOK", math.inf)


@pytest.mark.mostly_slow(16)
@pytest.mark.parametrize(("chosen", "n_folds"), list(combinations()))
def test_a_training_that_is_stopped_after_every_epoch_is_the_one_that_was_not(
    make_network, make_windows, make_config, tmp_path, chosen, n_folds
):
    parts = (make_network, make_windows, make_config)
    whole = Process(parts, n_folds, seed=0, **chosen)
    outcome = whole.run(tmp_path / "whole.pt", until=EPOCHS)
    rates = [states[".fold 1.optimizer.param_groups.0.lr"] for states in whole.states.values()]
    assert rates[-1] < rates[0]  # what stands still would prove nothing

    start, file = None, tmp_path / "checkpoint.pt"
    for epoch in range(1, EPOCHS + 1):
        part = Process(parts, n_folds, seed=0 if epoch == 1 else 10 * epoch, **chosen)
        again = part.run(file, until=epoch, start=start)
        assert part.reports == whole.reports[:epoch]
        assert list(part.states) == ([epoch] if epoch == 1 else [epoch - 1, epoch])
        for done, states in part.states.items():
            assert_same(states, whole.states[done])
        start = last_good(file)
        assert start is not None
        assert (start.epoch, start.finished) == (epoch, epoch == EPOCHS)
    assert (again.best_epoch, again.epochs, again.decision) == (outcome.best_epoch, EPOCHS, CONTINUE)
    np.testing.assert_array_equal(again.best.predictions.probabilities, outcome.best.predictions.probabilities)
    for one, other in zip(part.folds, whole.folds, strict=True):
        assert_same(leaves(one.network.state_dict()), leaves(other.network.state_dict()))
