"""The training loop: what it reports, how it ends, which weights it returns, and that it repeats."""

import itertools
import math
import re

import pytest
import torch
from sklearn.metrics import log_loss

from builders.trainings import AUGMENTATION, SCALE, network, windows
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.training import NonFiniteLossError, evaluate, trainer
from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS
from cnn_lstm_hyperopt.training.trainer import FIRST_LOOK

QUARTERS = (0.25, 0.5, 0.75)


def inputs_of(net):
    """Grow with the inputs of each training step, and of each evaluation."""
    trained, judged = [], []

    def note(module, args, output):
        (trained if module.training else judged).append(args[0].detach().clone())

    net.register_forward_hook(note)
    return trained, judged


@pytest.mark.parametrize(
    ("n_classes", "values", "accuracy"), [(2, True, 0.9), (2, False, 0.65), (5, True, 0.26), (3, False, 0.43)]
)
def test_it_learns_a_separable_problem_with_and_without_a_regression_target(training, n_classes, values, accuracy):
    train, validation = (windows(200, seed, n_classes=n_classes, values=values) for seed in (1, 2))
    net = network(n_classes=n_classes, has_regression=values)
    _, outcome, reports = training(train, validation, net=net, max_epochs=10)
    assert outcome.best.accuracy > accuracy
    assert outcome.best.mse < 0.3 * 9 if values else outcome.best.mse is None  # a third of the target's variance
    losses = [report.loss for report in reports if report.loss is not None]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("count", "expected"),
    [(80, [0.4, 1, 2, 3, 4, 5]), (8, [1, 2, 3, 4, 5]), (24, [1, 1 + 1 / 3, 2, 3, 4, 5]), (33, [0.8, 1, 2, 3, 4, 5])],
)
def test_reports_come_after_the_first_steps_and_each_epoch(training, count, expected):
    """Batches of 8: 10, 1, 3 and 5 steps an epoch; only those of whole epochs have an evaluation."""
    _, outcome, reports = training(windows(count, 1), windows(10, 2), max_epochs=5)
    assert [report.epoch for report in reports] == pytest.approx(expected)
    assert all(a.seconds < b.seconds for a, b in itertools.pairwise(reports))
    for report in reports:
        whole = report.epoch == int(report.epoch)
        assert (report.score is not None, report.loss is not None) == (whole, whole)
        assert report.last is (report.epoch == 5)
    assert (outcome.epochs, outcome.seconds, outcome.decision) == (5, reports[-1].seconds, CONTINUE)
    assert outcome.projected_seconds == pytest.approx(outcome.seconds)  # no step is left


@pytest.mark.parametrize("action", [Action.PRUNE, Action.STOP])
@pytest.mark.parametrize(("after", "steps"), [(0.4, 4), (2, 20), (2.25, 23)])
def test_a_decision_ends_training_at_once_with_the_best_weights_so_far(monkeypatch, training, action, after, steps):
    monkeypatch.setattr(trainer, "LOOK_SECONDS", -1.0)  # a report after each step
    net, decision, validation = network(), Decision(action, "enough"), windows(40, 2)
    trained, _ = inputs_of(net)
    options = {"on_report": lambda report: decision if report.epoch >= after else CONTINUE, "max_epochs": 5}
    _, outcome, reports = training(windows(80, 1), validation, net=net, **options)
    assert [report.epoch for report in reports] == pytest.approx([step / 10 for step in range(1, steps + 1)])
    assert len(trained) == steps
    assert (outcome.epochs, outcome.decision) == (pytest.approx(steps / 10), decision)
    assert (outcome.seconds, outcome.projected_seconds is None) == (reports[-1].seconds, False)
    if after < 1:
        assert (outcome.best_epoch, outcome.best) == (0, None)
        return
    assert outcome.best.loss == min(report.loss for report in reports if report.loss is not None)
    assert evaluate(net, validation, SCALE).loss == outcome.best.loss


