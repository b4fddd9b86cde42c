"""Features that training does not change: stored once or computed in every step, the training is the same."""

import pytest
import torch

from builders.trainings import Training, config, structured, windows
from cnn_lstm_hyperopt.training import fixed_features
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig
from cnn_lstm_hyperopt.training.fold import training_facts


def trained(**changed):
    """Weights after three epochs of a network with random kernels, and the number of times that it computed features."""
    network, calls = structured("gated", kernel_groups=2), []
    network.kernels.features.register_forward_hook(lambda *_: calls.append(1))
    training = Training(sizes=(40,), net=network, max_epochs=3, **changed)
    for fold in training.folds():
        for epoch in (1, 2, 3):
            fold.start_epoch(epoch)
            with fold.in_training():
                for _ in range(fold.steps):
                    fold.step()
            fold.evaluate()
    return network.state_dict(), len(calls)


def test_stored_features_give_the_same_training(monkeypatch):
    stored, once = trained()
    monkeypatch.setattr(fixed_features, "MAX_BYTES", 0)
    computed, often = trained()
    assert once < often
    for name, weights in stored.items():
        torch.testing.assert_close(weights, computed[name], rtol=1e-4, atol=1e-5)


def test_the_features_of_augmented_windows_are_not_stored():
    assert trained(augmentation=AugmentationConfig(jitter=0.1))[1] > trained()[1]


@pytest.mark.parametrize("count", [1, 16, 37])
def test_all_windows_have_their_features(count):
    network, data = structured("gated", kernel_groups=2), windows(count, 0)
    found = fixed_features.fixed_features(network, data)
    torch.testing.assert_close(found, network.fixed_features(data.gather(torch.arange(count))))
    assert fixed_features.fixed_features(structured("gated"), data) is None


def test_checkpoints_of_earlier_versions_fit_networks_without_random_kernels():
    facts = [training_facts(Training(net=structured("gated", kernel_groups=n)).folds(), config()) for n in (0, 2)]
    assert ["kernel_groups" in each["network"] for each in facts] == [False, True]
