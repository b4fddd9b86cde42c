"""Batches in parts and gradient checkpointing: the same step with less memory."""

import itertools

import pytest
import torch

from builders.trainings import AUGMENTATION, CPU, SCALE, Training, config, network, stop_after, structured, windows
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS
from cnn_lstm_hyperopt.training import read_checkpoint
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig
from cnn_lstm_hyperopt.training.loss_weighting import LOSS_WEIGHTINGS
from cnn_lstm_hyperopt.training.runtime.precision import supported_precisions
from cnn_lstm_hyperopt.training.train_step import Stepper

AUGMENTATIONS = {"none": AugmentationConfig(), "mixup": AugmentationConfig(mixup=0.4), "all": AUGMENTATION}
BOTH = {"micro_batches": 2, "gradient_checkpointing": True}
STRUCTURES = list(itertools.product(FUSIONS, (None, 2), (None, 2), (False, True)))


def steps(net, *, data=None, **changed):
    """Losses of a step per batch, and all learned weights afterwards."""
    # SGD moves in proportion to the gradient; Adam would amplify the rounding of a gradient near 0.
    settings = config(**{"optimizer": "sgd", "learning_rate": 0.1, **changed})
    net.train().recompute_in_backward(settings.gradient_checkpointing)
    torch.manual_seed(5)
    stepper = Stepper(net, data or windows(20), settings, scale=SCALE, generator=torch.Generator().manual_seed(3))
    losses = torch.stack([stepper.step(index) for index in torch.arange(20).split((8, 8, 3, 1))])
    learned = [*net.parameters(), *stepper.loss_weighting.parameters()]
    return losses, [weight.detach().clone() for weight in learned]


def assert_close(one, other):
    torch.testing.assert_close(one, other, rtol=2e-5, atol=1e-6)


def assert_equal(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("micro_batches", [2, 3, 100])
@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("balancing", [*LOSS_WEIGHTINGS, None])
def test_a_batch_in_parts_is_the_step_of_the_whole_batch(balancing, augmentation, micro_batches):
    """Penalties, decay and clipping come once; batches of 3 and 1 windows have fewer windows than parts."""
    options = {"label_smoothing": 0.1, "weight_decay": 1e-2, "l1": 1e-3, "l2": 1e-2, "gradient_clip": 0.2}
    options |= {"balancing": balancing or "fixed", "augmentation": AUGMENTATIONS[augmentation]}
    shape = {} if balancing else {"n_classes": 3, "has_regression": False}
    data = windows(20, n_classes=shape.get("n_classes", 2), values=not shape)
    parts, whole = (
        steps(network(dropout=0.0, **shape), data=data, micro_batches=n, **options) for n in (micro_batches, 1)
    )
    assert_close(parts, whole)


@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize("balancing", LOSS_WEIGHTINGS)
def test_recomputing_in_backward_changes_no_bit_and_dropout_draws_the_same(balancing, micro_batches):
    options = {"balancing": balancing, "augmentation": AUGMENTATION, "micro_batches": micro_batches}
    assert_equal(*(steps(network(dropout=0.4), gradient_checkpointing=c, **options) for c in (False, True)))


@pytest.mark.mostly_slow(12)
@pytest.mark.mostly_thorough(20)
@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_networks_of_every_structure_take_the_same_steps(structure):
    assert_close(steps(structured(*structure), **BOTH), steps(structured(*structure)))
    assert_equal(*(steps(structured(*structure, dropout=0.3), gradient_checkpointing=c) for c in (False, True)))


@pytest.mark.skipif("bfloat16" not in supported_precisions(CPU), reason="this processor has no bfloat16")
def test_in_bfloat16_too():
    def taken(dropout=0.0, **saving):
        return steps(structured("attention", 2, 2, True, dropout=dropout), precision="bfloat16", **saving)

    assert_equal(*(taken(0.3, gradient_checkpointing=c) for c in (False, True)))
    torch.testing.assert_close(taken(micro_batches=2), taken(), rtol=0.05, atol=0.02)


def stored_for_backward(net):
    """Bytes that a forward pass stores for the backward pass, each tensor once."""
    stored, weights = {}, {weight.data_ptr() for weight in net.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: stored.setdefault(t.data_ptr(), t), lambda t: t):
        net.train()(windows(256).gather(torch.arange(256)))
    return sum(tensor.untyped_storage().nbytes() for place, tensor in stored.items() if place not in weights)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_checkpointing_stores_less_for_backward_until_the_training_ends(training, fusion):
    net = structured(fusion, 2, 2, True, dropout=0.3)
    plain = stored_for_backward(net)
    net.recompute_in_backward(True)
    assert stored_for_backward(net) < 0.4 * plain
    training(windows(16), windows(8, 1), net=net, max_epochs=1, **BOTH)
    assert stored_for_backward(net) == plain


@pytest.mark.parametrize(("parts", "sizes", "largest"), [(1, [16], 40), (2, [8], 8), (3, [6, 5, 5], 6), (16, [1], 1)])
def test_parts_are_of_nearly_one_size_and_an_evaluation_batch_is_no_larger(training, parts, sizes, largest):
    net, seen, options = network(dropout=0.0), {True: [], False: []}, {"batch_size": 16, "max_epochs": 1}
    net.register_forward_hook(lambda module, args, output: seen[module.training].append(len(args[0])))
    _, outcome, _ = training(windows(32), windows(40, 1), net=net, micro_batches=parts, **options)
    assert seen[True] == sizes * (32 // sum(sizes))
    assert (max(seen[False]), sum(seen[False])) == (largest, 40)
    _, plain, _ = training(windows(32), windows(40, 1), net=network(dropout=0.0), **options)
    assert outcome.best.loss == pytest.approx(plain.best.loss, rel=1e-4)


def test_a_training_that_ran_out_of_memory_resumes_with_less(tmp_path):
    """From its checkpoint; without dropout, the result is the same up to rounding."""
    path, options = tmp_path / "checkpoint.pt", {"max_epochs": 4, "learning_rate": 0.01}
    whole, first, second = (Training(net=network(dropout=0.0), **options, **more) for more in ({}, {}, BOTH))
    first.run(stop_after(2), save=path)
    outcome, saved = whole.run().outcome, second.run(start=read_checkpoint(path)).outcome
    assert (saved.epochs, saved.best_epoch) == (4, outcome.best_epoch)
    assert saved.best.loss == pytest.approx(outcome.best.loss, rel=1e-3)
