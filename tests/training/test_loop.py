"""The training loop, alone and with folds side by side: what it reports, how it ends, which weights it returns."""

import itertools
import math
import re
import statistics

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from builders.trainings import AUGMENTATION, PRUNE, SCALE, Training, network, windows
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.training import NonFiniteLossError, evaluate, stopwatch
from cnn_lstm_hyperopt.training.loss_weighting import LOSS_WEIGHTINGS
from cnn_lstm_hyperopt.training.stopwatch import FIRST_LOOK

QUARTERS = (0.25, 0.5, 0.75)


def inputs_of(net):
    """Grow with the inputs of each training step, and of each evaluation."""
    trained, judged = [], []

    def note(module, args, output):
        (trained if module.training else judged).append(args[0].detach().clone())

    net.register_forward_hook(note)
    return trained, judged


@pytest.mark.parametrize("action", [Action.PRUNE, Action.STOP])
@pytest.mark.parametrize(("after", "steps"), [(0.3, 3), (0.4, 4), (2, 20), (2.25, 23)])
def test_a_decision_ends_training_at_once_with_the_best_weights_so_far(monkeypatch, training, action, after, steps):
    monkeypatch.setattr(stopwatch, "LOOK_SECONDS", -1.0)  # a report after each step
    net, decision, validation = network(), Decision(action, "enough"), windows(40, 2)
    trained, _ = inputs_of(net)
    options = {"on_report": lambda report: decision if report.epoch >= after else CONTINUE, "early_reports": QUARTERS}
    _, outcome, reports = training(windows(80, 1), validation, net=net, max_epochs=5, **options)
    assert [report.epoch for report in reports] == pytest.approx([step / 10 for step in range(1, steps + 1)])
    assert (len(trained), outcome.epochs, outcome.decision) == (steps, pytest.approx(steps / 10), decision)
    assert (outcome.seconds, outcome.projected_seconds is None) == (reports[-1].seconds, False)
    if after < 1:  # only an early evaluation
        assert (outcome.best_epoch, outcome.best) == (0, None)
        return
    best = min(report.loss for report in reports if report.loss is not None and report.epoch >= 1)
    assert evaluate(net, validation, SCALE).loss == outcome.best.loss == best


@pytest.mark.parametrize("balancing", sorted(LOSS_WEIGHTINGS))
def test_the_network_ends_with_the_weights_of_the_lowest_plain_validation_cross_entropy(training, balancing):
    """Labels without a pattern: the longer the training, the worse the validation; the value, which has one, improves."""
    validation, options = windows(60, 2, noise=True), {"max_epochs": 20, "learning_rate": 0.03, "label_smoothing": 0.2}
    net, outcome, reports = training(windows(60, 1, noise=True), validation, balancing=balancing, l2=1e-3, **options)
    whole = [report for report in reports if report.loss is not None]
    best = min(whole, key=lambda report: report.loss)
    assert best is not whole[-1]
    assert (outcome.best_epoch, outcome.best.loss, outcome.best.accuracy) == (best.epoch, best.loss, best.score)
    again = evaluate(net, validation, SCALE)
    assert (again.loss, again.accuracy, again.mse) == (outcome.best.loss, outcome.best.accuracy, outcome.best.mse)
    probabilities = again.predictions.probabilities.astype(float)
    expected = log_loss(validation.labels.numpy(), probabilities / probabilities.sum(axis=1, keepdims=True))
    assert best.loss == pytest.approx(expected, rel=1e-4)


def test_patience_ends_a_training_that_no_longer_improves(training):
    options = {"learning_rate": 0.03, "scheduler": "plateau", "min_patience": 3, "patience_factor": 0.5}
    _, outcome, reports = training(windows(60, 1, noise=True), windows(60, 2, noise=True), max_epochs=60, **options)
    assert outcome.epochs == outcome.best_epoch + max(3, math.ceil(0.5 * outcome.best_epoch)) < 60
    assert (outcome.decision, outcome.projected_seconds > outcome.seconds) == (CONTINUE, True)  # of all 60 epochs
    assert [report.last for report in reports] == [False] * (len(reports) - 1) + [True]


