"""Multivariate series of nine classes, as in the UCR archive, from DataLoaders."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from builders.loaders import loader
from cnn_lstm_hyperopt.api import CNNLSTMHyperparameterOptimizer
from cnn_lstm_hyperopt.training.runtime.device import one_thread

CLASSES, DIMENSIONS, STEPS, EPOCHS = 9, 12, 40, 60
CONFIG = {
    "training": {"max_epochs": 8, "device": "cpu"},
    "sampler": {"n_startup_trials": 4},
    "pruner": {"type": "none"},
    "search_space": {
        "cnn": {"num_filters": [8, 16], "attention": False, "filter_sizes": [[3, 5, 7]]},
        "lstm": {"hidden_dim": [16, 24], "num_layers": {"fixed": 1}, "attention_heads": [2, 4]},
        "fusion": {"method": ["concatenation", "gated"], "dim": [16, 32]},
        "training": {"batch_size": [16, 32], "learning_rate": [2e-3, 1e-2], "optimizer": ["adam", "adamw"]},
    },
}


def splits() -> list[tuple[Tensor, Tensor]]:
    """Each class has its own frequency and phase in every dimension; each window its own shift, speed and noise."""
    rng = np.random.default_rng(0)
    frequency = rng.uniform(1, 4, size=(CLASSES, DIMENSIONS))  # cycles a window
    phase = rng.uniform(0, 2 * np.pi, size=(CLASSES, DIMENSIONS))
    made = []
    for windows in (540, 180, 360):
        labels = rng.permutation(np.arange(windows) % CLASSES)
        shift, speed = rng.uniform(-0.15, 0.15, windows), rng.uniform(0.9, 1.1, windows)
        time = np.linspace(0, 1, STEPS)[None, :] * speed[:, None] + shift[:, None]  # (windows, steps)
        angle = 2 * np.pi * time[:, :, None] * frequency[labels][:, None] + phase[labels][:, None]
        x = np.sin(angle) + rng.normal(0, 1.5, size=(windows, STEPS, DIMENSIONS))
        made.append((torch.from_numpy(x.astype(np.float32)), torch.from_numpy(labels)))
    return made


class PlainLstm(nn.Module):
    """One layer and a linear head on its last state."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(DIMENSIONS, hidden, batch_first=True), nn.Linear(hidden, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


def plain_lstm_accuracy(data: list[tuple[Tensor, Tensor]], hidden: int) -> float:
    """Adam at 0.005, the weights of the lowest validation loss over as many epochs as the model has, measured on test."""
    (x, y), (x_validation, y_validation), (x_test, y_test) = data
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = PlainLstm(hidden)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.005)
        lowest, best = float("inf"), net
        for _ in range(EPOCHS):
            for index in torch.randperm(len(x)).split(32):
                optimizer.zero_grad()
                functional.cross_entropy(net(x[index]), y[index]).backward()
                optimizer.step()
            with torch.no_grad():
                loss = float(functional.cross_entropy(net(x_validation), y_validation))
            if loss < lowest:
                lowest, best = loss, copy.deepcopy(net)
        with torch.no_grad():
            return float((best(x_test).argmax(dim=1) == y_test).double().mean())


@pytest.mark.slow
@pytest.mark.thorough
def test_a_search_reaches_the_accuracy_of_a_plain_lstm_of_the_same_size_at_least(tmp_path):
    data = splits()
    loaders = [loader(each, batch_size=64, shuffle=split == 0) for split, each in enumerate(data)]
    given = {"save_dir": tmp_path / "results", "config": CONFIG, "quiet": True}
    with CNNLSTMHyperparameterOptimizer(loaders, DIMENSIONS, **given) as optimizer:
        assert optimizer.dataset.n_classes == CLASSES
        assert optimizer.optimize(8)["n_trials_completed"] == 8
        (model,) = optimizer.retrain_best_models(top_k=1, full_epochs=EPOCHS)
        size_mb = optimizer.write_results()["best_trials"][0]["values"][2]
    assert model["test_metrics"]["test_reg_mse"] is None
    # The hidden size at which a plain LSTM has at least as many weights as the model.
    hidden = next(h for h in range(8, 512) if 4 * sum(w.numel() for w in PlainLstm(h).parameters()) / 1e6 >= size_mb)
    assert model["test_metrics"]["test_class_acc"] > 3 / CLASSES
    assert model["test_metrics"]["test_class_acc"] >= plain_lstm_accuracy(data, hidden)