def test_the_network_ends_with_the_weights_of_the_lowest_unsmoothed_validation_loss(training):
    """Labels without a pattern: the longer the training, the worse the validation."""
    validation, options = windows(60, 2, noise=True), {"max_epochs": 12, "learning_rate": 0.03, "label_smoothing": 0.2}
    net, outcome, reports = training(windows(60, 1, noise=True), validation, **options)
    whole = [report for report in reports if report.loss is not None]
    best = min(whole, key=lambda report: report.loss)
    assert best is not whole[-1]
    assert outcome.best_epoch == best.epoch
    assert (outcome.best.loss, outcome.best.accuracy) == (best.loss, best.score)
    again = evaluate(net, validation, SCALE)
    assert (again.loss, again.accuracy, again.mse) == (outcome.best.loss, outcome.best.accuracy, outcome.best.mse)
    probabilities = again.predictions.probabilities.astype(float)
    expected = log_loss(validation.labels.numpy(), probabilities / probabilities.sum(axis=1, keepdims=True))
    assert best.loss == pytest.approx(expected, rel=1e-4)


def test_patience_ends_a_training_that_no_longer_improves(training):
    options = {"learning_rate": 0.03, "scheduler": "plateau", "min_patience": 3, "patience_factor": 0.5}
    _, outcome, reports = training(windows(60, 1, noise=True), windows(60, 2, noise=True), max_epochs=60, **options)
    assert outcome.epochs == outcome.best_epoch + max(3, math.ceil(0.5 * outcome.best_epoch)) < 60
    assert outcome.decision == CONTINUE
    assert outcome.projected_seconds > outcome.seconds  # of all 60 epochs
    assert [report.last for report in reports] == [False] * (len(reports) - 1) + [True]


def test_every_epoch_sees_each_window_once_in_an_order_that_only_the_generator_decides(training):
    def order(seed):
        net = network()
        steps, _ = inputs_of(net)
        training(windows(33, 1), windows(10, 2), net=net, max_epochs=2, seed=seed)
        assert [len(batch) for batch in steps] == [8, 8, 8, 8, 1] * 2
        return torch.cat(steps)[:, 0, 0].split(33)

    (first, second), (again, _), (other, _) = order(1), order(1), order(2)
    expected = windows(33, 1).gather(torch.arange(33))[:, 0, 0].sort().values
    assert all(torch.equal(epoch.sort().values, expected) for epoch in (first, second))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_batch_larger_than_the_data_is_one_step(training):
    net = network()
    steps, _ = inputs_of(net)
    training(windows(10, 1), windows(10, 2), net=net, batch_size=64, max_epochs=3)
    assert [len(batch) for batch in steps] == [10, 10, 10]


def test_the_same_seeds_give_the_same_weights_to_the_bit_whatever_was_drawn_before(training):
    def weights(seed):
        net, outcome, _ = training(windows(80, 1), windows(40, 2), seed=seed)
        return torch.cat([weight.detach().flatten() for weight in net.parameters()]), outcome.best.loss

    (first, loss), _ = weights(1), torch.rand(3)
    (again, loss_again), (other, _) = weights(1), weights(2)
    assert loss == loss_again
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.fixture
def rates_of(monkeypatch, training):
    """Run a training and return the learning rate of each epoch."""

    def run(*data, **changed):
        made, rates, adam = [], [], OPTIMIZERS["adam"].make
        monkeypatch.setattr(OPTIMIZERS["adam"], "make", lambda *args: made.append(adam(*args)) or made[-1])

        def note(report):
            if report.loss is not None:
                rates.append(made[-1].param_groups[0]["lr"])
            return CONTINUE

        training(*data, on_report=note, **changed)
        return rates

    return run


def test_the_schedule_advances_once_an_epoch_and_the_plateau_schedule_gets_the_validation_loss(rates_of):
    rates = rates_of(windows(80, 1), windows(40, 2), max_epochs=6, learning_rate=0.02, weight_decay=1e-4)
    expected = [0.02 * (0.01 + 0.99 * (1 + math.cos(math.pi * epoch / 6)) / 2) for epoch in range(6)]
    assert rates == pytest.approx(expected)
    noise = windows(60, 1, noise=True), windows(60, 2, noise=True)  # validation gets worse while training gets better
    rates = rates_of(*noise, max_epochs=15, learning_rate=0.03, scheduler="plateau")
    assert rates[0] == 0.03
    assert rates[-1] < 0.03


