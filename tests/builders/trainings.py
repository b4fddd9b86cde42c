"""A small learnable problem, a small network, and trainings of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.models.cnn_lstm.config import CnnLstmConfig
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS
from cnn_lstm_hyperopt.models.cnn_lstm.params import CnnConfig, LstmConfig
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.training import FoldTraining, TrainingConfig, ValueScale, train_folds, write_checkpoint
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig
from cnn_lstm_hyperopt.training.runtime.device import one_thread, seeded_dropout

CPU, SCALE = torch.device("cpu"), ValueScale(5.0, 3.0)
LOOKBACK, FEATURES = 4, 3
AUGMENTATION = AugmentationConfig(jitter=0.1, scaling=0.2, time_masking=0.5, mixup=0.4)
PRUNE = Decision(Action.PRUNE, "enough")


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    """Many tests share two cores; draws from torch's global generator are the same each time."""
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def windows(count, seed=0, *, n_classes=2, values=True, noise=False):
    """The class is the band of the last bar's first feature, or random (``noise``); the value is 5 + 3 × that feature."""
    rng = np.random.default_rng(seed)
    series = rng.normal(size=(count * LOOKBACK, FEATURES)).astype(np.float32)
    last = series[LOOKBACK - 1 :: LOOKBACK, 0]
    cuts = np.quantile(last, np.arange(1, n_classes) / n_classes)
    labels = rng.integers(n_classes, size=count) if noise else np.searchsorted(cuts, last)
    return Windows(
        series=torch.from_numpy(series),
        starts=torch.arange(count) * LOOKBACK,
        lookback=LOOKBACK,
        labels=torch.from_numpy(labels.astype(np.int64)),
        values=torch.from_numpy(5 + 3 * last) if values else None,
        dates=np.arange(count),
        symbols=np.full(count, "A"),
    )


def network(*, n_classes=2, has_regression=True, dropout=0.1, seed=1):
    """A network of about a thousand weights."""
    shape = {"n_classes": n_classes, "has_regression": has_regression}
    return structured("gated", dropout=dropout, shortcut=True, seed=seed, **shape)


def structured(
    fusion,
    cnn_heads=None,
    lstm_heads=None,
    rich=False,
    *,
    dropout=0.0,
    shortcut=False,
    highway=None,
    seed=1,
    kernel_groups=0,
    **shape,
):
    """Any fusion, with and without attention; ``rich``: two layers, bidirectional, skip connections, shortcut."""
    own = {name: spec.default.values[0] for name, spec in FUSIONS[fusion].parameters.items()}
    config = CnnLstmConfig(
        **{"input_dim": FEATURES, "n_classes": 2, "has_regression": True, **shape},
        cnn=CnnConfig(4, (1, 3), dropout, "gelu", residual=rich or shortcut, attention_heads=cnn_heads),
        lstm=LstmConfig(8, 1 + rich, dropout, bidirectional=rich, attention_heads=lstm_heads, skip_connections=rich),
        fusion=FUSIONS[fusion](fusion, 8, dropout, **own),
        highway=highway,
        kernel_groups=kernel_groups,
        lookback=LOOKBACK,
    )
    return build_network(config, seed=seed, device=CPU)


def config(**changed):
    """Adam at 0.01 in batches of 8 for three epochs, with every option off."""
    off = dict.fromkeys(("weight_decay", "label_smoothing", "l1", "l2", "patience_factor"), 0.0)
    kinds = {"optimizer": "adam", "scheduler": "cosine", "dropout_schedule": "constant", "balancing": "fixed"}
    amounts = {"learning_rate": 0.01, "batch_size": 8, "gradient_clip": 1.0, "classification_weight": 0.5}
    epochs = {"max_epochs": 3, "min_patience": 100}
    return TrainingConfig(**off | kinds | amounts | epochs | {"augmentation": AugmentationConfig()} | changed)


def go_on(report):
    return CONTINUE


def stop_after(epoch):
    """Prune at the evaluation of this epoch."""
    return lambda report: PRUNE if report.epoch == epoch and report.loss is not None else CONTINUE


class Training:
    """A training as one process sees it: a network per fold, or for the ``only`` one; all seeds follow from ``seed``.

    Its windows are noise, or the validation windows are the training windows with the wrong labels (``opposed``).
    """

    announce = staticmethod(lambda epoch: None)

    def __init__(self, sizes=(40,), *, only=None, seed=0, values=True, opposed=False, net=None, **changed):
        folds = range(len(sizes)) if only is None else [only]
        self.config = config(**{"max_epochs": 5, "learning_rate": 0.03, **changed})
        self.windows = [windows(sizes[n], n, values=values, noise=not opposed) for n in folds]
        self.validation = [windows(24 + 8 * n, 50 + n, values=values, noise=True) for n in folds]
        if opposed:
            self.validation = [replace(each, labels=1 - each.labels) for each in self.windows]
        self.networks = [net or network(has_regression=values, seed=10 * seed + n) for n in folds]
        self.seeds = [100 * seed + n for n in folds]
        self.reports, self.states, self.saved = [], {}, []

    def folds(self):
        made = []
        for net, own, judged, seed in zip(self.networks, self.windows, self.validation, self.seeds, strict=True):
            with seeded_dropout(seed, CPU):
                generator = torch.Generator().manual_seed(seed)
                made.append(FoldTraining(net, own, judged, self.config, scale=SCALE, generator=generator))
        return made

    def run(self, on_report=go_on, *, start=None, save=None):
        """Train and record reports, decisions and states; write the checkpoint of each epoch to ``save``."""

        def listen(report):
            self.reports.append(report)
            return on_report(report)

        def on_epoch_end(decision, take):
            checkpoint = take()
            assert checkpoint.decision == decision
            self.saved.append((checkpoint.epoch, checkpoint.finished, checkpoint.decision))
            self.states[checkpoint.epoch] = leaves(checkpoint.states)
            if save is not None:
                write_checkpoint(save, checkpoint)
                self.announce(checkpoint.epoch)

        self.outcome = train_folds(self.folds(), self.config, on_report=listen, start=start, on_epoch_end=on_epoch_end)
        return self

    def evaluated(self):
        return [report for report in self.reports if report.loss is not None]

    def curve(self):
        return [(report.epoch, report.score, report.loss, report.last) for report in self.evaluated()]


def leaves(value, name=""):
    """Nested dicts, lists and tuples as one flat dict, without the stopwatch; tensors as copied arrays."""
    if not isinstance(value, dict | list | tuple):
        return {name: value.numpy().copy() if isinstance(value, torch.Tensor) else value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    flat = (leaves(inner, f"{name}.{key}") for key, inner in items if key != "stopwatch")
    return {key: leaf for part in flat for key, leaf in part.items()}


def assert_same_end(whole, again):
    """Both trainings have the same outcome and the same networks, bit for bit."""
    a, b = whole.outcome, again.outcome
    assert (b.best_epoch, b.epochs, b.decision) == (a.best_epoch, a.epochs, a.decision)
    assert (b.best.loss, b.best.accuracy, b.best.mse) == (a.best.loss, a.best.accuracy, a.best.mse)
    np.testing.assert_array_equal(b.best.predictions.probabilities, a.best.predictions.probabilities)
    np.testing.assert_equal(b.best.predictions.values, a.best.predictions.values)
    for one, other in zip(whole.networks, again.networks, strict=True):
        np.testing.assert_equal(leaves(other.state_dict()), leaves(one.state_dict()))
