"""Folds trained side by side: each trains as it would alone, and together they look like one training."""

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch

from builders.trainings import AUGMENTATION, PRUNE, SCALE, Training
from cnn_lstm_hyperopt.progress import CONTINUE
from cnn_lstm_hyperopt.training import NonFiniteLossError, evaluate, trainer

SIZES = (40, 56, 83)
"""Training windows of each fold: 5, 7 and 11 steps of 8."""
VARIANTS = {
    "plain": {},
    "everything": {
        "optimizer": "rmsprop",
        "scheduler": "plateau",
        "balancing": "dynamic",
        "dropout_schedule": "cosine",
        "weight_decay": 1e-3,
        "label_smoothing": 0.1,
        "l1": 1e-4,
        "augmentation": AUGMENTATION,
        "early_reports": (0.25, 0.5),
    },
}


def passes_of(networks):
    """Grow with each forward pass: whether it was a training step."""
    passes = [[] for _ in networks]
    for net, own in zip(networks, passes, strict=True):
        net.register_forward_hook(lambda module, args, output, own=own: own.append(module.training))
    return passes


# ---------------------------------------------------------------------- each as alone


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_fold_trains_bit_for_bit_as_it_would_alone_and_the_curve_is_their_mean(variant):
    options = {"max_epochs": 4, **VARIANTS[variant]}
    together = Training(SIZES, **options).run()
    single = [Training(SIZES, **options).alone(place).run() for place in range(3)]
    for number, alone in enumerate(single, start=1):
        own = f".fold {number}."
        mine = {k.removeprefix(own): v for k, v in together.states[3].items() if k.startswith(own)}
        other = {k.removeprefix(".fold 1."): v for k, v in alone.states[3].items() if k.startswith(".fold 1.")}
        for states in (mine, other):
            for name in [name for name in states if name.startswith("best")]:  # the best epoch is that of all folds
                del states[name]
        assert mine
        np.testing.assert_equal(mine, other)
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
    own = [Training(SIZES, max_epochs=8).alone(place).run().outcome.best_epoch for place in range(3)]
    assert any(epoch != outcome.best_epoch for epoch in own)


@pytest.mark.parametrize("metric", ["mcc", "auc", "log_loss", "balanced_accuracy"])
def test_reports_have_the_metric_and_the_best_epoch_follows_the_loss(metric):
    scored, plain = (Training(SIZES, max_epochs=4, **options).run() for options in ({"metric": metric}, {}))
    folds = zip(scored.networks, scored.validation, strict=True)
    again = statistics.fmean(evaluate(net, own, SCALE, metric=metric).score for net, own in folds)
    assert scored.outcome.best.score == again == scored.evaluated()[scored.outcome.best_epoch - 1].score
    assert scored.outcome.best_epoch == plain.outcome.best_epoch
    assert [r.loss for r in scored.evaluated()] == [r.loss for r in plain.evaluated()]
    assert [r.score for r in scored.evaluated()] != [r.score for r in plain.evaluated()]


# ---------------------------------------------------------------------- reports and decisions


@pytest.mark.parametrize(("after", "steps"), [(2, [10, 14, 22]), (1.4, [10, 12, 11])])
def test_a_decision_ends_all_folds_at_once(monkeypatch, after, steps):
    monkeypatch.setattr(trainer, "LOOK_SECONDS", -1.0)  # a report after each step
    together = Training(SIZES, max_epochs=9)
    passes = passes_of(together.networks)
    outcome = together.run(lambda report: PRUNE if report.epoch >= after else CONTINUE).outcome
    assert [sum(each) for each in passes] == steps
    assert outcome.epochs == pytest.approx(sum(steps) / 23)
    assert outcome.decision == PRUNE
    assert [len(each) - sum(each) for each in passes] == [int(after)] * 3  # a batch of validation an epoch
    assert outcome.best.loss == min(report.loss for report in together.evaluated())


def test_progress_counts_the_steps_of_all_folds(monkeypatch):
    monkeypatch.setattr(trainer, "LOOK_SECONDS", -1.0)
    together = Training(SIZES, max_epochs=2).run()
    assert [report.epoch for report in together.reports] == pytest.approx([step / 23 for step in range(1, 47)])
    assert [report.epoch for report in together.evaluated()] == [1, 2]


def test_early_reports_come_when_every_fold_has_done_its_share():
    together, done = Training(SIZES, max_epochs=2, early_reports=(0.5, 0.25)), []
    passes = passes_of(together.networks)

    def note(report):
        if report.loss is not None:
            done.append([sum(each) for each in passes])
        return CONTINUE

    together.run(note)
    assert done == [[2, 2, 3], [3, 4, 6], [5, 7, 11], [10, 14, 22]]
    assert [report.epoch for report in together.evaluated()] == pytest.approx([7 / 23, 13 / 23, 1, 2])


def test_folds_leave_the_global_stream_alone_and_ignore_draws_between_epochs():
    before = torch.get_rng_state()
    quiet = Training(SIZES, max_epochs=4).run()
    assert torch.equal(torch.get_rng_state(), before)

    def draw(report):
        if report.loss is not None:
            torch.rand(3)
        return CONTINUE

    assert Training(SIZES, max_epochs=4).run(draw).curve() == quiet.curve()


def test_seconds_and_their_projection_are_those_of_all_folds(clock):
    together = Training(SIZES, max_epochs=2)
    clock(*together.networks)
    outcome = together.run().outcome
    assert [report.seconds for report in together.reports] == [32 + 3 / 4, 32 + 22 / 4, 32 + 45 / 4]
    assert [report.projected_seconds for report in together.reports] == [32 + 45 / 4] * 3
    assert (outcome.seconds, outcome.projected_seconds) == (32 + 45 / 4, 32 + 45 / 4)
    assert outcome.evaluation_seconds == 6 * 64


# ---------------------------------------------------------------------- errors


@pytest.mark.wording
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "the loss became nan in epoch 1 of fold 2"),
        (
            {"metric": "auc"},
            "the auc is nan in epoch 1 of fold 3: it is undefined on these 40 validation windows; they may all have the"
            " same class",
        ),
    ],
)
def test_a_loss_or_a_score_that_is_not_finite_names_the_epoch_and_the_fold(options, expected):
    together = Training(SIZES, **options)
    if options:
        labels = torch.ones_like(together.validation[2].labels)
        together.validation[2] = replace(together.validation[2], labels=labels)
    else:
        together.validation[1].series[5] = math.nan
    with pytest.raises(NonFiniteLossError) as caught:
        together.run()
    assert str(caught.value) == expected
