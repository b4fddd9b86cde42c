"""Precision of matrix products: bfloat16 if the hardware supports bfloat16, else float32. Weights and losses are float32."""

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]


def supported_precisions(device: torch.device) -> tuple[Precision, ...]:
    """Return the precisions that the device's hardware supports. Emulated bfloat16 would be many times slower."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return ("float32", "bfloat16") if fast else ("float32",)


@contextlib.contextmanager
def computing_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """Context in which networks compute in ``precision`` (autocast, Micikevicius et al. 2018, arXiv 1710.03740).

    bfloat16 needs no loss scaling, because it has the same exponent range as float32.
    """
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        yield
