"""Windows that two loaders share, also with rounding or noise, and windows that only look alike."""

import re
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from builders.errors import raises
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.errors import DataError

NAMES = ("train", "validation", "test")
TIME, FEATURES = 6, 3
COUNT = 40
DISGUISES = {
    "none": lambda x: x,
    "negative zeros": lambda x: torch.where(x == 0, -0.0, x),
    "a factor of 1 + 1e-6": lambda x: x * (1 + 1e-6),
    "a factor of 1 - 1e-6": lambda x: x * (1 - 1e-6),
    "noise below the data's precision": lambda x: x + 1e-6 * torch.randn(x.shape, generator=generator(9)),
    "the next float": lambda x: torch.nextafter(x, torch.full_like(x, torch.inf)),
    "half precision more": lambda x: x.double() * (1 + 5e-7),
}
PAIRS = list(combinations(range(3), 2))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def windows(seed: int, count: int = COUNT, *, level: float = 0.0) -> Tensor:
    """Rounded to three digits, so that many numbers lie where a rounding has its boundaries; some are zero."""
    x = torch.randn(count, TIME, FEATURES, generator=generator(seed)).mul(1000).round().div(1000) + level
    x[:, 0, 0] = 0.0
    return x


def warnings_of(splits: list[Tensor]) -> tuple[str, ...]:
    return dataset_from_loaders([[(x, torch.arange(len(x)) % 2)] for x in splits], None).warnings


def refused(split: int, splits: list[Tensor]) -> None:
    with raises(DataError, "windows-repeated", f"data_loaders.{NAMES[split]}"):
        warnings_of(splits)


@pytest.mark.parametrize("level", [0.0, 100.0])
@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_split_without_windows_of_its_own_is_refused(first: int, second: int, disguise: str, level: float) -> None:
    splits = [windows(seed, level=level) for seed in range(3)]
    copied = splits[first][torch.randperm(COUNT, generator=generator(5))][: COUNT // 2]
    splits[second] = DISGUISES[disguise](copied)
    refused(second, splits)
    splits[second] = torch.cat([windows(second, level=level), DISGUISES[disguise](splits[first])])
    refused(first, splits)  # it lies within a later one


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_some_windows_are_counted_in_a_warning(first: int, second: int, disguise: str) -> None:
    splits = [windows(seed) for seed in range(3)]
    splits[second][5:12] = DISGUISES[disguise](splits[first][20:27])
    (line,) = warnings_of(splits)
    assert re.findall(r"\d+", line) == ["7", str(COUNT)]
    assert all(NAMES[split] in line for split in (first, second))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_each_feature_is_measured_by_its_own_scale(scale: float) -> None:
    """One feature is constant but for a little, and all that tells windows apart is in it."""
    splits = [windows(0, level=50.0) for _ in range(3)]
    for seed, x in enumerate(splits):
        x[:, :, 1] = scale * torch.randn(COUNT, TIME, generator=generator(30 + seed))
    assert warnings_of(splits) == ()


def test_windows_that_differ_a_little_or_overlap_are_not_copies() -> None:
    splits = [windows(0), windows(0), windows(2)]
    splits[1][:, -1, -1] += 0.01  # a hundredth of its feature's standard deviation, at one step
    assert warnings_of(splits) == ()
    series = torch.randn(200, FEATURES, generator=generator(1)).cumsum(0)
    every = torch.stack([series[start : start + TIME] for start in range(190)])
    assert warnings_of([every[0::3], every[1::3], every[2::3]]) == ()


def test_many_equal_windows_take_no_longer_than_others() -> None:
    """A detector that is off: all zeros, in each split."""
    splits = [torch.cat([torch.zeros(3000, TIME, FEATURES), windows(seed)]) for seed in range(3)]
    lines = warnings_of(splits)
    assert len(lines) == 3
    assert all("3,000" in line and "3,040" in line for line in lines)


def test_copies_are_found_among_many_near_ones() -> None:
    """A slow signal: windows differ by a thousandth of its spread."""
    rng = np.random.default_rng(0)
    levels = torch.from_numpy(rng.permutation(np.linspace(-1, 1, 3000)).astype(np.float32))
    every = levels[:, None, None].expand(-1, TIME, FEATURES).contiguous()
    parts = [every[:1000], every[1000:2000], every[2000:]]
    assert warnings_of(parts) == ()
    parts[2] = torch.cat([parts[2], parts[0][:5] * (1 + 1e-6)])
    (line,) = warnings_of(parts)
    assert re.findall(r"[\d,]*\d", line) == ["5", "1,005"]


@pytest.mark.parametrize("number", [0.0, 5.0, -1e17])
def test_windows_of_one_number_are_copies_of_each_other(number: float) -> None:
    """Every standard deviation of training is zero."""
    splits = [torch.full((4, TIME, FEATURES), number), windows(1), windows(2)]
    splits[2][3] = number
    refused(0, splits)
