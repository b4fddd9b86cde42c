"""Arithmetic in bfloat16 where the hardware has it: matrix products in half the bytes, weights and losses in float32."""

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]


def supported_precisions(device: torch.device) -> tuple[Precision, ...]:
    """What the device computes in hardware; bfloat16 in software would be many times slower."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return ("float32", "bfloat16") if fast else ("float32",)


@contextlib.contextmanager
def computing_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """A context in which networks compute in ``precision`` (autocast: Micikevicius et al. 2018, arXiv 1710.03740, without loss
    scaling, which bfloat16 does not need: its exponent is that of float32)."""
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        yield
