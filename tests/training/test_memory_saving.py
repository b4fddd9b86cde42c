"""A batch in parts, and intermediate results made anew in backward: the same step with less memory."""

import itertools
import math
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.models.cnn_lstm.config import CnnLstmConfig
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS
from cnn_lstm_hyperopt.models.cnn_lstm.params import CnnConfig, LstmConfig
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.progress import CONTINUE
from cnn_lstm_hyperopt.training import FoldTraining, ValueScale, read_checkpoint, train_folds, write_checkpoint
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig
from cnn_lstm_hyperopt.training.loss_weighting import BALANCINGS
from cnn_lstm_hyperopt.training.runtime.precision import supported_precisions
from cnn_lstm_hyperopt.training.train_step import Stepper

CPU, SCALE = torch.device("cpu"), ValueScale(5.0, 3.0)
FEATURES = 3
AUGMENTATIONS = {
    "none": AugmentationConfig(),
    "mixup": AugmentationConfig(mixup=0.4),
    "all": AugmentationConfig(jitter=0.1, scaling=0.2, time_masking=0.5, mixup=0.4),
}
BOTH = {"micro_batches": 2, "gradient_checkpointing": True}
STRUCTURES = list(itertools.product(FUSIONS, (None, 2), (None, 2), (False, True)))


def structured(fusion: str, cnn: int | None, lstm: int | None, rich: bool, *, dropout: float = 0.0) -> Network:
    """Any fusion, with and without attention; ``rich``: two layers, both ways, with skips and a shortcut."""
    own = {name: spec.default.values[0] for name, spec in FUSIONS[fusion].parameters.items()}
    config = CnnLstmConfig(
        input_dim=FEATURES,
        n_classes=2,
        has_regression=True,
        cnn=CnnConfig(4, (1, 3), dropout, "gelu", residual=rich, attention_heads=cnn),
        lstm=LstmConfig(8, 1 + rich, dropout, bidirectional=rich, attention_heads=lstm, skip_connections=rich),
        fusion=FUSIONS[fusion](fusion, 8, dropout, **own),
    )
    return build_network(config, seed=1, device=CPU)


Taken = tuple[Tensor, list[Tensor]]


def assert_close(one: Taken, other: Taken) -> None:
    torch.testing.assert_close(one, other, rtol=2e-5, atol=1e-6)


@pytest.fixture
def steps(make_windows, make_config) -> Callable[..., Taken]:
    """``steps(network, batches=…, windows=…, **config)``: the losses told, and all that is learnt, after a step a batch."""

    def take(
        network: Network, *, batches: tuple[int, ...] = (8, 8, 3, 1), windows: Any = None, **changed: Any
    ) -> Taken:
        # SGD moves in proportion to the gradient; Adam would blow up what rounding makes of a gradient near 0.
        config = make_config(**{"optimizer": "sgd", "learning_rate": 0.1, **changed})
        network.train()
        network.recompute_in_backward(config.gradient_checkpointing)
        torch.manual_seed(5)
        stepper = Stepper(
            network,
            windows or make_windows(sum(batches)),
            config,
            scale=SCALE,
            generator=torch.Generator().manual_seed(3),
        )
        losses = torch.stack([stepper.step(index) for index in torch.arange(sum(batches)).split(batches)])
        learnt = [*network.parameters(), *stepper.balancing.parameters()]
        return losses, [weight.detach().clone() for weight in learnt]

    return take


# ---------------------------------------------------------------------- the same step


@pytest.mark.parametrize("micro_batches", [2, 3, 100])
@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("balancing", BALANCINGS)
def test_a_batch_in_parts_is_the_step_of_the_whole_batch(steps, make_network, balancing, augmentation, micro_batches):
    """Penalties, decay and clipping come once; batches of 3 and 1 windows have fewer than there are parts."""
    options = {
        "balancing": balancing,
        "augmentation": AUGMENTATIONS[augmentation],
        "label_smoothing": 0.1,
        "weight_decay": 1e-2,
        "l1": 1e-3,
        "l2": 1e-2,
        "gradient_clip": 0.2,
    }
    whole = steps(make_network(dropout=0.0), **options)
    assert_close(steps(make_network(dropout=0.0), micro_batches=micro_batches, **options), whole)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_without_regression_and_with_more_classes_too(steps, make_windows, make_network, augmentation):
    taken = [
        steps(
            make_network(dropout=0.0, n_classes=3, has_regression=False),
            windows=make_windows(20, n_classes=3, values=False),
            augmentation=AUGMENTATIONS[augmentation],
            label_smoothing=0.1,
            micro_batches=parts,
        )
        for parts in (1, 3)
    ]
    assert taken[0][0][:, 1].tolist() == [0, 0, 0, 0]
    assert_close(*taken)


def test_parts_are_of_nearly_one_size(steps, make_network):
    net, sizes = make_network(), []
    net.register_forward_hook(lambda module, args, output: sizes.append(len(args[0])))
    steps(net, batches=(8, 7, 2, 1), micro_batches=3)
    assert sizes == [3, 3, 2, 3, 2, 2, 1, 1, 1]


@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize("balancing", BALANCINGS)
def test_computing_anew_in_backward_changes_no_bit_and_dropout_draws_the_same(
    steps, make_network, balancing, micro_batches
):
    options = {"balancing": balancing, "augmentation": AUGMENTATIONS["all"], "micro_batches": micro_batches}
    kept, anew = (steps(make_network(dropout=0.4), gradient_checkpointing=c, **options) for c in (False, True))
    torch.testing.assert_close(anew, kept, rtol=0, atol=0)


