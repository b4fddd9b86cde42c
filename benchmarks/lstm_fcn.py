"""LSTM-FCN (Karim, Majumdar, Darabi & Chen 2018, "LSTM fully convolutional networks for time series classification", arXiv
1709.05206), as a network to compare with.

The network has two branches. Three convolutions (128 filters of length 8, 256 of length 5, 128 of length 3) with batch
normalisation and ReLU end in the mean over time. An LSTM reads the transposed window ("dimension shuffle"): each channel is one
step, whose inputs are all values of the channel; its last state has dropout 0.8. A linear layer reads both.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

CELLS = 8
"""Cells of the LSTM, the smallest number of the paper, which selects 8, 64 or 128 for each set."""
EPOCHS, BATCH, RATE, MIN_RATE, PATIENCE = 2000, 128, 1e-3, 1e-4, 100
"""Values of the paper. The learning rate falls by 2^(-1/3) after 100 epochs without a lower training loss."""


class LstmFcn(nn.Module):
    """The network of the paper, for windows ``(batch, time, channels)``."""

    def __init__(self, steps: int, channels: int, n_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = channels
        for filters, size in ((128, 8), (256, 5), (128, 3)):
            conv = nn.Conv1d(width, filters, size)
            nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
            pad = nn.ConstantPad1d(((size - 1) // 2, size // 2), 0.0)
            layers += [pad, conv, nn.BatchNorm1d(filters, eps=1e-3, momentum=0.01), nn.ReLU()]
            width = filters
        self.convolutions = nn.Sequential(*layers)
        self.lstm = nn.LSTM(steps, CELLS, batch_first=True)
        self.dropout = nn.Dropout(0.8)
        self.classify = nn.Linear(width + CELLS, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(batch, classes)``."""
        channels = x.transpose(1, 2)
        state = self.dropout(self.lstm(channels)[0][:, -1])
        logits: Tensor = self.classify(torch.cat([self.convolutions(channels).mean(dim=2), state], dim=1))
        return logits


@dataclass(frozen=True)
class Fitted:
    """Predictions of a trained network.

    Attributes:
        classes: ``(windows,)`` predicted classes of the test windows.
        epochs: number of finished epochs, at most :data:`EPOCHS`.
        seconds: seconds of the training.
    """

    classes: NDArray[np.int64]
    epochs: int
    seconds: float


def fit(
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    test_x: NDArray[np.float32],
    *,
    n_classes: int,
    seed: int,
    cpu_seconds: float,
) -> Fitted:
    """Train on all windows as in the paper: Adam, classes weighted by inverse frequency, the weights of the lowest training loss.

    The training ends after :data:`EPOCHS` epochs, or earlier after ``cpu_seconds`` seconds of the processor.
    """
    torch.manual_seed(seed)
    network, started, cpu = LstmFcn(x.shape[1], x.shape[2], n_classes), time.monotonic(), time.process_time()
    mean, deviation = x.mean((0, 1)), x.std((0, 1)) + 1e-8
    inputs, tests = (torch.from_numpy(((each - mean) / deviation).astype(np.float32)) for each in (x, test_x))
    targets, counts = torch.from_numpy(y), np.bincount(y, minlength=n_classes)
    weights = torch.tensor(len(y) / (n_classes * np.maximum(counts, 1)), dtype=torch.float32)
    loss_of = nn.CrossEntropyLoss(weight=weights)
    optimizer = torch.optim.Adam(network.parameters(), RATE, eps=1e-7)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=2 ** (-1 / 3), patience=PATIENCE, min_lr=MIN_RATE
    )
    best, kept, epoch = float("inf"), network.state_dict(), 0
    for epoch in range(1, EPOCHS + 1):  # noqa: B007
        network.train()
        total = 0.0
        for index in torch.randperm(len(y)).split(BATCH):
            loss = loss_of(network(inputs[index]), targets[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(index) / len(y)
        schedule.step(total)
        if total < best:
            best, kept = total, {name: value.clone() for name, value in network.state_dict().items()}
        if time.process_time() - cpu > cpu_seconds:
            break
    network.load_state_dict(kept)
    network.eval()
    with torch.inference_mode():
        found = torch.cat([network(part) for part in tests.split(128)]).argmax(dim=1).numpy()
    return Fitted(found, epoch, time.monotonic() - started)
