"""Check of the tensors in a weight file, before they are loaded."""

from collections.abc import Mapping
from typing import Any

import torch

from cnn_lstm_hyperopt.utils.text import printable, shown


def weight_errors(file: Any, expected: Mapping[str, torch.Tensor]) -> list[str]:
    """Return texts about the differences between the tensors in a file's header and the tensors of the described network."""
    there = set(file.keys())
    errors = [f"{name} is missing" for name in expected if name not in there]
    errors += [f"{printable(name, 80)} is not a weight of this network" for name in sorted(there - set(expected))]
    for name, tensor in expected.items():
        if name in there:
            part = file.get_slice(name)
            shape, kind = list(part.get_shape()), str(part.get_dtype())
            if shape != list(tensor.shape):
                errors.append(f"{name} must have the shape {list(tensor.shape)}, but has {shown(shape)}")
            if kind != "F32":
                errors.append(f"{name} must hold float32 (F32), but holds {kind}")
    return errors