@pytest.mark.mostly_slow(12)
@pytest.mark.parametrize(("fusion", "cnn", "lstm", "rich"), STRUCTURES)
def test_networks_of_every_structure_take_the_same_steps(steps, fusion, cnn, lstm, rich):
    structure = (fusion, cnn, lstm, rich)
    assert_close(steps(structured(*structure), **BOTH), steps(structured(*structure)))
    kept, anew = (steps(structured(*structure, dropout=0.3), gradient_checkpointing=c) for c in (False, True))
    torch.testing.assert_close(anew, kept, rtol=0, atol=0)


@pytest.mark.skipif("bfloat16" not in supported_precisions(CPU), reason="this processor has no bfloat16")
def test_in_bfloat16_too(steps):
    network = ("attention", 2, 2, True)
    kept, anew = (
        steps(structured(*network, dropout=0.3), precision="bfloat16", gradient_checkpointing=c) for c in (False, True)
    )
    torch.testing.assert_close(anew, kept, rtol=0, atol=0)
    parts, whole = (steps(structured(*network), precision="bfloat16", micro_batches=parts) for parts in (2, 1))
    torch.testing.assert_close(parts, whole, rtol=0.05, atol=0.02)


# ---------------------------------------------------------------------- less memory


class PeakBytes(TorchDispatchMode):
    """Counts the bytes of tensors that are made while it is on, and live at once."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._live = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and (key := tensor.untyped_storage()._cdata) not in self._known:
                storage = tensor.untyped_storage()
                self._known.add(key)
                self._live += storage.nbytes()
                self.peak = max(self.peak, self._live)
                weakref.finalize(storage, self._forget, key, storage.nbytes())
        return made

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._live -= size


def peak_of_a_step(make_windows: Any, make_config: Any, network: Network, **saving: Any) -> int:
    config = make_config(batch_size=256, **saving)
    network.train()
    network.recompute_in_backward(config.gradient_checkpointing)
    stepper = Stepper(network, make_windows(256), config, scale=SCALE, generator=torch.Generator())
    stepper.step(torch.arange(256))  # the optimiser's own state is there from now on
    with PeakBytes() as counted:
        stepper.step(torch.arange(256))
    return counted.peak


@pytest.mark.parametrize("fusion", FUSIONS)
def test_each_saves_memory_and_together_they_save_more(make_windows, make_config, fusion):
    def peak(**saving: Any) -> int:
        return peak_of_a_step(make_windows, make_config, structured(fusion, 2, 2, True, dropout=0.3), **saving)

    plain = peak()
    assert peak(micro_batches=2) < 0.6 * plain
    assert peak(gradient_checkpointing=True) < 0.6 * plain
    assert peak(**BOTH) < 0.4 * plain


def test_what_is_trained_to_save_memory_is_an_ordinary_network_in_the_end(training, make_windows, make_network):
    def kept_for_backward(net: Network) -> int:
        kept: list[Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
            net.train()(make_windows(4).gather(torch.arange(4)))
        return len(kept)

    net = make_network()
    training(make_windows(16), make_windows(8, 1), net=net, **BOTH)
    assert kept_for_backward(net) == kept_for_backward(make_network())


# ---------------------------------------------------------------------- whole trainings


@pytest.mark.parametrize(("micro_batches", "largest"), [(1, 40), (2, 8), (3, 6), (16, 1)])
def test_an_evaluation_takes_no_more_windows_at_once_than_a_part_has(
    training, make_windows, make_network, micro_batches, largest
):
    net, sizes = make_network(dropout=0.0), []
    net.register_forward_hook(lambda module, args, output: None if module.training else sizes.append(len(args[0])))
    _, outcome, _ = training(
        make_windows(32), make_windows(40, 1), net=net, batch_size=16, max_epochs=1, micro_batches=micro_batches
    )
    assert (max(sizes), sum(sizes)) == (largest, 40)
    _, plain, _ = training(
        make_windows(32), make_windows(40, 1), net=make_network(dropout=0.0), batch_size=16, max_epochs=1
    )
    assert outcome.best.loss == pytest.approx(plain.best.loss, rel=1e-4)


def test_a_training_learns_with_both(training, make_windows):
    net, options = structured("attention", 2, 2, True, dropout=0.1), {"learning_rate": 0.03, "batch_size": 32}
    _, outcome, _ = training(make_windows(192), make_windows(64, 1), net=net, max_epochs=4, **options, **BOTH)
    assert outcome.best.accuracy > 0.7


def test_a_training_that_ran_out_of_memory_goes_on_with_less(
    monkeypatch, make_windows, make_network, make_config, tmp_path
):
    """From its checkpoint; with dropout off, what comes out is the same up to rounding."""
    monkeypatch.setattr("cnn_lstm_hyperopt.training.trainer.LOOK_SECONDS", math.inf)
    path, losses = tmp_path / "checkpoint.pt", []

    def run(start=None, **saving):
        net, config = make_network(dropout=0.0), make_config(max_epochs=4, **saving)
        fold = FoldTraining(
            net, make_windows(40, noise=True), make_windows(24, 1), config, scale=SCALE, generator=torch.Generator()
        )

        def keep(decision, take):
            checkpoint = take()
            if start is None and checkpoint.epoch == 2:
                write_checkpoint(path, checkpoint)

        outcome = train_folds([fold], config, on_report=lambda report: CONTINUE, start=start, on_epoch_end=keep)
        losses.append(outcome.best.loss)
        return outcome

    whole, saved = run(), run(read_checkpoint(path), **BOTH)
    assert (saved.epochs, saved.best_epoch) == (4, whole.best_epoch)
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
