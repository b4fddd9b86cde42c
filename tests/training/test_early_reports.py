"""Evaluations within the first epoch: reported after the right step, and without any effect on the training."""

import math

import pytest
import torch

from builders.trainings import SCALE, network, windows
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.training import NonFiniteLossError, evaluate
from cnn_lstm_hyperopt.training.trainer import FIRST_LOOK

QUARTERS = (0.25, 0.5, 0.75)


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


@pytest.mark.parametrize("diverges", ["training", "validation"])
def test_a_loss_that_is_not_finite_ends_the_training_and_is_never_reported(training, diverges):
    losses, validation = [], windows(40, 2)
    options = {"optimizer": "sgd", "learning_rate": 1e30} if diverges == "training" else {}
    if diverges == "validation":
        validation.series[5] = math.nan

    def listen(report):
        losses.append(report.loss)
        return CONTINUE

    with pytest.raises(NonFiniteLossError):
        training(windows(80, 1), validation, early_reports=QUARTERS, on_report=listen, **options)
    assert all(loss is None or math.isfinite(loss) for loss in losses)


def test_seconds_and_projection_leave_their_evaluations_out(training, clock):
    net = network()
    clock(net)
    _, outcome, reports = training(windows(80, 1), windows(40, 2), net=net, early_reports=QUARTERS, max_epochs=2)
    steps = {0.3: 3, FIRST_LOOK / 10: 4, 0.5: 5, 0.8: 8, 1.0: 10, 2.0: 20}
    assert {r.epoch: r.seconds for r in reports} == {epoch: 32 + (n - 1) / 4 for epoch, n in steps.items()}
    assert {report.projected_seconds for report in reports} == {32 + 19 / 4}
    assert (outcome.seconds, outcome.projected_seconds, outcome.evaluation_seconds) == (36.75, 36.75, 5 * 64)