@pytest.mark.parametrize("early", [(), QUARTERS])
@pytest.mark.parametrize(
    ("spoiled", "epoch", "n_reports"), [("rate", 1, 0), ("windows", 1, 0), ("validation", 1, 1), ("later", 3, 3)]
)
def test_a_loss_that_is_not_finite_is_noticed_before_it_is_reported(training, spoiled, epoch, n_reports, early):
    own, validation, reports, options = windows(80, 1), windows(40, 2), [], {"early_reports": early}
    options |= {"optimizer": "sgd", "learning_rate": 1e30} if spoiled == "rate" else {}
    if spoiled == "windows":
        own.series[:] = math.inf
    if spoiled == "validation":
        validation.series[5] = math.nan

    def listen(report):
        reports.append(report)
        if spoiled == "later" and report.epoch == 2:
            own.series[:] = math.nan
        return CONTINUE

    with pytest.raises(NonFiniteLossError) as caught:
        training(own, validation, on_report=listen, max_epochs=5, **options)
    assert len(reports) == n_reports if not early else all(r.loss is None or math.isfinite(r.loss) for r in reports)
    assert re.findall(r"\d+", str(caught.value)) == [str(epoch)]


def test_seconds_count_training_steps_alone_and_the_speed_excludes_the_first_step(training, clock):
    net = network()
    ticking = clock(net)

    def on_report(report):
        ticking.now += 128.0  # must not count
        return CONTINUE

    _, outcome, reports = training(windows(80, 1), windows(40, 2), net=net, on_report=on_report, max_epochs=2)
    assert [report.seconds for report in reports] == [32 + n / 4 for n in (3, 9, 19)]
    assert [report.projected_seconds for report in reports] == [32 + 19 / 4] * 3
    assert outcome.projected_seconds == outcome.seconds == 32 + 19 / 4


def test_a_step_with_a_pause_counts_like_the_mean_of_the_steps_before(training, clock, monkeypatch):
    """The real signals are in test_processes."""
    net, steps, continued = network(), [], []
    ticking = clock(net)
    monkeypatch.setattr(trainer, "times_continued", lambda: len(continued))

    def pause(module, args, output):
        steps.append(module.training)
        if len(steps) == 8:
            continued.append(True)
            ticking.now += 1000.0

    net.register_forward_hook(pause)
    _, outcome, reports = training(windows(80, 1), windows(40, 2), net=net, max_epochs=1)
    usual = (32 + 6 * 0.25) / 7
    assert outcome.seconds == outcome.projected_seconds == reports[-1].seconds == pytest.approx(32 + 8 * 0.25 + usual)
    assert outcome.paused_seconds == pytest.approx(1000.25 - usual)


def test_a_report_comes_about_once_a_second_within_a_long_epoch(training, clock, monkeypatch):
    monkeypatch.setattr(trainer, "LOOK_SECONDS", 0.6)
    net = network()
    clock(net)
    _, _, reports = training(windows(80, 1), windows(40, 2), net=net, max_epochs=1)
    assert [report.epoch for report in reports] == [0.4, 0.7, 1.0]  # the first report, then every third step


def test_augmentation_touches_neither_the_series_nor_validation(training):
    own, validation, net = windows(32, 1), windows(16, 2), network()
    before = own.series.clone(), validation.series.clone()
    trained, judged = inputs_of(net)
    training(own, validation, net=net, augmentation=AUGMENTATION, max_epochs=3)
    assert torch.equal(own.series, before[0])
    assert torch.equal(validation.series, before[1])
    assert len(judged) == 3
    assert all(torch.equal(x, validation.gather(torch.arange(16))) for x in judged)
    plain = own.gather(torch.arange(32)).flatten(1)
    assert not any(bool((plain == row).all(dim=1).any()) for x in trained for row in x.flatten(1))


# ---------------------------------------------------------------------- evaluations within the first epoch


def evaluated(reports):
    """Epochs of the reports that carry scores."""
    assert all((report.score is None) is (report.loss is None) for report in reports)
    return [report.epoch for report in reports if report.score is not None]


@pytest.mark.mostly_slow(10)
@pytest.mark.parametrize("count", [8, 16, 24, 32, 80, 83, 96, 200])
@pytest.mark.parametrize("shares", [QUARTERS, (0.5,), (0.99, 0.01), (1.0,), ()])
def test_they_come_after_the_step_that_completes_their_share_of_the_first_epoch(training, count, shares):
    """Batches of 8; a share that only the last step completes is the end of the epoch, which is evaluated anyway."""
    steps = math.ceil(count / 8)
    parts = {math.ceil(share * steps) / steps for share in shares}
    _, _, reports = training(windows(count, 1), windows(10, 2), max_epochs=2, early_reports=shares)
    assert evaluated(reports) == pytest.approx([*sorted(parts - {1.0}), 1, 2])


