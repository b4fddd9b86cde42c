"""Windows of random numbers, and DataLoaders of them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

TIME, FEATURES = 5, 3
SIZES = (24, 12, 9)


def parts(windows: int, seed: int = 0, *, n_classes: int = 3, values: bool = True) -> tuple[Tensor, ...]:
    """x, y_class, y_reg of random data in which every class occurs."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(windows, TIME, FEATURES)).astype(np.float32))
    y = torch.from_numpy(rng.permutation(np.arange(windows) % n_classes))
    return (x, y, torch.from_numpy(rng.normal(3, 2, windows).astype(np.float32))) if values else (x, y)


def loader(tensors: tuple[Tensor, ...], **options: Any) -> DataLoader:
    return DataLoader(TensorDataset(*tensors), **{"batch_size": 5, **options})


def three(**options: Any) -> list[DataLoader]:
    return [loader(parts(windows, seed, **options)) for seed, windows in enumerate(SIZES)]
