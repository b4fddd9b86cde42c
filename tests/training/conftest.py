"""A small learnable problem, a small network, and a training of it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.models.cnn_lstm.config import CnnLstmConfig
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS
from cnn_lstm_hyperopt.models.cnn_lstm.params import CnnConfig, LstmConfig
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.progress import CONTINUE, Decision, ProgressReport
from cnn_lstm_hyperopt.training import Outcome, TrainingConfig, ValueScale, train
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig
from cnn_lstm_hyperopt.training.runtime.device import seeded_dropout

CPU = torch.device("cpu")
LOOKBACK, FEATURES = 4, 3


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed() -> Iterator[None]:
    """Two cores are shared by many tests; whatever draws from torch's global generator draws the same each time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_num_threads(before)


def windows(count: int, seed: int = 0, *, n_classes: int = 2, values: bool = True, noise: bool = False) -> Windows:
    """The class says in which band the last bar's first feature lies, or nothing (``noise``); the value is 5 + 3 × it."""
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


def network(*, n_classes: int = 2, has_regression: bool = True, dropout: float = 0.1, seed: int = 1) -> Network:
    """A network of about a thousand weights."""
    config = CnnLstmConfig(
        input_dim=FEATURES,
        n_classes=n_classes,
        has_regression=has_regression,
        cnn=CnnConfig(4, (1, 3), dropout, "gelu", residual=True, attention_heads=None),
        lstm=LstmConfig(
            8, num_layers=1, dropout=dropout, bidirectional=False, attention_heads=None, skip_connections=False
        ),
        fusion=FUSIONS["gated"]("gated", 8, dropout),
    )
    return build_network(config, seed=seed, device=CPU)


def config(**changed: Any) -> TrainingConfig:
    """Adam at 0.01 in batches of 8 for three epochs, with every option off."""
    plain = TrainingConfig(
        learning_rate=0.01,
        batch_size=8,
        weight_decay=0.0,
        optimizer="adam",
        scheduler="cosine",
        gradient_clip=1.0,
        label_smoothing=0.0,
        l1=0.0,
        l2=0.0,
        dropout_schedule="constant",
        balancing="fixed",
        classification_weight=0.5,
        augmentation=AugmentationConfig(),
        max_epochs=3,
        min_patience=100,
        patience_factor=0.0,
    )
    return replace(plain, **changed)


@pytest.fixture
def make_windows() -> Callable[..., Windows]:
    return windows


@pytest.fixture
def make_network() -> Callable[..., Network]:
    return network


@pytest.fixture
def make_config() -> Callable[..., TrainingConfig]:
    return config


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Network, Outcome, list[ProgressReport]]]:
    """``training(train, validation, net=…, on_report=…, **config)``; no report depends on how fast this machine is."""
    monkeypatch.setattr("cnn_lstm_hyperopt.training.trainer.LOOK_SECONDS", float("inf"))

    def run(
        train_windows: Windows,
        validation: Windows,
        *,
        net: Network | None = None,
        on_report: Callable[[ProgressReport], Decision] = lambda report: CONTINUE,
        seed: int = 0,
        **changed: Any,
    ) -> tuple[Network, Outcome, list[ProgressReport]]:
        net = net or network(n_classes=int(train_windows.labels.max()) + 1)
        reports: list[ProgressReport] = []

        def listen(report: ProgressReport) -> Decision:
            reports.append(report)
            return on_report(report)

        with seeded_dropout(seed, CPU):
            outcome = train(
                net,
                train_windows,
                validation,
                config(**changed),
                scale=ValueScale(5.0, 3.0),
                generator=torch.Generator().manual_seed(seed),
                on_report=listen,
            )
        return net, outcome, reports

    return run
