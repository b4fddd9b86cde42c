"""Augmentation: each kind by itself, its statistics, and its random stream."""

from dataclasses import replace

import pytest
import torch

from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig, augment

KINDS = ("jitter", "scaling", "time_masking", "mixup")
ALL = AugmentationConfig(jitter=0.1, scaling=0.2, time_masking=0.3, mixup=0.4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(windows=6, time=10, features=3):
    """No entry is 0."""
    return torch.rand(windows, time, features, generator=generator(9)) + 0.5


def test_strengths_of_zero_are_the_identity():
    x, targets, none = batch(), torch.eye(6), AugmentationConfig()
    mixed = augment(x, none, generator())
    assert torch.equal(mixed.x, x)
    assert (mixed.partner, mixed.share, none.active) == (None, 1.0, False)
    assert augment(x, replace(ALL, mixup=0.0), generator()).mix(targets) is targets


@pytest.mark.parametrize("config", [*(AugmentationConfig(**{kind: 0.3}) for kind in KINDS), ALL], ids=[*KINDS, "all"])
def test_each_kind_changes_something_and_only_its_generator_decides_what(config):
    x, shared = batch(), generator(1)
    first, (again, other) = augment(x, config, shared), (augment(x, config, generator(seed)) for seed in (1, 2))
    assert config.active
    assert (first.x.shape, first.x.dtype, first.share) == (x.shape, x.dtype, again.share)
    assert torch.equal(x, batch())
    for another in (x, other.x, augment(x, config, shared).x):  # another seed, the next batch
        assert not torch.equal(first.x, another)
    torch.rand(3)  # the global generator has no effect
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.x, augment(x, config, generator(1)).x)


@pytest.mark.parametrize("strength", [0.05, 0.5])
def test_jitter_adds_independent_normal_noise_of_its_strength(strength):
    x = batch(200, 20, 5)
    noise = augment(x, AugmentationConfig(jitter=strength), generator()).x - x  # 20,000 draws
    assert float(noise.mean()) == pytest.approx(0, abs=4 * strength / 20_000**0.5)
    assert float(noise.std()) == pytest.approx(strength, rel=4 / 40_000**0.5)
    assert float((noise.abs() < strength).double().mean()) == pytest.approx(0.683, abs=0.015)
    assert abs(float(torch.corrcoef(torch.stack([noise[:, :-1].flatten(), noise[:, 1:].flatten()]))[0, 1])) < 0.03


@pytest.mark.parametrize("strength", [0.05, 0.2])
def test_scaling_multiplies_each_feature_of_a_window_by_one_factor(strength):
    x = batch(500, 7, 8)
    factors = augment(x, AugmentationConfig(scaling=strength), generator()).x / x
    assert torch.allclose(factors, factors[:, :1].expand_as(factors), rtol=1e-5)
    one = factors[:, 0]  # 4,000 draws
    assert float(one.mean()) == pytest.approx(1, abs=4 * strength / 4000**0.5)
    assert float(one.std()) == pytest.approx(strength, rel=4 / 8000**0.5)


@pytest.mark.parametrize(
    ("share", "time", "longest"), [(0.3, 10, 3), (0.3, 60, 18), (0.05, 10, 1), (1.0, 10, 10), (0.5, 2, 1)]
)
def test_a_time_mask_is_one_run_of_at_most_the_share_over_all_features(share, time, longest):
    """Lengths 0..longest and all places occur; the rest of the window is unchanged."""
    x = batch(3000, time, 2)
    out = augment(x, AugmentationConfig(time_masking=share), generator()).x
    masked = (out == 0).all(dim=2)  # (batch, time)
    assert torch.equal(out == 0, masked.unsqueeze(2).expand_as(out))
    assert torch.equal(out[~masked], x[~masked])
    lengths = masked.sum(dim=1)
    assert sorted(set(lengths.tolist())) == list(range(longest + 1))
    starts_of_runs = (masked & ~torch.nn.functional.pad(masked[:, :-1], (1, 0))).sum(dim=1)
    assert torch.equal(starts_of_runs, (lengths > 0).long())  # one run
    assert (lengths.bincount() / 3000).tolist() == pytest.approx([1 / (longest + 1)] * (longest + 1), abs=0.05)
    assert bool(masked.any(dim=0).all())  # each place is masked now and then, the first and the last too


def test_mixup_mixes_targets_as_it_mixes_inputs():
    x = batch(8)
    mixed = augment(x, AugmentationConfig(mixup=0.4), generator(3))
    assert sorted(mixed.partner.tolist()) == list(range(8))
    assert 0 < mixed.share < 1
    torch.testing.assert_close(mixed.x, mixed.share * x + (1 - mixed.share) * x[mixed.partner])
    torch.testing.assert_close(mixed.mix(x), mixed.x)
    torch.testing.assert_close(mixed.mix(torch.eye(8)).sum(dim=1), torch.ones(8))
    one = batch(1)  # is mixed with itself
    torch.testing.assert_close(augment(one, AugmentationConfig(mixup=0.4), generator()).x, one)


@pytest.mark.parametrize("alpha", [0.05, 0.4, 3.0])
def test_mixup_draws_its_share_from_a_symmetric_beta(alpha):
    """Mean 1/2, variance 1 / (4 (2α + 1)); a vanishing α still gives a share."""
    shared = generator()
    shares = torch.tensor([augment(batch(2, 2, 1), AugmentationConfig(mixup=alpha), shared).share for _ in range(3000)])
    variance = 1 / (4 * (2 * alpha + 1))
    assert bool(((shares >= 0) & (shares <= 1)).all())
    assert float(shares.mean()) == pytest.approx(0.5, abs=4 * (variance / 3000) ** 0.5)
    assert float(shares.var()) == pytest.approx(variance, rel=0.1)
    for vanishing in (1e-300, 1e-6):
        assert 0 <= augment(batch(2, 2, 1), AugmentationConfig(mixup=vanishing), shared).share <= 1
