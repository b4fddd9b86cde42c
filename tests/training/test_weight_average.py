"""Warm-up of the learning rate and averaged weights, against their definitions, and the same after a resumed training."""

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim.optimizer import register_optimizer_step_pre_hook

from builders.trainings import SCALE, Training, assert_same_end, go_on, network, stop_after
from cnn_lstm_hyperopt.training import last_good
from cnn_lstm_hyperopt.training.fixed_length import FixedLength, train_fixed
from cnn_lstm_hyperopt.training.validation import evaluate

SMOOTH = {"weight_averaging": "ema", "warmup_epochs": 1.5, "scheduler": "cosine"}


def weights_of(net):
    return parameters_to_vector(net.parameters()).detach().clone()


def steps_of(training, epochs):
    """The fold, and a list of the weights after each step at the end of each epoch, which is evaluated and saved."""
    fold, weights = training.folds()[0], []
    for epoch in range(1, epochs + 1):
        fold.start_epoch(epoch)
        with fold.in_training():
            while fold.done < fold.steps:
                fold.step()
                weights.append(weights_of(fold.network))
        evaluation = fold.evaluate()
        fold.save_best(evaluation)
        fold.end_epoch(evaluation.loss)
        yield fold, weights, evaluation


def test_validated_and_saved_weights_are_the_average_of_the_steps():
    training, net = Training((40,), weight_averaging="ema", max_epochs=3), network(seed=5)
    for fold, steps, evaluation in steps_of(training, 3):
        expected = steps[0]
        for number, weights in enumerate(steps[1:], start=1):
            decay = min(1 - 1 / fold.steps, (1 + number) / (10 + number))
            expected = decay * expected + (1 - decay) * weights
        vector_to_parameters(expected, net.parameters())
        assert evaluate(net, training.validation[0], SCALE).loss == pytest.approx(evaluation.loss, rel=1e-4)
        torch.testing.assert_close(weights_of(fold.network), steps[-1])  # the training continues from its own weights
    fold.finish()
    torch.testing.assert_close(weights_of(fold.network), expected, rtol=1e-4, atol=1e-6)


def test_the_learning_rate_rises_over_the_steps_of_the_warm_up_alone():
    rates = []
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    try:
        *_, (fold, _, _) = steps_of(Training((40,), scheduler="plateau", warmup_epochs=1.6, max_epochs=3), 2)
    finally:
        hook.remove()
    assert rates == pytest.approx([0.03 * min(1, n / 8) for n in range(1, 11)])
    assert fold.state_dict()["optimizer"]["param_groups"][0]["lr"] == 0.03


@pytest.mark.parametrize("options", [SMOOTH, {"passes": 3, **SMOOTH, "weight_averaging": "none"}])
def test_a_resumed_training_has_the_same_average_rates_and_passes(tmp_path, options):
    whole, file = Training((16, 24), opposed=True, max_epochs=3, **options).run(), tmp_path / "checkpoint.pt"
    Training((16, 24), opposed=True, max_epochs=3, **options).run(stop_after(1), save=file)
    part = Training((16, 24), seed=10, opposed=True, max_epochs=3, **options).run(start=last_good(file))
    assert_same_end(whole, part)
    for epoch in (2, 3):
        np.testing.assert_equal(part.states[epoch], whole.states[epoch])


def test_a_training_of_fixed_length_ends_with_the_averaged_weights():
    training = Training((40,), weight_averaging="ema", max_epochs=3)
    fold = training.folds()[0]
    train_fixed(fold, training.config, FixedLength(2), on_report=go_on)
    found = evaluate(training.networks[0], training.validation[0], SCALE)
    assert found.loss == pytest.approx(fold.evaluate().loss)
