"""Features of DataLoaders that are not standardised are named in a warning."""

import numpy as np
import pytest
import torch

from builders.loaders import three
from cnn_lstm_hyperopt.data.dataloaders.feature_scales import check_scales
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders


def windows(*columns: np.ndarray) -> torch.Tensor:
    """Return windows of five steps of these features."""
    return torch.from_numpy(np.stack(columns, axis=-1).reshape(-1, 5, len(columns)).astype(np.float32))


def normal(seed: int = 0, mean: float = 0.0, std: float = 1.0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=500)
    return mean + std * (drawn - drawn.mean()) / drawn.std()


@pytest.mark.parametrize(("mean", "std"), [(0, 1), (0.9, 1), (-0.9, 1), (0, 0.26), (0, 4.9)])
def test_standardised_features_are_accepted(mean, std):
    assert check_scales(windows(normal(), normal(1, mean, std))) == []


@pytest.mark.parametrize(("mean", "std"), [(1.1, 1), (-1.1, 1), (0, 0.24), (0, 5.1), (5000, 100), (0, 1e-3)])
def test_a_feature_of_another_scale_is_named_with_its_mean_and_deviation(mean, std):
    (line,) = check_scales(windows(normal(), normal(1, mean, std), normal(2)))
    assert "1 of 3 features" in line
    assert "feature_1 " in line
    if mean:
        assert f"mean {mean:.3g}" in line
    assert f"standard deviation {std:.3g}" in line
    assert "feature_0" not in line


def test_constants_and_flags_are_no_reason_for_a_warning():
    flags = (np.arange(500) % 40 == 0).astype(float)
    assert flags.std() < 0.25
    assert check_scales(windows(normal(), np.full(500, 70.0), flags)) == []


def test_many_features_take_one_line():
    (line,) = check_scales(windows(*(normal(seed, 50) for seed in range(40))))
    assert "40 of 40" in line
    assert len(line) < 700


def test_loaders_with_such_a_feature_are_read_and_the_warning_is_kept():
    loaders = three()
    for each in loaders:
        each.dataset.tensors[0][:, :, 2] *= 1000
    dataset = dataset_from_loaders(loaders, None)
    (line,) = dataset.warnings
    assert "feature_2 " in line
    assert dataset.description["warnings"] == [line]
    assert float(dataset.train.series[:, 2].abs().max()) > 500  # as in the loader
