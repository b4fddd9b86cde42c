"""The training loop: what it reports, how it ends, what it keeps, and that it repeats."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from sklearn.metrics import log_loss

from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.training import NonFiniteLossError, ValueScale, evaluate
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig
from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS
from cnn_lstm_hyperopt.training.schedules import SCHEDULES
from cnn_lstm_hyperopt.training.trainer import FIRST_LOOK

SCALE = ValueScale(5.0, 3.0)


def count_steps(net) -> list[torch.Tensor]:
    """Grows by the inputs of each training step."""
    inputs: list[torch.Tensor] = []

    def note(module, args, output):
        if module.training:
            inputs.append(args[0].detach().clone())

    net.register_forward_hook(note)
    return inputs


def test_it_learns_a_separable_problem(training, make_windows):
    _, outcome, reports = training(make_windows(200, 1), make_windows(100, 2), max_epochs=12)
    assert outcome.best is not None
    assert outcome.best.accuracy > 0.9
    assert outcome.best.mse < 0.3 * 9  # a third of the target's variance
    losses = [report.loss for report in reports if report.loss is not None]
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("scheduler", sorted(SCHEDULES))
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_every_optimiser_goes_with_every_schedule(training, make_windows, optimizer, scheduler):
    _, outcome, _ = training(
        make_windows(64, 1),
        make_windows(64, 2),
        optimizer=optimizer,
        scheduler=scheduler,
        max_epochs=4,
        weight_decay=1e-4,
        label_smoothing=0.1,
    )
    assert outcome.epochs == 4
    assert outcome.best is not None
    assert outcome.best.loss < 0.75


@pytest.mark.parametrize(("n_classes", "values"), [(2, False), (5, True), (3, False)])
def test_several_classes_with_and_without_a_regression_target(training, make_windows, make_network, n_classes, values):
    train, validation = (make_windows(80, seed, n_classes=n_classes, values=values) for seed in (1, 2))
    net = make_network(n_classes=n_classes, has_regression=values)
    _, outcome, _ = training(train, validation, net=net, max_epochs=8)
    assert outcome.best is not None
    assert (outcome.best.mse is None) is not values
    assert outcome.best.accuracy > 1.3 / n_classes


def test_reports_move_on_and_those_of_whole_epochs_carry_scores(training, make_windows):
    _, outcome, reports = training(make_windows(80, 1), make_windows(40, 2), max_epochs=5)
    assert [report.epoch for report in reports] == [FIRST_LOOK / 10, 1, 2, 3, 4, 5]
    assert all(a.seconds < b.seconds for a, b in itertools.pairwise(reports))
    assert (reports[0].score, reports[0].loss) == (None, None)
    for report in reports[1:]:
        assert report.score is not None
        assert 0 <= report.score <= 1
        assert report.loss is not None
        assert report.loss > 0
    assert all(report.projected_seconds > 0 for report in reports)
    assert (outcome.epochs, outcome.seconds, outcome.decision) == (5, reports[-1].seconds, CONTINUE)
    assert outcome.projected_seconds == pytest.approx(outcome.seconds)  # nothing is left to project


@pytest.mark.parametrize(
    ("windows", "expected"),
    [(8, [1, 2, 3, 4, 5]), (24, [1, 1 + 1 / 3, 2, 3, 4, 5]), (33, [4 / 5, 1, 2, 3, 4, 5])],
)
def test_the_first_look_comes_after_its_steps_wherever_they_fall(training, make_windows, windows, expected):
    """Batches of 8: 1, 3 and 5 steps an epoch (the last of one window)."""
    _, _, reports = training(make_windows(windows, 1), make_windows(10, 2), max_epochs=5)
    assert [report.epoch for report in reports] == pytest.approx(expected)


@pytest.mark.parametrize("action", [Action.PRUNE, Action.STOP])
def test_a_decision_within_the_first_epoch_ends_training_at_once(training, make_windows, make_network, action):
    net, decision = make_network(), Decision(action, "enough")
    steps = count_steps(net)
    _, outcome, reports = training(
        make_windows(80, 1), make_windows(40, 2), net=net, on_report=lambda report: decision, max_epochs=5
    )
    assert len(reports) == 1
    assert len(steps) == FIRST_LOOK
    assert outcome.decision == decision
    assert (outcome.epochs, outcome.best_epoch, outcome.best) == (FIRST_LOOK / 10, 0, None)
    assert outcome.seconds == reports[0].seconds
    assert outcome.projected_seconds is not None


@pytest.mark.parametrize("action", [Action.PRUNE, Action.STOP])
def test_a_decision_after_an_epoch_ends_training_with_the_best_so_far(training, make_windows, make_network, action):
    net, decision = make_network(), Decision(action, "enough")
    steps = count_steps(net)
    validation = make_windows(40, 2)
    _, outcome, reports = training(
        make_windows(80, 1),
        validation,
        net=net,
        on_report=lambda report: decision if report.epoch == 2 else CONTINUE,
        max_epochs=5,
    )
    assert len(steps) == 20
    assert (outcome.epochs, outcome.decision) == (2, decision)
    assert outcome.best is not None
    assert outcome.best.loss == min(report.loss for report in reports[1:])
    assert evaluate(net, validation, SCALE).loss == outcome.best.loss


def test_a_decision_within_a_later_epoch_keeps_the_best_weights(monkeypatch, training, make_windows, make_network):
    monkeypatch.setattr("cnn_lstm_hyperopt.training.trainer.LOOK_SECONDS", -1.0)  # a report after each step
    net, validation = make_network(), make_windows(40, 2)
    _, outcome, reports = training(
        make_windows(80, 1),
        validation,
        net=net,
        on_report=lambda report: Decision(Action.PRUNE) if report.epoch > 2.25 else CONTINUE,
        max_epochs=5,
    )
    assert [report.epoch for report in reports] == pytest.approx([step / 10 for step in range(1, 24)])
    assert outcome.epochs == pytest.approx(2.3)
    assert outcome.best_epoch in (1, 2)
    assert outcome.best is not None
    assert evaluate(net, validation, SCALE).loss == outcome.best.loss


def test_the_network_ends_with_the_weights_of_the_lowest_unsmoothed_validation_loss(training, make_windows):
    """Labels without a pattern: the longer the training, the worse the validation."""
    validation = make_windows(60, 2, noise=True)
    net, outcome, reports = training(
        make_windows(60, 1, noise=True), validation, max_epochs=12, learning_rate=0.03, label_smoothing=0.2
    )
    whole = [report for report in reports if report.loss is not None]
    best = min(whole, key=lambda report: report.loss)
    assert best is not whole[-1]
    assert outcome.best is not None
    assert outcome.best_epoch == best.epoch
    assert (outcome.best.loss, outcome.best.accuracy) == (best.loss, best.score)
    again = evaluate(net, validation, SCALE)
    assert (again.loss, again.accuracy, again.mse) == (outcome.best.loss, outcome.best.accuracy, outcome.best.mse)
    probabilities = again.predictions.probabilities.astype(float)
    expected = log_loss(validation.labels.numpy(), probabilities / probabilities.sum(axis=1, keepdims=True))
    assert best.loss == pytest.approx(expected, rel=1e-4)


def test_patience_ends_a_training_that_no_longer_improves(training, make_windows):
    _, outcome, _ = training(
        make_windows(60, 1, noise=True),
        make_windows(60, 2, noise=True),
        max_epochs=60,
        learning_rate=0.03,
        scheduler="plateau",
        min_patience=3,
        patience_factor=0.5,
    )
    assert outcome.epochs < 60
    assert outcome.epochs == outcome.best_epoch + max(3, math.ceil(0.5 * outcome.best_epoch))
    assert outcome.decision == CONTINUE
    assert outcome.projected_seconds > outcome.seconds  # of all 60 epochs


def test_every_epoch_sees_each_window_once_in_another_order(training, make_windows, make_network):
    windows, net = make_windows(33, 1), make_network()
    steps = count_steps(net)
    training(windows, make_windows(10, 2), net=net, max_epochs=2)
    assert [len(batch) for batch in steps] == [8, 8, 8, 8, 1] * 2
    epochs = [torch.cat(steps[:5])[:, 0, 0], torch.cat(steps[5:])[:, 0, 0]]
    expected = windows.gather(torch.arange(33))[:, 0, 0].sort().values
    assert all(torch.equal(epoch.sort().values, expected) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])


def test_a_batch_larger_than_the_data_is_one_step(training, make_windows, make_network):
    net = make_network()
    steps = count_steps(net)
    training(make_windows(10, 1), make_windows(10, 2), net=net, batch_size=64, max_epochs=3)
    assert [len(batch) for batch in steps] == [10, 10, 10]


def test_the_same_seeds_give_the_same_weights_to_the_bit(training, make_windows):
    def weights(seed):
        net, outcome, _ = training(make_windows(80, 1), make_windows(40, 2), seed=seed)
        return net.state_dict(), outcome.best.loss

    (first, loss), (again, loss_again), (other, _) = weights(1), weights(1), weights(2)
    assert loss == loss_again
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_training_does_not_depend_on_what_was_drawn_before(training, make_windows):
    first, _, _ = training(make_windows(80, 1), make_windows(40, 2))
    torch.rand(3)
    again, _, _ = training(make_windows(80, 1), make_windows(40, 2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


@pytest.fixture
def rates_of(monkeypatch, training):
    """Runs a training and gives the learning rate with which each epoch was trained."""

    def run(*windows, **changed) -> list[float]:
        made, rates = [], []
        adam = OPTIMIZERS["adam"].make
        monkeypatch.setattr(OPTIMIZERS["adam"], "make", lambda *args: made.append(adam(*args)) or made[0])

        def note(report):
            if report.loss is not None:
                rates.append(made[0].param_groups[0]["lr"])
            return CONTINUE

        training(*windows, on_report=note, **changed)
        return rates

    return run


def test_the_schedule_moves_on_once_an_epoch_over_all_epochs(rates_of, make_windows):
    rates = rates_of(make_windows(80, 1), make_windows(40, 2), max_epochs=6, learning_rate=0.02, weight_decay=1e-4)
    expected = [0.02 * (0.01 + 0.99 * (1 + math.cos(math.pi * epoch / 6)) / 2) for epoch in range(6)]
    assert rates == pytest.approx(expected)


def test_the_plateau_schedule_hears_the_validation_loss(rates_of, make_windows):
    """Labels without a pattern: validation gets worse while training gets better."""
    noise = (make_windows(60, 1, noise=True), make_windows(60, 2, noise=True))
    rates = rates_of(*noise, max_epochs=15, learning_rate=0.03, weight_decay=0.0, scheduler="plateau")
    assert rates[0] == 0.03
    assert rates[-1] < 0.03


@pytest.mark.parametrize("clip", [1e-3, 0.05])
def test_the_gradient_is_clipped_to_its_norm(training, make_windows, make_network, clip):
    """The first step of SGD moves the weights by the rate times the clipped gradient, 1.9 of it as Nesterov looks ahead."""
    net = make_network()
    before = torch.cat([weight.detach().flatten().clone() for weight in net.parameters()])
    training(
        make_windows(40, 1),
        make_windows(10, 2),
        net=net,
        optimizer="sgd",
        batch_size=64,
        max_epochs=1,
        learning_rate=1.0,
        gradient_clip=clip,
    )
    after = torch.cat([weight.detach().flatten() for weight in net.parameters()])
    assert float((after - before).norm()) == pytest.approx(1.9 * clip, rel=1e-2)


def test_a_huge_learning_rate_ends_in_a_non_finite_loss_that_names_the_epoch(training, make_windows):
    with pytest.raises(NonFiniteLossError, match=r"^the loss became (nan|inf) in epoch 1$"):
        training(make_windows(80, 1), make_windows(40, 2), optimizer="sgd", learning_rate=1e30)


def test_an_infinite_input_is_noticed_at_the_first_look_before_anything_is_reported(training, make_windows):
    windows = make_windows(80, 1)
    windows.series[:] = math.inf
    heard = []
    with pytest.raises(NonFiniteLossError, match=r"epoch 1$"):
        training(windows, make_windows(40, 2), on_report=heard.append)
    assert heard == []


def test_an_infinite_validation_input_is_noticed_after_the_epoch(training, make_windows):
    validation = make_windows(40, 2)
    validation.series[5] = math.nan
    with pytest.raises(NonFiniteLossError, match=r"epoch 1$"):
        training(make_windows(80, 1), validation)


def test_the_error_names_the_epoch_in_which_it_happened(training, make_windows):
    windows = make_windows(80, 1)

    def spoil(report):
        if report.epoch == 2:
            windows.series[:] = math.nan
        return CONTINUE

    with pytest.raises(NonFiniteLossError, match=r"^the loss became nan in epoch 3$"):
        training(windows, make_windows(40, 2), on_report=spoil, max_epochs=5)


class TestOnAClockOfOurOwn:
    """A training step takes as long as we say; so do validation and reports, which must not count."""

    STEP, WARM_UP, VALIDATION, REPORT = 0.25, 32.0, 64.0, 128.0  # exact in binary

    @pytest.fixture
    def timed(self, monkeypatch, training, make_windows, make_network):
        def run(**changed):
            clock = SimpleNamespace(now=0.0, steps=0)
            net = make_network()

            def tick(module, args, output):
                if module.training:
                    clock.now += self.WARM_UP if clock.steps == 0 else self.STEP
                    clock.steps += 1
                else:
                    clock.now += self.VALIDATION

            def on_report(report):
                clock.now += self.REPORT
                return CONTINUE

            net.register_forward_hook(tick)
            monkeypatch.setattr(
                "cnn_lstm_hyperopt.training.trainer.time",
                SimpleNamespace(perf_counter=lambda: clock.now, process_time=lambda: clock.now),
            )
            return training(make_windows(80, 1), make_windows(40, 2), net=net, on_report=on_report, **changed)

        return run

    def test_seconds_count_training_steps_alone(self, timed):
        _, outcome, reports = timed(max_epochs=2)
        assert outcome.seconds == self.WARM_UP + 19 * self.STEP
        assert [report.seconds for report in reports] == [self.WARM_UP + n * self.STEP for n in (3, 9, 19)]

    def test_the_projection_leaves_the_first_step_out_of_the_speed(self, timed):
        _, outcome, reports = timed(max_epochs=2)
        assert [report.projected_seconds for report in reports] == [self.WARM_UP + 19 * self.STEP] * 3
        assert outcome.projected_seconds == outcome.seconds

    def test_a_report_comes_about_once_a_second_within_a_long_epoch(self, timed, monkeypatch):
        monkeypatch.setattr("cnn_lstm_hyperopt.training.trainer.LOOK_SECONDS", 0.6)
        _, _, reports = timed(max_epochs=1)
        assert [report.epoch for report in reports] == [0.4, 0.7, 1.0]  # the first look, then every third step


def test_augmentation_touches_neither_the_series_nor_validation(training, make_windows, make_network):
    """Training sees other inputs than its windows; validation sees its own, in every epoch."""
    windows, validation, net = make_windows(32, 1), make_windows(16, 2), make_network()
    before = (windows.series.clone(), validation.series.clone())
    trained, judged = [], []

    def note(module, args, output):
        (trained if module.training else judged).append(args[0].detach().clone())

    net.register_forward_hook(note)
    everything = AugmentationConfig(jitter=0.1, scaling=0.2, time_masking=0.5, mixup=0.4)
    training(windows, validation, net=net, augmentation=everything, max_epochs=3)
    assert torch.equal(windows.series, before[0])
    assert torch.equal(validation.series, before[1])
    assert len(judged) == 3
    assert all(torch.equal(x, validation.gather(torch.arange(16))) for x in judged)
    own = windows.gather(torch.arange(32)).flatten(1)
    assert not any(bool((own == row).all(dim=1).any()) for x in trained for row in x.flatten(1))


def test_the_order_of_windows_is_drawn_from_the_generator_alone(training, make_windows, make_network):
    def order(seed):
        net = make_network()
        steps = count_steps(net)
        training(make_windows(33, 1), make_windows(10, 2), net=net, max_epochs=2, seed=seed)
        return torch.cat(steps)[:, 0, 0]

    assert torch.equal(order(1), order(1))
    assert not torch.equal(order(1), order(2))


def test_the_report_that_ends_a_training_of_itself_says_that_it_is_the_last(training, make_windows):
    _, _, reports = training(make_windows(80, 1), make_windows(40, 2), max_epochs=3)
    assert [report.last for report in reports] == [False, False, False, True]  # the first look, then epochs
    noise = (make_windows(60, 1, noise=True), make_windows(60, 2, noise=True))
    _, outcome, reports = training(*noise, max_epochs=60, learning_rate=0.03, min_patience=2)
    assert outcome.epochs < 60
    assert [report.last for report in reports] == [False] * (len(reports) - 1) + [True]