def test_every_epoch_sees_each_window_once_in_an_order_that_only_the_generator_decides(training):
    def order(seed):
        net = network()
        steps, _ = inputs_of(net)
        training(windows(33, 1), windows(10, 2), net=net, max_epochs=2, seed=seed)
        assert [len(batch) for batch in steps] == [8, 8, 8, 8, 1] * 2
        return [epoch.tolist() for epoch in torch.cat(steps)[:, 0, 0].split(33)]

    (first, second), (again, _), (other, _) = order(1), order(1), order(2)
    expected = sorted(windows(33, 1).gather(torch.arange(33))[:, 0, 0].tolist())
    assert sorted(first) == sorted(second) == expected
    assert first == again
    assert first not in (second, other)


def test_each_pass_of_an_epoch_sees_each_window_once_in_an_order_of_its_own(training):
    net = network()
    steps, _ = inputs_of(net)
    _, outcome, reports = training(windows(33, 1), windows(10, 2), net=net, max_epochs=2, passes=3)
    assert [len(batch) for batch in steps] == [8, 8, 8, 8, 1] * 6
    passes = [each.tolist() for each in torch.cat(steps)[:, 0, 0].split(33)]
    expected = sorted(windows(33, 1).gather(torch.arange(33))[:, 0, 0].tolist())
    assert [sorted(each) for each in passes] == [expected] * 6
    assert len(set(map(tuple, passes))) == 6
    assert [report.epoch for report in reports if report.loss is not None] == [1, 2]
    assert outcome.epochs == 2


def test_the_schedule_advances_once_an_epoch_and_the_plateau_schedule_gets_the_validation_loss():
    def rates(**changed):
        states = Training((60,), **changed).run().states
        return [state[".fold 1.optimizer.param_groups.0.lr"] for state in states.values()]

    expected = [0.02 * (0.01 + 0.99 * (1 + math.cos(math.pi * epoch / 6)) / 2) for epoch in range(1, 6)]
    assert rates(max_epochs=6, learning_rate=0.02, weight_decay=1e-4)[:5] == pytest.approx(expected)
    plateau = rates(max_epochs=15, scheduler="plateau")  # validation gets worse while training gets better
    assert plateau[0] == 0.03
    assert plateau[-1] < 0.03


@pytest.mark.parametrize("early", [(), QUARTERS])
@pytest.mark.parametrize(("spoiled", "epoch"), [("rate", 1), ("windows", 1), ("validation", 1), ("later", 3)])
def test_a_loss_that_is_not_finite_is_noticed_before_it_is_reported(training, spoiled, epoch, early):
    own, validation, reports, options = windows(80, 1), windows(40, 2), [], {"early_reports": early}
    options |= {"optimizer": "sgd", "learning_rate": 1e30} if spoiled == "rate" else {}
    if spoiled in ("windows", "validation"):
        (own if spoiled == "windows" else validation).series[5] = math.nan

    def listen(report):
        reports.append(report)
        if spoiled == "later" and report.epoch == 2:
            own.series[:] = math.nan
        return CONTINUE

    with pytest.raises(NonFiniteLossError) as caught:
        training(own, validation, on_report=listen, max_epochs=5, **options)
    assert all(report.loss is None or math.isfinite(report.loss) for report in reports)
    assert max((report.epoch for report in reports), default=0) < epoch
    assert re.findall(r"\d+", str(caught.value)) == [str(epoch)]


def test_a_step_with_a_pause_counts_like_the_mean_of_the_steps_before(training, clock, monkeypatch):
    """Real signals stop workers in tests/runs/test_worker_faults.py."""
    net, steps, continued = network(), [], []
    ticking = clock(net)
    monkeypatch.setattr(stopwatch, "times_continued", lambda: len(continued))

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
    monkeypatch.setattr(stopwatch, "LOOK_SECONDS", 0.6)
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


