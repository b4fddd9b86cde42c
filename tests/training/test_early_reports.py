"""Evaluations within the first epoch: told at the right step, and without a trace in the training."""

import math
from types import SimpleNamespace

import pytest
import torch

from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.training import NonFiniteLossError, ValueScale, evaluate
from cnn_lstm_hyperopt.training.trainer import FIRST_LOOK

SCALE = ValueScale(5.0, 3.0)
QUARTERS = (0.25, 0.5, 0.75)


def evaluated(reports) -> list[float]:
    """Epochs of the reports that carry scores."""
    assert all((report.score is None) is (report.loss is None) for report in reports)
    return [report.epoch for report in reports if report.score is not None]


def test_without_them_the_first_epoch_is_evaluated_at_its_end_alone(training, make_windows):
    _, _, reports = training(make_windows(80, 1), make_windows(40, 2))
    assert evaluated(reports) == [1, 2, 3]


@pytest.mark.mostly_slow(10)
@pytest.mark.parametrize("windows", [8, 16, 24, 32, 80, 83, 96, 200])
@pytest.mark.parametrize("shares", [QUARTERS, (0.5,), (0.99, 0.01), (1.0,)])
def test_they_come_after_the_step_that_completes_their_share_of_the_first_epoch(
    training, make_windows, windows, shares
):
    """Batches of 8; a share that only the last step completes is the end of the epoch, which is evaluated anyway."""
    steps = math.ceil(windows / 8)
    parts = {math.ceil(share * steps) / steps for share in shares}
    _, _, reports = training(make_windows(windows, 1), make_windows(10, 2), max_epochs=2, early_reports=shares)
    assert evaluated(reports) == pytest.approx([*sorted(parts - {1.0}), 1, 2])


def test_they_tell_what_the_network_is_worth_at_that_step(training, make_windows, make_network):
    net, validation, own = make_network(), make_windows(40, 2), []

    def judge(report):
        if report.epoch < 1 and report.score is not None:
            mode = net.training
            seen = evaluate(net, validation, SCALE)
            own.append((report.score, report.loss) == (seen.accuracy, seen.loss))
            net.train(mode)
        return CONTINUE

    training(make_windows(80, 1), validation, net=net, on_report=judge, early_reports=QUARTERS, max_epochs=1)
    assert own == [True, True, True]


@pytest.mark.parametrize(
    "changed", [{}, {"dropout_schedule": "cosine", "balancing": "dynamic", "scheduler": "plateau"}]
)
def test_they_do_not_change_the_training_by_a_bit(training, make_windows, changed):
    """Dropout is on, and its draws, the order of windows and all later epochs stay what they were."""

    def run(shares):
        net, outcome, reports = training(
            make_windows(80, 1), make_windows(40, 2), early_reports=shares, max_epochs=4, **changed
        )
        scores = [(r.epoch, r.score, r.loss) for r in reports if r.epoch >= 1]
        return net.state_dict(), outcome.best.loss, outcome.best_epoch, scores

    (weights, *rest), (again, *others) = run(()), run(QUARTERS)
    assert rest == others
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_every_step_is_trained_with_dropout_also_after_an_evaluation(training, make_windows, make_network):
    modes, net = [], make_network()
    net.register_forward_hook(lambda module, args, output: modes.append(module.training))
    training(make_windows(80, 1), make_windows(40, 2), net=net, early_reports=QUARTERS, max_epochs=1)
    assert modes == [*[True] * 3, False, *[True] * 2, False, *[True] * 3, False, *[True] * 2, False]


class TestWhenTheFirstStepsAreTheBest:
    """A learning rate that spoils the network while it trains: validation is best at the first quarter."""

    @pytest.fixture
    def run(self, training, make_windows):
        noise = make_windows(80, 1, noise=True), make_windows(40, 3, noise=True)
        options = {"learning_rate": 0.3, "optimizer": "sgd", "gradient_clip": 100.0, "early_reports": QUARTERS}
        return lambda **changed: training(*noise, **{**options, **changed})

    def test_an_early_evaluation_is_never_the_best(self, run):
        _, outcome, reports = run(max_epochs=2)
        early = [report.loss for report in reports if report.score is not None and report.epoch < 1]
        whole = {report.epoch: report.loss for report in reports if report.epoch in (1, 2)}
        assert min(early) < min(whole.values())
        assert outcome.best.loss == min(whole.values())
        assert whole[outcome.best_epoch] == outcome.best.loss

    def test_an_early_evaluation_does_not_count_for_patience(self, run):
        """Patience of one epoch: it ends after the first whole epoch that is no better than one before it."""
        _, with_parts, reports = run(max_epochs=12, min_patience=1)
        losses = [report.loss for report in reports if report.score is not None and report.epoch >= 1]
        first_worse = next(n for n in range(1, len(losses) + 1) if n > 1 and losses[n - 1] >= min(losses[: n - 1]))
        _, without, _ = run(max_epochs=12, min_patience=1, early_reports=())
        assert with_parts.epochs == without.epochs == first_worse

    @pytest.mark.parametrize("action", [Action.PRUNE, Action.STOP])
    def test_a_decision_at_one_ends_the_training_without_a_best_epoch(self, run, action):
        decision = Decision(action, "seen enough")
        _, outcome, reports = run(on_report=lambda report: decision if report.score is not None else CONTINUE)
        assert (outcome.decision, outcome.best, outcome.best_epoch) == (decision, None, 0)
        assert outcome.epochs == reports[-1].epoch == 0.3


@pytest.mark.parametrize("diverges", ["training", "validation"])
def test_a_loss_that_is_not_finite_ends_the_training_and_is_never_told(training, make_windows, diverges):
    """A validation loss of NaN within the first epoch is as bad as one at its end."""
    heard, validation = [], make_windows(40, 2)
    options = {"optimizer": "sgd", "learning_rate": 1e30} if diverges == "training" else {}
    if diverges == "validation":
        validation.series[5] = math.nan

    def listen(report):
        heard.append(report)
        return CONTINUE

    with pytest.raises(NonFiniteLossError, match=r"epoch 1$"):
        training(make_windows(80, 1), validation, early_reports=QUARTERS, on_report=listen, **options)
    assert [report.loss for report in heard if report.loss is not None and not math.isfinite(report.loss)] == []


def test_seconds_and_projection_leave_their_evaluations_out(monkeypatch, training, make_windows, make_network):
    """On a clock of our own: a step takes a quarter of a second, an evaluation a minute."""
    clock, net = SimpleNamespace(now=0.0), make_network()

    def tick(module, args, output):
        clock.now += 0.25 if module.training else 60.0

    net.register_forward_hook(tick)
    monkeypatch.setattr(
        "cnn_lstm_hyperopt.training.trainer.time",
        SimpleNamespace(perf_counter=lambda: clock.now, process_time=lambda: clock.now),
    )
    _, outcome, reports = training(
        make_windows(80, 1), make_windows(40, 2), net=net, early_reports=QUARTERS, max_epochs=2
    )
    assert [(r.epoch, r.seconds) for r in reports] == [
        (0.3, 0.75),
        (FIRST_LOOK / 10, 1.0),
        (0.5, 1.25),
        (0.8, 2.0),
        (1.0, 2.5),
        (2.0, 5.0),
    ]
    assert {report.projected_seconds for report in reports} == {5.0}
    assert (outcome.seconds, outcome.projected_seconds) == (5.0, 5.0)