def test_they_report_the_evaluation_of_the_network_at_that_step(training):
    net, validation, own = network(), windows(40, 2), []

    def judge(report):
        if report.epoch < 1 and report.score is not None:
            mode = net.training
            seen = evaluate(net, validation, SCALE)
            own.append((report.score, report.loss) == (seen.accuracy, seen.loss))
            net.train(mode)
        return CONTINUE

    training(windows(80, 1), validation, net=net, on_report=judge, early_reports=QUARTERS, max_epochs=1)
    assert own == [True, True, True]


@pytest.mark.parametrize(
    "changed", [{}, {"dropout_schedule": "cosine", "balancing": "dynamic", "scheduler": "plateau"}]
)
def test_they_do_not_change_the_training_by_a_bit(training, changed):
    def run(shares):
        net, outcome, reports = training(windows(80, 1), windows(40, 2), early_reports=shares, max_epochs=4, **changed)
        scores = [(r.epoch, r.score, r.loss) for r in reports if r.epoch >= 1]
        return net.state_dict(), outcome.best.loss, outcome.best_epoch, scores

    (weights, *rest), (again, *others) = run(()), run(QUARTERS)
    assert rest == others
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_every_step_is_trained_with_dropout_also_after_an_evaluation(training):
    modes, net = [], network()
    net.register_forward_hook(lambda module, args, output: modes.append(module.training))
    training(windows(80, 1), windows(40, 2), net=net, early_reports=QUARTERS, max_epochs=1)
    assert modes == [*[True] * 3, False, *[True] * 2, False, *[True] * 3, False, *[True] * 2, False]


class TestWhenTheFirstStepsAreTheBest:
    """A learning rate that spoils the network while it trains: validation is best at the first quarter."""

    @pytest.fixture
    def run(self, training):
        noise = windows(80, 1, noise=True), windows(40, 3, noise=True)
        options = {"learning_rate": 0.3, "optimizer": "sgd", "gradient_clip": 100.0, "early_reports": QUARTERS}
        return lambda **changed: training(*noise, **{**options, **changed})

    def test_an_early_evaluation_is_never_the_best(self, run):
        _, outcome, reports = run(max_epochs=2)
        early = [report.loss for report in reports if report.score is not None and report.epoch < 1]
        whole = {report.epoch: report.loss for report in reports if report.epoch in (1, 2)}
        assert min(early) < min(whole.values())
        assert outcome.best.loss == min(whole.values()) == whole[outcome.best_epoch]

    def test_an_early_evaluation_does_not_count_for_patience(self, run):
        _, with_parts, reports = run(max_epochs=12, min_patience=1)
        losses = [report.loss for report in reports if report.score is not None and report.epoch >= 1]
        first_worse = next(n for n in range(2, len(losses) + 1) if losses[n - 1] >= min(losses[: n - 1]))
        _, without, _ = run(max_epochs=12, min_patience=1, early_reports=())
        assert with_parts.epochs == without.epochs == first_worse

    @pytest.mark.parametrize("action", [Action.PRUNE, Action.STOP])
    def test_a_decision_at_one_ends_the_training_without_a_best_epoch(self, run, action):
        decision = Decision(action, "seen enough")
        _, outcome, reports = run(on_report=lambda report: decision if report.score is not None else CONTINUE)
        assert (outcome.decision, outcome.best, outcome.best_epoch) == (decision, None, 0)
        assert outcome.epochs == reports[-1].epoch == 0.3


def test_seconds_and_projection_leave_their_evaluations_out(training, clock):
    net = network()
    clock(net)
    _, outcome, reports = training(windows(80, 1), windows(40, 2), net=net, early_reports=QUARTERS, max_epochs=2)
    steps = {0.3: 3, FIRST_LOOK / 10: 4, 0.5: 5, 0.8: 8, 1.0: 10, 2.0: 20}
    assert {r.epoch: r.seconds for r in reports} == {epoch: 32 + (n - 1) / 4 for epoch, n in steps.items()}
    assert {report.projected_seconds for report in reports} == {32 + 19 / 4}
    assert (outcome.seconds, outcome.projected_seconds, outcome.evaluation_seconds) == (36.75, 36.75, 5 * 64)