@pytest.mark.mostly_slow(12)
@pytest.mark.mostly_thorough(24)
@pytest.mark.parametrize("count", [8, 16, 24, 32, 80, 83, 96, 200])
@pytest.mark.parametrize("shares", [QUARTERS, (0.5,), (0.99, 0.01), (1.0,), ()])
def test_reports_come_after_the_first_steps_each_share_of_the_first_epoch_and_each_epoch(training, count, shares):
    """Batches of 8; a share that only the last step completes is the end of the epoch, which is evaluated anyway."""
    steps = math.ceil(count / 8)
    evaluated = {math.ceil(share * steps) for share in shares} | {steps, 2 * steps}
    _, outcome, reports = training(windows(count, 1), windows(10, 2), max_epochs=2, early_reports=shares)
    assert [r.epoch * steps for r in reports] == pytest.approx(sorted(evaluated | {min(FIRST_LOOK, 2 * steps)}))
    assert all(a.seconds < b.seconds for a, b in itertools.pairwise(reports))
    for report in reports:
        assert (report.score is not None) is (report.loss is not None) is (round(report.epoch * steps) in evaluated)
        assert report.last is (report.epoch == 2)
    assert (outcome.epochs, outcome.seconds, outcome.decision) == (2, reports[-1].seconds, CONTINUE)
    assert outcome.projected_seconds == pytest.approx(outcome.seconds)  # no step is left


def test_they_report_the_evaluation_of_the_network_at_that_step(training):
    net, validation, own = network(), windows(40, 2), []

    def judge(report):
        if report.score is not None:
            mode = net.training
            seen = evaluate(net, validation, SCALE)
            own.append((report.score, report.loss) == (seen.accuracy, seen.loss))
            net.train(mode)
        return CONTINUE

    training(windows(80, 1), validation, net=net, on_report=judge, early_reports=QUARTERS, max_epochs=1)
    assert own == [True] * 4


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


def test_an_early_evaluation_is_never_the_best_and_does_not_count_for_patience(training):
    """A learning rate that spoils the network while it trains: validation is best at the first quarter."""
    noise = windows(80, 1, noise=True), windows(40, 3, noise=True)
    options = {"learning_rate": 0.3, "optimizer": "sgd", "gradient_clip": 100.0, "max_epochs": 12, "min_patience": 1}
    _, outcome, reports = training(*noise, early_reports=QUARTERS, **options)
    early = [report.loss for report in reports if report.score is not None and report.epoch < 1]
    losses = [report.loss for report in reports if report.score is not None and report.epoch >= 1]
    assert min(early) < min(losses)
    assert outcome.best.loss == min(losses) == losses[outcome.best_epoch - 1]
    first_worse = next(n for n in range(2, len(losses) + 1) if losses[n - 1] >= min(losses[: n - 1]))
    assert outcome.epochs == training(*noise, **options)[1].epochs == first_worse


def test_seconds_count_training_steps_alone_and_the_speed_excludes_the_first_step(training, clock):
    net = network()
    ticking = clock(net)

    def on_report(report):
        ticking.now += 128.0  # must not count, nor the evaluations of 64 s
        return CONTINUE

    options = {"on_report": on_report, "early_reports": QUARTERS, "max_epochs": 2}
    _, outcome, reports = training(windows(80, 1), windows(40, 2), net=net, **options)
    steps = {0.3: 3, FIRST_LOOK / 10: 4, 0.5: 5, 0.8: 8, 1.0: 10, 2.0: 20}
    assert {r.epoch: r.seconds for r in reports} == {epoch: 32 + (n - 1) / 4 for epoch, n in steps.items()}
    assert {report.projected_seconds for report in reports} == {32 + 19 / 4}
    assert (outcome.seconds, outcome.projected_seconds, outcome.evaluation_seconds) == (36.75, 36.75, 5 * 64)


SIZES = (40, 56, 83)
"""Training windows of each fold: 5, 7 and 11 steps of 8."""
EVERYTHING = {"optimizer": "rmsprop", "scheduler": "plateau", "balancing": "dynamic", "dropout_schedule": "cosine"}
EVERYTHING |= {"weight_decay": 1e-3, "label_smoothing": 0.1, "l1": 1e-4, "augmentation": AUGMENTATION}
VARIANTS = {"plain": {}, "everything": {**EVERYTHING, "early_reports": (0.25, 0.5)}}


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_fold_trains_bit_for_bit_as_it_would_alone_and_the_curve_is_their_mean(variant):
    options = {"max_epochs": 4, **VARIANTS[variant]}
    together = Training(SIZES, **options).run()
    single = [Training(SIZES, only=place, **options).run() for place in range(3)]

    def states(of, fold):  # without the best epoch, which is that of all folds
        own = {name.partition(f".fold {fold}.")[2]: state for name, state in of.states[3].items()}
        return {name: state for name, state in own.items() if name and not name.startswith("best")}

    for number, alone in enumerate(single, start=1):
        assert len(states(together, number)) > 50
        np.testing.assert_equal(states(together, number), states(alone, 1))
    assert [report.epoch for report in together.evaluated()][-4:] == [1, 2, 3, 4]
    for report, *apart in zip(together.evaluated(), *(alone.evaluated() for alone in single), strict=True):
        assert report.loss == pytest.approx(statistics.fmean(each.loss for each in apart), rel=1e-12)
        assert report.score == pytest.approx(statistics.fmean(each.score for each in apart), rel=1e-12)
        assert len({each.loss for each in apart}) == 3


def test_the_best_epoch_is_that_of_the_lowest_mean_and_every_network_ends_with_its_weights():
    together = Training(SIZES, max_epochs=8).run()
    outcome, losses = together.outcome, [report.loss for report in together.evaluated()]
    assert outcome.best_epoch == losses.index(min(losses)) + 1
    assert 1 < outcome.best_epoch < 8
    again = [evaluate(net, own, SCALE) for net, own in zip(together.networks, together.validation, strict=True)]
    assert outcome.best.loss == statistics.fmean(each.loss for each in again) == min(losses)
    assert outcome.best.score == statistics.fmean(each.accuracy for each in again)
    expected = np.concatenate([each.predictions.probabilities for each in again])
    np.testing.assert_array_equal(outcome.best.predictions.probabilities, expected)
    own = [Training(SIZES, only=place, max_epochs=8).run().outcome.best_epoch for place in range(3)]
    assert any(epoch != outcome.best_epoch for epoch in own)


@pytest.mark.parametrize(("after", "steps"), [(2, [10, 14, 22]), (1.4, [10, 12, 11])])
def test_a_decision_ends_all_folds_at_once_and_progress_counts_the_steps_of_all(monkeypatch, after, steps):
    monkeypatch.setattr(stopwatch, "LOOK_SECONDS", -1.0)  # a report after each step
    together = Training(SIZES, max_epochs=9)
    passes = [inputs_of(net) for net in together.networks]
    outcome = together.run(lambda report: PRUNE if report.epoch >= after else CONTINUE).outcome
    assert [len(trained) for trained, _ in passes] == steps
    assert [report.epoch * 23 for report in together.reports] == pytest.approx(range(1, sum(steps) + 1))
    assert (outcome.epochs, outcome.decision) == (pytest.approx(sum(steps) / 23), PRUNE)
    assert [len(judged) for _, judged in passes] == [int(after)] * 3  # a batch of validation an epoch
    assert outcome.best.loss == min(report.loss for report in together.evaluated())


def test_early_reports_come_when_every_fold_has_done_its_share():
    together, done = Training(SIZES, max_epochs=2, early_reports=(0.5, 0.25)), []
    passes = [inputs_of(net) for net in together.networks]

    def note(report):
        done.append([len(trained) for trained, _ in passes] if report.loss is not None else None)
        return CONTINUE

    together.run(note)
    assert [each for each in done if each] == [[2, 2, 3], [3, 4, 6], [5, 7, 11], [10, 14, 22]]
    assert [report.epoch for report in together.evaluated()] == pytest.approx([7 / 23, 13 / 23, 1, 2])


@pytest.mark.parametrize(("metric", "numbers"), [("log_loss", ["1", "2"]), ("auc", ["1", "3", "40"])])
def test_a_loss_or_a_score_that_is_not_finite_names_the_epoch_the_fold_and_the_windows(metric, numbers):
    together = Training(SIZES, metric=metric)
    if metric == "auc":
        together.validation[2].labels[:] = 1
    else:
        together.validation[1].series[5] = math.nan
    with pytest.raises(NonFiniteLossError) as caught:
        together.run()
    assert re.findall(r"\d+", str(caught.value)) == numbers
